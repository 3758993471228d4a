package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	modeSOAP   = "soap"   // the call faults, and nothing is done
	modeTask   = "task"   // the call works, its task fails
	modeHTTP   = "http"   // an HTTP status, and nothing is done
	modeDrop   = "drop"   // nothing is done, the connection is closed
	modeLost   = "lost"   // it is done, the connection is closed
	modeLogout = "logout" // all sessions end, then it is served
)

// fault is what a test wants to go wrong.
type fault struct {
	Method string          `json:"method"` // SOAP method, or REST call as the statistics name it; "*" is any
	Mode   string          `json:"mode"`
	Fault  string          `json:"fault"` // type of the API, such as NoPermission
	Fields json.RawMessage `json:"fields"`
	Status int             `json:"status"`
	Skip   int             `json:"skip"`
	Times  int             `json:"times"`

	kind reflect.Type
}

func (f *fault) check() error {
	switch f.Mode {
	case modeSOAP, modeTask:
		kind, ok := types.TypeFunc()(f.Fault)
		if !ok || !reflect.PtrTo(kind).Implements(reflect.TypeOf((*types.BaseMethodFault)(nil)).Elem()) {
			return fmt.Errorf("%q is no fault of the API", f.Fault)
		}
		f.kind = kind
		if f.Mode == modeTask && !strings.HasSuffix(f.Method, "_Task") {
			return fmt.Errorf("%s has no task", f.Method)
		}
		if f.Fields != nil {
			return json.Unmarshal(f.Fields, reflect.New(kind).Interface())
		}
	case modeHTTP, modeDrop, modeLost, modeLogout:
	default:
		return fmt.Errorf("mode %q: soap, task, http, drop, lost or logout", f.Mode)
	}
	return nil
}

func (f *fault) status() int {
	if f.Status == 0 {
		return http.StatusServiceUnavailable
	}
	return f.Status
}

// make builds the fault, with what clients require in it: references, and states that are words of the API.
func (f *fault) make(this types.ManagedObjectReference) types.BaseMethodFault {
	value := reflect.New(f.kind)
	fill(value.Elem(), this)
	if f.Fields != nil {
		_ = json.Unmarshal(f.Fields, value.Interface()) // check() has tried it
	}
	return value.Interface().(types.BaseMethodFault)
}

func fill(value reflect.Value, this types.ManagedObjectReference) {
	for i := 0; i < value.NumField(); i++ {
		field, kind := value.Field(i), value.Type().Field(i)
		if strings.Contains(kind.Tag.Get("xml"), "omitempty") {
			continue
		}
		switch field.Interface().(type) {
		case types.ManagedObjectReference:
			ref := this
			if kind.Name == "Task" {
				ref = types.ManagedObjectReference{Type: "Task", Value: "task-0"}
			}
			field.Set(reflect.ValueOf(ref))
		case types.VirtualMachinePowerState:
			state := types.VirtualMachinePowerStatePoweredOff
			if vm, ok := simulator.Map.Get(this).(*simulator.VirtualMachine); ok && kind.Name == "ExistingState" {
				state = vm.Runtime.PowerState
			}
			field.Set(reflect.ValueOf(state))
		default:
			if field.Kind() == reflect.Struct && kind.Anonymous {
				fill(field, this)
			}
		}
	}
}

// faults are taken in the order in which they were given.
type faults struct {
	mu      sync.Mutex
	pending []*fault
}

func (f *faults) add(one *fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = append(f.pending, one)
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending = nil
}

// take returns the fault that this call meets, or nil.
func (f *faults) take(name string) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, one := range f.pending {
		if one.Method != name && one.Method != "*" {
			continue
		}
		if one.Skip > 0 {
			one.Skip--
			continue
		}
		if one.Times--; one.Times <= 0 {
			f.pending = append(f.pending[:i:i], f.pending[i+1:]...)
		}
		return one
	}
	return nil
}
