package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// collectors answer WaitForUpdatesEx. The simulator's reads all that a filter selects anew for each update that is
// pending, of whatever object: 200 clones keep it busy for half a minute. Here a wait reads once when something
// changed, and sends what differs from the version that the client has.
type collectors struct {
	mu      sync.Mutex
	last    int
	filters []*filter
	byKey   map[string]*collector
}

// filter is one of a collector's; a collector is named by session and id.
type filter struct {
	ref, collector string
	spec           types.PropertyFilterSpec
}

// collector keeps what it has sent as its last versions: the newest, and the one before, for an answer that got lost.
type collector struct {
	versions []version
	cancel   chan struct{}
}

type version struct {
	name string
	sent map[string]*content // filter -> what it showed
}

func newCollectors() *collectors { return &collectors{byKey: map[string]*collector{}} }

func (c *collectors) of(key string) *collector {
	if c.byKey[key] == nil {
		c.byKey[key] = &collector{cancel: make(chan struct{})}
	}
	return c.byKey[key]
}

func collectorKey(q *request) string { return session(q) + " " + q.method.This.Value }

func (l *lab) createFilter(a *answer, q *request) bool {
	if !l.authenticated(a, q) {
		return true
	}
	spec := q.method.Body.(*types.CreateFilter).Spec
	probe := l.read(q, spec)
	if probe.status != http.StatusOK {
		*a = *probe
		return true
	}
	if found := unknownProperty.FindStringSubmatch(probe.body.String()); found != nil {
		writeFault(a, &types.InvalidProperty{Name: found[1]}, found[1])
		return true
	}
	spec.ReportMissingObjectsInResults = types.NewBool(true) // from now on an object may go
	c := l.collectors
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	one := &filter{fmt.Sprintf("session[%s]%d", session(q), c.last), collectorKey(q), spec}
	c.filters = append(c.filters, one)
	writeResponse(a, q.name, `<returnval type="PropertyFilter">`+one.ref+`</returnval>`)
	return true
}

func (l *lab) destroyFilter(a *answer, q *request) bool {
	if l.authenticated(a, q) {
		l.collectors.drop(func(one *filter) bool { return one.ref == q.method.This.Value })
		writeResponse(a, q.name, "")
	}
	return true
}

func (l *lab) destroyCollector(a *answer, q *request) bool {
	key := collectorKey(q)
	l.collectors.drop(func(one *filter) bool {
		if one.collector == key {
			l.leaks.forget(one.ref)
		}
		return one.collector == key
	})
	l.forward(a, q)
	return true
}

func (c *collectors) drop(which func(*filter) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := []*filter{}
	for _, one := range c.filters {
		if !which(one) {
			kept = append(kept, one)
		}
	}
	c.filters = kept
}

func (l *lab) cancelWait(a *answer, q *request) bool {
	if l.authenticated(a, q) {
		c := l.collectors
		c.mu.Lock()
		one := c.of(collectorKey(q))
		close(one.cancel)
		one.cancel = make(chan struct{})
		c.mu.Unlock()
		writeResponse(a, q.name, "")
	}
	return true
}

// read asks the simulator for what a filter selects.
func (l *lab) read(q *request, spec types.PropertyFilterSpec) *answer {
	specs, indexes := splitIndexes([]types.PropertyFilterSpec{spec})
	body := types.RetrievePropertiesEx{
		This:    types.ManagedObjectReference{Type: "PropertyCollector", Value: "propertyCollector"},
		SpecSet: specs,
	}
	a := newAnswer()
	l.forward(a, &request{Request: q.Request, body: encoded("RetrievePropertiesEx", body)})
	a.restore(indexes)
	return a
}

// waitForUpdates answers WaitForUpdatesEx, and the older WaitForUpdates and CheckForUpdates.
func (l *lab) waitForUpdates(a *answer, q *request) bool {
	have, limit, most := waitOptions(q)
	c := l.collectors
	c.mu.Lock()
	one := c.of(collectorKey(q))
	cancel := one.cancel
	base, known := one.find(have)
	c.mu.Unlock()
	if !known {
		if l.authenticated(a, q) {
			writeFault(a, &types.InvalidCollectorVersion{}, "")
		}
		return true
	}
	for {
		changes := atomic.LoadInt64(&l.changes)
		if !l.authenticated(a, q) {
			return true
		}
		text, next, truncated := l.difference(q, base, most)
		if text != "" || have == "" {
			c.mu.Lock()
			name := c.keep(one, next)
			c.mu.Unlock()
			writeResponse(a, q.name, fmt.Sprintf("<returnval><version>%s</version>%s<truncated>%t</truncated></returnval>",
				name, text, truncated))
			return true
		}
		if !l.sleep(q, changes, limit, cancel) {
			break
		}
	}
	select {
	case <-cancel:
		writeFault(a, &types.RequestCanceled{}, "")
	default:
		writeResponse(a, q.name, "")
	}
	return true
}

func waitOptions(q *request) (have string, limit time.Time, most int) {
	seconds := -1
	switch body := q.method.Body.(type) {
	case *types.WaitForUpdatesEx:
		have = body.Version
		if body.Options != nil {
			most = int(body.Options.MaxObjectUpdates)
			if body.Options.MaxWaitSeconds != nil {
				seconds = int(*body.Options.MaxWaitSeconds)
			}
		}
	case *types.WaitForUpdates:
		have = body.Version
	case *types.CheckForUpdates:
		have, seconds = body.Version, 0
	}
	if seconds >= 0 {
		limit = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	return have, limit, most
}

// sleep returns true when something has changed, and false when the wait is over.
func (l *lab) sleep(q *request, changes int64, limit time.Time, cancel chan struct{}) bool {
	for {
		if !limit.IsZero() && time.Now().After(limit) {
			return false
		}
		select {
		case <-cancel:
			return false
		case <-q.Context().Done():
			return false
		case <-time.After(50 * time.Millisecond): // updates come in crowds
		}
		if atomic.LoadInt64(&l.changes) != changes {
			return true
		}
	}
}

func (c *collector) find(name string) (map[string]*content, bool) {
	if name == "" {
		return map[string]*content{}, true
	}
	for _, one := range c.versions {
		if one.name == name {
			return one.sent, true
		}
	}
	return nil, false
}

func (c *collectors) keep(one *collector, sent map[string]*content) string {
	c.last++
	one.versions = append(one.versions, version{fmt.Sprint(c.last), sent})
	if len(one.versions) > 2 {
		one.versions = one.versions[1:]
	}
	return fmt.Sprint(c.last)
}

// difference reads all filters of a collector, and writes what is not as it was sent.
func (l *lab) difference(q *request, base map[string]*content, most int) (string, map[string]*content, bool) {
	c, key := l.collectors, collectorKey(q)
	c.mu.Lock()
	filters := append([]*filter{}, c.filters...)
	c.mu.Unlock()
	var out strings.Builder
	next, budget := map[string]*content{}, &budget{left: most, limited: most > 0}
	for _, one := range filters {
		if one.collector != key {
			continue
		}
		before := base[one.ref]
		if before == nil {
			before = newContent()
		}
		text, after := before.update(parseContent(l.read(q, one.spec).body.String()), budget)
		next[one.ref] = after
		if text != "" {
			fmt.Fprintf(&out, `<filterSet><filter type="PropertyFilter">%s</filter>%s</filterSet>`, one.ref, text)
		}
	}
	return out.String(), next, budget.exceeded
}
