package main

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	restSession       = "/rest/com/vmware/cis/session"
	restSessionHeader = "vmware-api-session-id"
)

// restSessions are those of REST that were opened and not closed; the simulator's list of them is its own.
type restSessions struct {
	mu  sync.Mutex
	ids map[string]bool
}

func newRestSessions() *restSessions { return &restSessions{ids: map[string]bool{}} }

func (s *restSessions) put(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[id] = true
}

func (s *restSessions) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}

func (s *restSessions) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []string{}
	for id := range s.ids {
		ids = append(ids, id)
	}
	return ids
}

// soapSessions asks for the list as a session of its own would see it.
func soapSessions() *simulator.SessionManager {
	view := &simulator.Session{Registry: simulator.NewRegistry()}
	ref := types.ManagedObjectReference{Type: "SessionManager", Value: "SessionManager"}
	return view.Get(ref).(*simulator.SessionManager)
}

func (l *lab) listSessions(*http.Request) (interface{}, error) {
	for _, id := range l.rest.all() {
		if !l.restAuthorized(id) { // it was idle for too long
			l.rest.remove(id)
		}
	}
	return map[string]int{"soap": len(soapSessions().SessionList), "rest": len(l.rest.all())}, nil
}

// endSessions does what an administrator, or a restart, does: all clients are logged out.
func (l *lab) endSessions(*http.Request) (interface{}, error) {
	manager := soapSessions()
	request := &types.TerminateSession{This: manager.Self}
	for _, session := range manager.SessionList {
		request.SessionId = append(request.SessionId, session.Key)
	}
	manager.TerminateSession(internal(manager.Self), request)
	for _, id := range l.rest.all() {
		l.restCall(http.MethodDelete, restSession, id)
		l.rest.remove(id)
	}
	atomic.AddInt64(&l.changes, 1) // who waits finds out
	return nil, nil
}

// restCall asks the simulator's REST, as the session id.
func (l *lab) restCall(method, path, id string) *answer {
	inner, _ := http.NewRequest(method, path, nil)
	inner.Header.Set(restSessionHeader, id)
	a := newAnswer()
	l.forward(a, &request{Request: inner})
	return a
}

func (l *lab) restAuthorized(id string) bool {
	return id != "" && l.restCall(http.MethodGet, restSession, id).status == http.StatusOK
}

// restLogin opens a session with user and password; the simulator's takes any.
func (l *lab) restLogin(a *answer, q *request) (string, bool) {
	user, pass, ok := q.BasicAuth()
	if ok && l.user != "" {
		ok = subtle.ConstantTimeCompare([]byte(user+"\x00"+pass), []byte(l.user+"\x00"+l.pass)) == 1
	}
	if !ok {
		a.WriteHeader(http.StatusUnauthorized)
		return "", false
	}
	inner := q.Clone(q.Context())
	inner.URL.Path, inner.URL.RawQuery = restSession, ""
	opened := newAnswer()
	l.forward(opened, &request{Request: inner})
	var id struct{ Value string }
	if json.NewDecoder(bytes.NewReader(opened.body.Bytes())).Decode(&id) != nil || id.Value == "" {
		*a = *opened
		return "", false
	}
	l.rest.put(id.Value)
	return id.Value, true
}

// answerREST keeps count of sessions, serves tags, and lets the simulator answer the rest.
func (l *lab) answerREST(a *answer, q *request) {
	path := q.URL.Path
	// vCenters before 7.0 U2 have no /api.
	modern := strings.HasPrefix(path, "/api/") && l.mend && l.api >= "7.0.2"
	switch {
	case l.mend && strings.HasPrefix(path, oldTagging), modern && strings.HasPrefix(path, newTagging):
		l.tagging(a, q)
	case l.mend && isLibrary(path) && (modern || !strings.HasPrefix(path, "/api/")):
		l.library(a, q)
	case modern && path == "/api/session":
		l.modernSession(a, q)
	case path == restSession && action(q.Request) == "" && q.Method == http.MethodPost:
		if id, ok := l.restLogin(a, q); ok {
			_ = json.NewEncoder(a).Encode(map[string]string{"value": id})
		}
	case path == restSession && q.Method == http.MethodDelete:
		l.rest.remove(q.Header.Get(restSessionHeader))
		l.forward(a, q)
	default:
		l.forward(a, q)
	}
}

func (l *lab) modernSession(a *answer, q *request) {
	id := q.Header.Get(restSessionHeader)
	switch {
	case q.Method == http.MethodPost:
		if id, ok := l.restLogin(a, q); ok {
			a.status = http.StatusCreated
			_ = json.NewEncoder(a).Encode(id)
		}
	case !l.restAuthorized(id):
		(&tagCall{}).write(a, nil, &problem{"unauthenticated", "there is no such session"})
	case q.Method == http.MethodDelete:
		l.restCall(http.MethodDelete, restSession, id)
		l.rest.remove(id)
		a.status = http.StatusNoContent
	default:
		_ = json.NewEncoder(a).Encode(map[string]string{"user": l.user})
	}
}
