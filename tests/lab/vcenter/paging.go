package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// pages are the rest of what RetrievePropertiesEx found: session and token -> the objects, as XML.
type pages struct {
	mu      sync.Mutex
	last    int
	pending map[string][]string
}

func newPages() *pages { return &pages{pending: map[string][]string{}} }

const (
	objectsStart = "<objects>"
	objectsEnd   = "</objects>"
)

var unknownProperty = regexp.MustCompile(`<missingSet><path>([^<]*)</path><fault><fault [^>]*"InvalidProperty"`)

// retrieve pages what the simulator found: it ignores maxObjects, a vCenter pages when it likes.
func (l *lab) retrieve(a *answer, q *request) {
	if l.mend && !l.authenticated(a, q) {
		return // the simulator answers, with nothing in it
	}
	inner, body := *q, q.method.Body.(*types.RetrievePropertiesEx)
	specs, indexes := splitIndexes(body.SpecSet)
	if indexes != nil && l.mend {
		inner.body = encoded(q.name, types.RetrievePropertiesEx{This: body.This, SpecSet: specs})
	}
	l.forward(a, &inner)
	if a.status != http.StatusOK {
		return
	}
	if l.mend {
		a.restore(indexes)
	}
	text := a.body.String()
	if found := unknownProperty.FindStringSubmatch(text); found != nil && l.mend {
		writeFault(a, &types.InvalidProperty{Name: found[1]}, found[1])
		return
	}
	size := l.page
	if max := body.Options.MaxObjects; max > 0 && (size == 0 || int(max) < size) {
		size = int(max)
	}
	first, last := strings.Index(text, objectsStart), strings.LastIndex(text, objectsEnd)
	if size > 0 && first >= 0 {
		a.body.Reset()
		objects := strings.SplitAfter(text[first:last+len(objectsEnd)], objectsEnd)
		l.writePage(a, q, objects[:len(objects)-1], size)
	}
}

func (l *lab) writePage(a *answer, q *request, objects []string, size int) {
	token := ""
	if len(objects) > size {
		token = l.pages.keep(session(q), objects[size:], size)
		objects = objects[:size]
	}
	writeResponse(a, q.name, "<returnval>"+token+strings.Join(objects, "")+"</returnval>")
}

// keep returns a token's element. Its value tells the page's size.
func (p *pages) keep(session string, objects []string, size int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	token := fmt.Sprintf("%d/%d", p.last, size)
	p.pending[session+" "+token] = objects
	return "<token>" + token + "</token>"
}

func (p *pages) take(session, token string) ([]string, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	objects := p.pending[session+" "+token]
	delete(p.pending, session+" "+token)
	size := 0
	_, _ = fmt.Sscanf(token[strings.Index(token, "/")+1:], "%d", &size)
	return objects, size
}

func (l *lab) continueRetrieve(a *answer, q *request) {
	if !l.authenticated(a, q) {
		return
	}
	objects, size := l.pages.take(session(q), q.method.Body.(*types.ContinueRetrievePropertiesEx).Token)
	if objects == nil {
		writeFault(a, &types.InvalidArgument{InvalidProperty: "token"}, "there is no such token")
		return
	}
	l.writePage(a, q, objects, size)
}

func (l *lab) cancelRetrieve(a *answer, q *request) {
	if l.authenticated(a, q) {
		l.pages.take(session(q), q.method.Body.(*types.CancelRetrievePropertiesEx).Token)
		writeResponse(a, q.name, "")
	}
}

// session is the caller's cookie.
func session(q *request) string {
	cookie, err := q.Cookie(soap.SessionCookieName)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// fetch reads one property; the simulator panics when it has no value, and before a login.
func (l *lab) fetch(a *answer, q *request) {
	defer func() {
		if recover() != nil {
			writeResponse(a, q.name, "")
		}
	}()
	if l.mend && q.method.This.Type == "SessionManager" && !l.authenticated(newAnswer(), q) {
		writeResponse(a, q.name, "") // as a vCenter: nobody is logged in, and that is no fault
		return
	}
	l.forward(a, q)
}
