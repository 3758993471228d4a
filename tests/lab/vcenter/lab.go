package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// lab stands between the clients and the simulator.
type lab struct {
	settings
	next       http.Handler
	user, pass string
	stats      *stats
	faults     *faults
	delays     *delays
	rest       *restSessions
	pages      *pages
	tags       *tags
	guests     *guests
	collectors *collectors
	leaks      *leaks
	changes    int64 // of the inventory, counted

	inventory sync.Mutex // held while a task or call of the lab's own changes the inventory
	snapshots map[types.ManagedObjectReference]*saved

	numbers                        sync.Mutex
	lastMAC, lastVersion, lastHost int
}

func newLab(next http.Handler, s settings, user, pass string) *lab {
	l := &lab{
		settings: s, next: next, user: user, pass: pass,
		stats: newStats(), faults: &faults{}, delays: newDelays(), rest: newRestSessions(),
		pages: newPages(),
		tags:  newTags(), collectors: newCollectors(), leaks: newLeaks(), snapshots: map[types.ManagedObjectReference]*saved{},
	}
	about := &simulator.Map.Get(serviceInstance).(*simulator.ServiceInstance).Content.About
	about.ApiVersion = s.api
	about.Version = strings.Join(strings.SplitN(s.api+".", ".", 4)[:3], ".")
	if s.mend {
		l.mendInventory()
	}
	l.guests = newGuests(l)
	if s.template != "" {
		l.addTemplates()
	}
	return l
}

var serviceInstance = types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}

// request is one call of a client: SOAP when method is set, REST otherwise.
type request struct {
	*http.Request
	body   []byte
	name   string
	method *simulator.Method
	fault  *fault // injected, or nil
}

func (l *lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_lab/") {
		l.control(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	q := newRequest(r, body)
	if strings.HasPrefix(r.UserAgent(), "Go-http-client") { // the content library, which is a client too
		a := newAnswer()
		l.answer(a, q)
		a.send(w)
		return
	}
	begin := time.Now()
	time.Sleep(l.rtt + l.delays.of(q.name))
	q.fault = l.faults.take(q.name)
	a := newAnswer()
	lost := q.fault != nil && q.fault.Mode == modeLost
	if q.fault != nil && q.fault.Mode == modeLogout {
		_, _ = l.endSessions(r)
	}
	if q.fault != nil && q.fault.Mode == modeDrop {
		lost = true
	} else {
		l.answer(a, q)
	}
	l.leaks.note(a, q)
	l.stats.add(q.name, len(body)+a.body.Len(), time.Since(begin))
	if lost {
		hangUp(w)
		return
	}
	a.send(w)
}

func hangUp(w http.ResponseWriter) {
	if connection, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = connection.Close()
	}
}

func newRequest(r *http.Request, body []byte) *request {
	q := &request{Request: r, body: body}
	if strings.HasPrefix(r.URL.Path, "/sdk") && r.Method == http.MethodPost {
		if method, err := simulator.UnmarshalBody(typeOf, body); err == nil {
			q.method, q.name = method, method.Name
			return q
		}
	}
	q.name = r.Method + " " + restName(r)
	return q
}

// typeOf finds a type of the API by its name; clients that bind a prefix to the namespace send it along.
func typeOf(name string) (reflect.Type, bool) {
	find := types.TypeFunc()
	if kind, ok := find(name); ok {
		return kind, ok
	}
	return find(name[strings.Index(name, ":")+1:])
}

var identifier = regexp.MustCompile(`/(id:)?(urn:[^/]*|[^/]*[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[^/]*)`)

// restName names a REST call without its identifiers: calls of one kind are counted together.
func restName(r *http.Request) string {
	name := identifier.ReplaceAllString(r.URL.Path, "/ID")
	if action := action(r); action != "" {
		name += "?action=" + action
	}
	return name
}

// action is the verb of a REST call; the older form has a tilde.
func action(r *http.Request) string {
	query := r.URL.Query()
	return query.Get("action") + query.Get("~action")
}

func (l *lab) answer(a *answer, q *request) {
	switch {
	case q.fault != nil && q.fault.Mode == modeHTTP:
		http.Error(a, "the lab says so", q.fault.status())
	case q.fault != nil && q.fault.Mode == modeSOAP && q.method != nil:
		writeFault(a, q.fault.make(q.method.This), "the lab says so")
	case q.URL.Path == "/sdk/vimServiceVersions.xml":
		l.versions(a)
	case q.method != nil:
		l.answerSOAP(a, q)
	default:
		l.answerREST(a, q)
	}
}

