package main

import (
	"fmt"
	"strings"
)

// content is what a filter shows: objects, and the XML of the values of their properties.
type content struct {
	order   []string // objects, as the XML of their references
	objects map[string][]property
}

type property struct{ name, value string }

func newContent() *content { return &content{objects: map[string][]property{}} }

// parseContent reads an answer of RetrievePropertiesEx. Text in it is escaped, so its elements are found as text.
func parseContent(text string) *content {
	c := newContent()
	for _, object := range strings.Split(text, objectsStart)[1:] {
		ref := object[:strings.Index(object, "</obj>")+len("</obj>")]
		properties := []property{}
		for _, set := range strings.Split(object, "<propSet><name>")[1:] {
			set = set[:strings.Index(set, "</propSet>")]
			parts := strings.SplitN(set, "</name>", 2)
			properties = append(properties, property{parts[0], parts[1]})
		}
		c.order = append(c.order, ref)
		c.objects[ref] = properties
	}
	return c
}

// budget is how many objects an answer may tell of.
type budget struct {
	left              int
	limited, exceeded bool
}

func (b *budget) take() bool {
	if b.limited && b.left == 0 {
		b.exceeded = true
		return false
	}
	b.left--
	return true
}

// update writes how to get from one content to another, and what the client has then: less, when the budget is used up.
func (c *content) update(to *content, budget *budget) (string, *content) {
	var out strings.Builder
	reached := newContent()
	reach := func(ref string, properties []property) {
		reached.order = append(reached.order, ref)
		reached.objects[ref] = properties
	}
	tell := func(ref, kind string, changes string) {
		fmt.Fprintf(&out, "<objectSet><kind>%s</kind>%s%s</objectSet>", kind, ref, changes)
	}
	for _, ref := range to.order {
		before, known := c.objects[ref]
		changes := changeSet(before, to.objects[ref])
		switch {
		case known && changes == "":
			reach(ref, before)
		case !budget.take():
			if known {
				reach(ref, before)
			}
		case known:
			tell(ref, "modify", changes)
			reach(ref, to.objects[ref])
		default:
			tell(ref, "enter", changes)
			reach(ref, to.objects[ref])
		}
	}
	for _, ref := range c.order {
		if _, still := to.objects[ref]; still {
			continue
		}
		if budget.take() {
			tell(ref, "leave", "")
		} else {
			reach(ref, c.objects[ref])
		}
	}
	return out.String(), reached
}

func changeSet(before, after []property) string {
	old := map[string]string{}
	for _, one := range before {
		old[one.name] = one.value
	}
	var out strings.Builder
	for _, one := range after {
		if value, ok := old[one.name]; !ok || value != one.value {
			fmt.Fprintf(&out, "<changeSet><name>%s</name><op>assign</op>%s</changeSet>", one.name, one.value)
		}
		delete(old, one.name)
	}
	for _, one := range before {
		if _, gone := old[one.name]; gone { // it has no value any more
			fmt.Fprintf(&out, "<changeSet><name>%s</name><op>assign</op></changeSet>", one.name)
		}
	}
	return out.String()
}
