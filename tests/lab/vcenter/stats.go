package main

import (
	"sync"
	"time"
)

type figures struct {
	Calls int     `json:"calls"`
	Bytes int     `json:"bytes"` // of bodies, both ways
	MS    float64 `json:"ms"`
}

// stats counts what clients asked for, by SOAP method or REST path.
type stats struct {
	mu     sync.Mutex
	byName map[string]*figures
}

func newStats() *stats { return &stats{byName: map[string]*figures{}} }

func (s *stats) add(name string, bytes int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.byName[name]
	if f == nil {
		f = &figures{}
		s.byName[name] = f
	}
	f.Calls++
	f.Bytes += bytes
	f.MS += float64(took.Microseconds()) / 1000
}

func (s *stats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName = map[string]*figures{}
}

func (s *stats) all() map[string]figures {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]figures{}
	for name, f := range s.byName {
		all[name] = *f
	}
	return all
}

// delays make calls of one name slower.
type delays struct {
	mu     sync.Mutex
	byName map[string]time.Duration
}

func newDelays() *delays { return &delays{byName: map[string]time.Duration{}} }

func (d *delays) of(name string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byName[name]
}

func (d *delays) set(name string, delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byName[name] = delay
}
