package main

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// leaks are the views, collectors and filters that clients made and did not destroy. They end with their session.
type leaks struct {
	mu   sync.Mutex
	left map[string]leak // by id
}

type leak struct{ session, kind string }

var returnedReference = regexp.MustCompile(`<returnval type="(\w+)">([^<]*)</returnval>`)

func newLeaks() *leaks { return &leaks{left: map[string]leak{}} }

func (k *leaks) note(a *answer, q *request) {
	if q.method == nil || a.status != http.StatusOK {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch q.name {
	case "CreateContainerView", "CreateListView", "CreateInventoryView", "CreatePropertyCollector", "CreateFilter":
		if found := returnedReference.FindStringSubmatch(a.body.String()); found != nil {
			k.left[found[2]] = leak{session(q), found[1]}
		}
	case "DestroyView", "DestroyPropertyCollector", "DestroyPropertyFilter":
		delete(k.left, q.method.This.Value)
	}
}

func (k *leaks) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.left, id)
}

func (l *lab) listLeaks(*http.Request) (interface{}, error) {
	alive := map[string]bool{}
	for _, session := range soapSessions().SessionList {
		alive[session.Key] = true
	}
	count := map[string]int{"views": 0, "collectors": 0, "filters": 0}
	l.leaks.mu.Lock()
	defer l.leaks.mu.Unlock()
	for _, one := range l.leaks.left {
		if !alive[one.session] {
			continue
		}
		switch {
		case strings.HasSuffix(one.kind, "View"):
			count["views"]++
		case one.kind == "PropertyCollector":
			count["collectors"]++
		default:
			count["filters"]++
		}
	}
	return count, nil
}
