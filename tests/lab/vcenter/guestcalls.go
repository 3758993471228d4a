package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// find takes a VM by its path, instance or BIOS UUID, or id.
func find(word string) (*simulator.VirtualMachine, error) {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		config := vm.Config
		if vm.Self.Value == word || config != nil && (config.InstanceUuid == word || config.Uuid == word) {
			return vm, nil
		}
		if strings.Contains(word, "/") && pathOf(vm) == "/"+strings.TrimPrefix(word, "/") {
			return vm, nil
		}
	}
	return nil, fmt.Errorf("there is no VM %q", word)
}

// setGuest says what a guest is like; null is the usual again.
func (l *lab) setGuest(r *http.Request) (interface{}, error) {
	var fields map[string]json.RawMessage
	if err := read(r, &fields); err != nil {
		return nil, err
	}
	var word string
	if err := json.Unmarshal(fields["vm"], &word); err != nil {
		return nil, fmt.Errorf("vm: %w", err)
	}
	delete(fields, "vm")
	vm, err := find(word)
	if err != nil {
		return nil, err
	}
	guest := l.guests.of(vm.Self)
	l.guests.mu.Lock()
	said := guest.said
	l.guests.mu.Unlock()
	var question *string
	var info map[string]string
	targets := map[string]interface{}{
		"addresses": &said.addresses, "nics": &said.nics, "bridges": &said.bridges, "hostname": &said.hostname,
		"tools": &said.tools, "question": &question, "guestinfo": &info,
	}
	for name, text := range fields {
		target := targets[name]
		if target == nil {
			return nil, fmt.Errorf("a guest has no %q", name)
		}
		if name == "bridges" {
			said.bridges = nil // maps are merged otherwise, and the old one is shared
		}
		if err := json.Unmarshal(text, target); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	l.guests.mu.Lock()
	guest.said = said
	l.guests.mu.Unlock()
	if _, asked := fields["question"]; asked {
		ask(vm, question)
	}
	writeGuestInfo(vm, info)
	l.guests.refresh(vm)
	return nil, nil
}

func ask(vm *simulator.VirtualMachine, text *string) {
	var question interface{}
	if text != nil && *text != "" {
		choice := func(key, label string) types.BaseElementDescription {
			return &types.ElementDescription{Description: types.Description{Label: label, Summary: label}, Key: key}
		}
		question = types.VirtualMachineQuestionInfo{
			Id: "1", Text: *text,
			Choice: types.ChoiceOption{
				ChoiceInfo: []types.BaseElementDescription{choice("0", "Cancel"), choice("1", "OK")},
			},
		}
	}
	update(vm, types.PropertyChange{Name: "runtime.question", Val: question},
		types.PropertyChange{Name: "summary.runtime.question", Val: question})
}

func (l *lab) getGuestInfo(r *http.Request) (interface{}, error) {
	vm, err := find(r.URL.Query().Get("vm"))
	if err != nil {
		return nil, err
	}
	return readGuestInfo(vm, r.URL.Query().Get("key")), nil
}

func readGuestInfo(vm *simulator.VirtualMachine, key string) (found interface{}) {
	simulator.Map.WithLock(vm, func() {
		for _, option := range vm.Config.ExtraConfig {
			if value := option.GetOptionValue(); value.Key == key {
				found = value.Value
			}
		}
	})
	return found
}

func (l *lab) setGuestInfo(r *http.Request) (interface{}, error) {
	var body struct{ VM, Key, Value string }
	if err := read(r, &body); err != nil {
		return nil, err
	}
	return nil, guestWrites(body.VM, body.Key, body.Value)
}

func guestWrites(word, key, value string) error {
	if !strings.HasPrefix(key, "guestinfo.") {
		return fmt.Errorf("%q: a guest may set guestinfo.* alone", key)
	}
	vm, err := find(word)
	if err == nil {
		writeGuestInfo(vm, map[string]string{key: value})
	}
	return err
}

const rawGuestInfo = "/_lab/guestinfo/raw"

// rawGuestInfo reads and writes a value as it is, for a shell script in a host that stands for the VM.
func (l *lab) rawGuestInfo(w http.ResponseWriter, r *http.Request) {
	word, key := r.URL.Query().Get("vm"), r.URL.Query().Get("key")
	vm, err := find(word)
	if err == nil && r.Method == http.MethodPut {
		var value []byte
		if value, err = io.ReadAll(r.Body); err == nil {
			err = guestWrites(word, key, string(value))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodGet {
		if value := readGuestInfo(vm, key); value != nil {
			fmt.Fprint(w, value)
		} else {
			http.Error(w, "No value found", http.StatusNotFound) // the words of vmware-rpctool
		}
	}
}

// asked is true while a VM has a question: its power-on does not end before that is answered.
func asked(ref types.ManagedObjectReference) (pending bool) {
	if vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine); ok {
		simulator.Map.WithLock(vm, func() { pending = vm.Runtime.Question != nil })
	}
	return pending
}

func (l *lab) answerQuestion(a *answer, q *request) bool {
	body := q.method.Body.(*types.AnswerVM)
	if !l.authenticated(a, q) {
		return true
	}
	vm, fault := virtualMachine(body.This)
	if fault == nil && (vm.Runtime.Question == nil || vm.Runtime.Question.Id != body.QuestionId) {
		fault = &types.InvalidArgument{InvalidProperty: "questionId"}
	}
	if fault != nil {
		writeFault(a, fault, "")
		return true
	}
	ask(vm, nil)
	writeResponse(a, q.name, "")
	return true
}

// shutdownGuest and rebootGuest need tools; both are answered at once, and take as long as a task.
func (l *lab) shutdownGuest(a *answer, q *request) bool {
	return l.askGuest(a, q, func() {
		_, _ = invoke(q.method.This, "ShutdownGuest", &types.ShutdownGuest{This: q.method.This})
	})
}

func (l *lab) rebootGuest(a *answer, q *request) bool {
	return l.askGuest(a, q, func() {
		_, _ = runTask(q.method.This, "ResetVM_Task", &types.ResetVM_Task{This: q.method.This})
	})
}

func (l *lab) askGuest(a *answer, q *request, do func()) bool {
	if !l.authenticated(a, q) {
		return true
	}
	vm, fault := virtualMachine(q.method.This)
	switch {
	case fault != nil:
	case vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn:
		fault = &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: vm.Runtime.PowerState,
		}
	case l.guestNet != "" && vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning):
		fault = &types.ToolsUnavailable{}
	}
	if fault != nil {
		writeFault(a, fault, "")
		return true
	}
	if l.task > 0 {
		time.AfterFunc(l.task, do)
	} else {
		do()
	}
	writeResponse(a, q.name, "")
	return true
}