func (l *lab) answerSOAP(a *answer, q *request) {
	defer func() {
		if reason := recover(); reason != nil {
			log.Printf("%s: %v\n%s", q.name, reason, debug.Stack())
			fault := &types.SystemError{Reason: fmt.Sprintf("%s: the simulator panicked: %v", q.name, reason)}
			writeFault(a, fault, fault.Reason)
		}
	}()
	isTask := strings.HasSuffix(q.name, "_Task")
	if isTask && (l.mend || l.task > 0 || q.fault != nil && q.fault.Mode == modeTask) {
		if l.authenticated(a, q) {
			l.startTask(a, q)
		}
		return
	}
	if call := mendedCalls[q.name]; call != nil && l.mend && call(l, a, q) {
		return
	}
	switch q.name {
	case "RetrievePropertiesEx":
		l.retrieve(a, q)
	case "ContinueRetrievePropertiesEx":
		l.continueRetrieve(a, q)
	case "CancelRetrievePropertiesEx":
		l.cancelRetrieve(a, q)
	case "Fetch":
		l.fetch(a, q)
	default:
		l.forward(a, q)
	}
}

// forward lets the simulator answer.
func (l *lab) forward(a *answer, q *request) {
	inner := q.Request.Clone(q.Context())
	inner.Body = io.NopCloser(bytes.NewReader(q.body))
	l.next.ServeHTTP(a, inner)
}

const currentTime = envelopeStart + `<CurrentTime xmlns="urn:vim25">` +
	`<_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>` + envelopeEnd

// authenticated is false, and the fault is written, when the caller has no session. It keeps the session alive.
func (l *lab) authenticated(a *answer, q *request) bool {
	probe := newAnswer()
	inner := &request{Request: q.Request, body: []byte(currentTime)}
	l.forward(probe, inner)
	if probe.status == http.StatusOK {
		return true
	}
	*a = *probe
	return false
}

// internal is a context for calls that the lab makes itself; object is what the caller has locked.
func internal(object types.ManagedObjectReference) *simulator.Context {
	return &simulator.Context{
		Context: context.Background(),
		Session: &simulator.Session{
			UserSession: types.UserSession{Key: "lab", UserName: "lab"},
			Registry:    simulator.NewRegistry(),
		},
		Caller: &object,
		Map:    simulator.Map,
	}
}

// invoke calls a method of the simulator without HTTP, on a body that a mend may have changed.
func invoke(this types.ManagedObjectReference, name string, body types.AnyType) (interface{}, types.BaseMethodFault) {
	object := simulator.Map.Get(this)
	if object == nil {
		return nil, &types.ManagedObjectNotFound{Obj: this}
	}
	method := reflect.ValueOf(object).MethodByName(strings.Replace(strings.Title(name), "_Task", "Task", 1))
	if !method.IsValid() {
		return nil, &types.MethodNotFound{Receiver: this, Method: name}
	}
	arguments := []reflect.Value{reflect.ValueOf(body)}
	if method.Type().NumIn() == 2 {
		arguments = append([]reflect.Value{reflect.ValueOf(internal(this))}, arguments...)
	}
	var result soap.HasFault
	simulator.Map.WithLock(object, func() {
		result = method.Call(arguments)[0].Interface().(soap.HasFault)
	})
	if fault := result.Fault(); fault != nil {
		return nil, fault.VimFault().(types.BaseMethodFault)
	}
	response := reflect.ValueOf(result).Elem().FieldByName("Res").Elem()
	if value := response.FieldByName("Returnval"); value.IsValid() {
		return value.Interface(), nil
	}
	return nil, nil
}

// versions is the document by which clients choose the newest version that both sides know.
func (l *lab) versions(a *answer) {
	known := []string{"9.0.0.0", "8.0.3.0", "8.0.2.0", "8.0.1.0", "8.0.0.1", "7.0.3.0", "7.0", "6.7", "6.5", "6.0", "5.5"}
	var prior strings.Builder
	for i := range known {
		if known[i] < l.api {
			fmt.Fprintf(&prior, "<version>%s</version>", known[i])
		}
	}
	fmt.Fprintf(a, `<?xml version="1.0" encoding="UTF-8"?><namespaces version="1.0"><namespace><name>urn:vim25</name>`+
		`<version>%s</version><priorVersions>%s</priorVersions></namespace></namespaces>`, l.api, prior.String())
}
