package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

const (
	oldTagging = "/rest/com/vmware/cis/tagging/"
	newTagging = "/api/cis/tagging/"
)

// tagCall is one call of either form: /rest wraps values and specifications, /api does not.
type tagCall struct {
	old              bool
	verb, kind, id   string
	action           string
	CategoryID       string   `json:"category_id"`
	ObjectID         tagged   `json:"object_id"`
	ObjectIDs        []tagged `json:"object_ids"`
	TagIDs           []string `json:"tag_ids"`
	body             []byte
	created, nothing bool
}

// tagging answers /rest/com/vmware/cis/tagging and /api/cis/tagging from the same store.
func (l *lab) tagging(a *answer, q *request) {
	c := &tagCall{old: strings.HasPrefix(q.URL.Path, oldTagging), verb: q.Method, action: action(q.Request)}
	path := strings.TrimPrefix(strings.TrimPrefix(q.URL.Path, oldTagging), newTagging)
	parts := strings.SplitN(path, "/", 2)
	c.kind = parts[0]
	if len(parts) == 2 {
		c.id = strings.TrimPrefix(parts[1], "id:")
	}
	c.body = q.body
	if c.old && c.action == "" && len(c.body) > 0 {
		var wrapped struct {
			Create json.RawMessage `json:"create_spec"`
			Update json.RawMessage `json:"update_spec"`
		}
		_ = json.Unmarshal(c.body, &wrapped)
		c.body = append(wrapped.Create, wrapped.Update...)
	}
	var value interface{}
	wrong := &problem{"unauthenticated", "there is no such session"}
	if l.restAuthorized(q.Header.Get(restSessionHeader)) {
		l.tags.mu.Lock()
		value, wrong = l.tags.answer(c)
		l.tags.mu.Unlock()
	}
	c.write(a, value, wrong)
}

func (c *tagCall) write(a *answer, value interface{}, wrong *problem) {
	a.header.Set("Content-Type", "application/json")
	encode := json.NewEncoder(a).Encode
	messages := []map[string]string{}
	switch {
	case wrong != nil:
		a.status = map[string]int{"not_found": 404, "unauthenticated": 401}[wrong.kind]
		if a.status == 0 {
			a.status = http.StatusBadRequest
		}
		messages = append(messages, map[string]string{"id": wrong.kind, "default_message": wrong.text})
		if c.old {
			_ = encode(map[string]interface{}{
				"type":  "com.vmware.vapi.std.errors." + wrong.kind,
				"value": map[string]interface{}{"messages": messages},
			})
		} else {
			_ = encode(map[string]interface{}{"error_type": strings.ToUpper(wrong.kind), "messages": messages})
		}
	case c.old && c.nothing:
	case c.old:
		_ = encode(map[string]interface{}{"value": value})
	case c.nothing:
		a.status = http.StatusNoContent
	default:
		if c.created {
			a.status = http.StatusCreated
		}
		_ = encode(value)
	}
}

func (t *tags) answer(c *tagCall) (interface{}, *problem) {
	if c.action != "" || c.kind == "tag-association" {
		if len(c.body) > 0 && json.Unmarshal(c.body, c) != nil {
			return nil, &problem{"invalid_argument", "the body is not what is expected"}
		}
		return t.associate(c)
	}
	switch {
	case c.kind == "category" && c.id == "":
		return t.allCategories(c)
	case c.kind == "category":
		return t.oneCategory(c)
	case c.kind == "tag" && c.id == "":
		if c.verb == http.MethodGet {
			return t.tagsOf(""), nil
		}
		var spec tag
		_ = json.Unmarshal(c.body, &spec)
		c.created = true
		return wrap(t.createTag(spec))
	case c.kind == "tag":
		return t.oneTag(c)
	}
	return nil, notFound(c.kind)
}

func wrap(id string, wrong *problem) (interface{}, *problem) { return id, wrong }

func (t *tags) allCategories(c *tagCall) (interface{}, *problem) {
	if c.verb == http.MethodPost {
		var spec category
		_ = json.Unmarshal(c.body, &spec)
		c.created = true
		return wrap(t.createCategory(spec))
	}
	ids := []string{}
	for id := range t.categories {
		ids = append(ids, id)
	}
	return ids, nil
}

func (t *tags) oneCategory(c *tagCall) (interface{}, *problem) {
	one := t.categories[c.id]
	if one == nil {
		return nil, notFound(c.id)
	}
	switch c.verb {
	case http.MethodPatch:
		single := one.Cardinality == "MULTIPLE" && strings.Contains(string(c.body), `"SINGLE"`)
		if single {
			return nil, &problem{"invalid_argument", "a category that allows many tags stays so"}
		}
		_ = json.Unmarshal(c.body, one)
		c.nothing = true
	case http.MethodDelete:
		for _, id := range t.tagsOf(c.id) {
			t.deleteTag(id)
		}
		delete(t.categories, c.id)
		c.nothing = true
	}
	return one, nil
}

func (t *tags) oneTag(c *tagCall) (interface{}, *problem) {
	one := t.tags[c.id]
	if one == nil {
		return nil, notFound(c.id)
	}
	switch c.verb {
	case http.MethodPatch:
		_ = json.Unmarshal(c.body, one)
		c.nothing = true
	case http.MethodDelete:
		t.deleteTag(c.id)
		c.nothing = true
	}
	return one, nil
}

func (t *tags) associate(c *tagCall) (interface{}, *problem) {
	switch c.action {
	case "list-tags-for-category":
		id := c.CategoryID + c.id
		if t.categories[id] == nil {
			return nil, notFound(id)
		}
		return t.tagsOf(id), nil
	case "attach", "detach":
		c.nothing = true
		if c.action == "attach" {
			return nil, t.attach(c.id, c.ObjectID)
		}
		return nil, t.detach(c.id, c.ObjectID)
	case "list-attached-tags":
		return t.on(c.ObjectID), nil
	case "list-attached-objects":
		return t.objects(c.id), nil
	case "list-attached-tags-on-objects":
		list := []map[string]interface{}{}
		for _, object := range c.ObjectIDs {
			list = append(list, map[string]interface{}{"object_id": object, "tag_ids": t.on(object)})
		}
		return list, nil
	case "list-attached-objects-on-tags":
		list := []map[string]interface{}{}
		for _, id := range c.TagIDs {
			list = append(list, map[string]interface{}{"tag_id": id, "object_ids": t.objects(id)})
		}
		return list, nil
	}
	return t.many(c)
}

// many attaches or detaches in a batch: what cannot be done is told, the rest is done.
func (t *tags) many(c *tagCall) (interface{}, *problem) {
	do := t.attach
	if strings.HasPrefix(c.action, "detach") {
		do = t.detach
	}
	messages := []map[string]interface{}{}
	try := func(id string, object tagged) {
		if wrong := do(id, object); wrong != nil {
			messages = append(messages, map[string]interface{}{
				"id": "cis.tagging." + wrong.kind, "default_message": wrong.text, "args": []string{id, object.ID},
			})
		}
	}
	switch c.action {
	case "attach-multiple-tags-to-object", "detach-multiple-tags-from-object":
		for _, id := range c.TagIDs {
			try(id, c.ObjectID)
		}
	case "attach-tag-to-multiple-objects", "detach-tag-from-multiple-objects":
		if t.tags[c.id] == nil {
			return nil, notFound(c.id)
		}
		for _, object := range c.ObjectIDs {
			try(c.id, object)
		}
	default:
		return nil, notFound(c.action)
	}
	return map[string]interface{}{"success": len(messages) == 0, "error_messages": messages}, nil
}
