package main

import (
	"fmt"
	"sort"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type category struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Cardinality string   `json:"cardinality"` // SINGLE or MULTIPLE
	Types       []string `json:"associable_types"`
	UsedBy      []string `json:"used_by"`
}

type tag struct {
	ID          string   `json:"id"`
	CategoryID  string   `json:"category_id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	UsedBy      []string `json:"used_by"`
}

type tagged struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// problem is an error of the REST API: its kind there, such as not_found.
type problem struct{ kind, text string }

func notFound(id string) *problem { return &problem{"not_found", id + " does not exist"} }

// tags are a store of the lab's own: the simulator's knows no cardinality, and keeps what was detached or destroyed.
type tags struct {
	mu         sync.Mutex
	categories map[string]*category
	tags       map[string]*tag
	attached   map[string]map[tagged]bool // tag -> objects
}

func newTags() *tags {
	return &tags{categories: map[string]*category{}, tags: map[string]*tag{}, attached: map[string]map[tagged]bool{}}
}

func newID(kind string) string {
	return fmt.Sprintf("urn:vmomi:InventoryService%s:%s:GLOBAL", kind, uuid.New().String())
}

func (t *tags) createCategory(c category) (string, *problem) {
	if c.Name == "" || c.Cardinality != "SINGLE" && c.Cardinality != "MULTIPLE" {
		return "", &problem{"invalid_argument", "a category has a name, and cardinality SINGLE or MULTIPLE"}
	}
	for _, other := range t.categories {
		if other.Name == c.Name {
			return "", &problem{"already_exists", c.Name}
		}
	}
	c.ID, c.UsedBy = newID("Category"), []string{}
	if c.Types == nil {
		c.Types = []string{}
	}
	t.categories[c.ID] = &c
	return c.ID, nil
}

func (t *tags) createTag(one tag) (string, *problem) {
	if t.categories[one.CategoryID] == nil {
		return "", notFound(one.CategoryID)
	}
	for _, other := range t.tags {
		if other.Name == one.Name && other.CategoryID == one.CategoryID {
			return "", &problem{"already_exists", one.Name}
		}
	}
	one.ID, one.UsedBy = newID("Tag"), []string{}
	t.tags[one.ID] = &one
	t.attached[one.ID] = map[tagged]bool{}
	return one.ID, nil
}

func (t *tags) deleteTag(id string) {
	delete(t.tags, id)
	delete(t.attached, id)
}

func (t *tags) tagsOf(category string) []string {
	ids := []string{}
	for id, one := range t.tags {
		if category == "" || one.CategoryID == category {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	return ids
}

// attach refuses what a vCenter refuses: a second tag of a category that allows one, and types it is not for.
func (t *tags) attach(id string, object tagged) *problem {
	one := t.tags[id]
	if one == nil {
		return notFound(id)
	}
	if simulator.Map.Get(types.ManagedObjectReference{Type: object.Type, Value: object.ID}) == nil {
		return notFound(object.ID)
	}
	of := t.categories[one.CategoryID]
	allowed := len(of.Types) == 0
	for _, kind := range of.Types {
		allowed = allowed || kind == object.Type
	}
	if !allowed {
		return &problem{"invalid_argument", of.Name + " is not for objects of type " + object.Type}
	}
	for other, objects := range t.attached {
		if of.Cardinality == "SINGLE" && other != id && objects[object] && t.tags[other].CategoryID == of.ID {
			return &problem{"invalid_argument", object.ID + " has a tag of category " + of.Name + " already"}
		}
	}
	t.attached[id][object] = true
	return nil
}

func (t *tags) detach(id string, object tagged) *problem {
	if t.tags[id] == nil {
		return notFound(id)
	}
	delete(t.attached[id], object)
	return nil
}

func (t *tags) on(object tagged) []string {
	ids := []string{}
	for id, objects := range t.attached {
		if objects[object] {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	return ids
}

func (t *tags) objects(id string) []tagged {
	objects := []tagged{}
	for object := range t.attached[id] {
		objects = append(objects, object)
	}
	sort.Slice(objects, func(i, j int) bool { return objects[i].ID < objects[j].ID })
	return objects
}

// forget drops the tags of an object that is gone.
func (t *tags) forget(ref types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, objects := range t.attached {
		delete(objects, tagged{ref.Type, ref.Value})
	}
}
