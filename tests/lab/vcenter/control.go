package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// control answers the tests' own calls, below /_lab/. What is wrong with one is said with status 400.
func (l *lab) control(w http.ResponseWriter, r *http.Request) {
	handlers := map[string]func(*http.Request) (interface{}, error){
		"GET stats":         func(*http.Request) (interface{}, error) { return l.stats.all(), nil },
		"POST stats/reset":  func(*http.Request) (interface{}, error) { l.stats.reset(); return nil, nil },
		"POST fault":        l.addFault,
		"POST fault/clear":  func(*http.Request) (interface{}, error) { l.faults.clear(); return nil, nil },
		"POST delay":        l.addDelay,
		"GET leaks":         l.listLeaks,
		"GET sessions":      l.listSessions,
		"POST sessions/end": l.endSessions,
		"POST guest":        l.setGuest,
		"GET guestinfo":     l.getGuestInfo,
		"POST guestinfo":    l.setGuestInfo,
	}
	if r.URL.Path == rawGuestInfo {
		l.rawGuestInfo(w, r)
		return
	}
	name := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/_lab/")
	handler := handlers[name]
	if handler == nil {
		http.Error(w, "the lab has no "+name, http.StatusNotFound)
		return
	}
	value, err := handler(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// read decodes a request strictly: a field that is misspelt is an error, not ignored.
func read(r *http.Request, into interface{}) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

func (l *lab) addFault(r *http.Request) (interface{}, error) {
	one := &fault{Times: 1}
	if err := read(r, one); err != nil {
		return nil, err
	}
	if err := one.check(); err != nil {
		return nil, err
	}
	l.faults.add(one)
	return nil, nil
}

func (l *lab) addDelay(r *http.Request) (interface{}, error) {
	var delay struct {
		Method string  `json:"method"`
		MS     float64 `json:"ms"`
	}
	if err := read(r, &delay); err != nil {
		return nil, err
	}
	if delay.MS < 0 {
		return nil, fmt.Errorf("%g ms: a delay is not negative", delay.MS)
	}
	l.delays.set(delay.Method, time.Duration(delay.MS*float64(time.Millisecond)))
	return nil, nil
}
