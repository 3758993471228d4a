package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// hookInput is what the program behind VMs reads on its standard input.
type hookInput struct {
	UUID        string            `json:"uuid"` // instance UUID
	BIOS        string            `json:"bios_uuid"`
	Path        string            `json:"path"`
	Name        string            `json:"name"`
	ExtraConfig map[string]string `json:"extra_config"`
	NICs        []hookNIC         `json:"nics"`
	Snapshot    string            `json:"snapshot,omitempty"`
}

type hookNIC struct {
	Key     int32  `json:"key"`
	MAC     string `json:"mac"`
	Network string `json:"network"`
}

// hookAnswer is what it may print.
type hookAnswer struct {
	Addresses *[]string         `json:"addresses"`
	GuestInfo map[string]string `json:"guestinfo"`
	Hostname  *string           `json:"hostname"`
}

// hooks are the programs that run.
type hooks struct {
	mu      sync.Mutex
	running map[*exec.Cmd]bool
	ended   bool
}

func (g *guests) describe(vm *simulator.VirtualMachine) hookInput {
	input := hookInput{ExtraConfig: map[string]string{}, Path: pathOf(vm), NICs: []hookNIC{}}
	simulator.Map.WithLock(vm, func() {
		input.UUID, input.BIOS, input.Name = vm.Config.InstanceUuid, vm.Config.Uuid, vm.Name
		for _, option := range vm.Config.ExtraConfig {
			value := option.GetOptionValue()
			input.ExtraConfig[value.Key] = fmt.Sprint(value.Value)
		}
		for _, nic := range g.nics(vm, nil) {
			input.NICs = append(input.NICs, hookNIC{nic.DeviceConfigId, nic.MacAddress, nic.Network})
		}
	})
	return input
}

func pathOf(entity mo.Entity) string {
	path := ""
	for entity.Entity().Parent != nil { // the root folder has none, and is in no path
		path = "/" + entity.Entity().Name + path
		parent, ok := simulator.Map.Get(*entity.Entity().Parent).(mo.Entity)
		if !ok {
			break
		}
		entity = parent
	}
	return path
}

// runHook runs the program for a VM after those that were asked for before, and hands on what it prints. The channel
// is closed at its end.
func (g *guests) runHook(guest *guest, word string, input hookInput, then func(hookAnswer)) <-chan struct{} {
	done := make(chan struct{})
	g.mu.Lock()
	before := guest.last
	guest.last = done
	g.mu.Unlock()
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		g.hook(word, input, then)
	}()
	return done
}

func (g *guests) hook(word string, input hookInput, then func(hookAnswer)) {
	text, _ := json.Marshal(input)
	command := exec.Command(g.l.onPower, word, input.UUID, input.Path)
	command.Stdin, command.Stderr = bytes.NewReader(text), os.Stderr
	var out bytes.Buffer
	command.Stdout = &out
	if err := g.hooks.run(command); err != nil {
		fmt.Fprintf(os.Stderr, "vcenter: %s %s %s: %v\n", g.l.onPower, word, input.Path, err)
		return
	}
	var answer hookAnswer
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
			fmt.Fprintf(os.Stderr, "vcenter: %s %s printed no JSON: %v\n", g.l.onPower, word, err)
			return
		}
	}
	then(answer)
}

func (h *hooks) run(command *exec.Cmd) error {
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		return os.ErrProcessDone
	}
	if h.running == nil {
		h.running = map[*exec.Cmd]bool{}
	}
	err := command.Start()
	if err == nil {
		h.running[command] = true
	}
	h.mu.Unlock()
	if err != nil {
		return err
	}
	err = command.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, command)
	return err
}

// end kills what still runs, so that nothing outlives the simulator.
func (h *hooks) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for command := range h.running {
		_ = command.Process.Kill()
	}
}

func (g *guests) heard(vm *simulator.VirtualMachine, guest *guest, answer hookAnswer) {
	g.mu.Lock()
	if answer.Addresses != nil {
		guest.said.addresses = answer.Addresses
	}
	if answer.Hostname != nil {
		guest.said.hostname = answer.Hostname
	}
	g.mu.Unlock()
	writeGuestInfo(vm, answer.GuestInfo)
}

// gone is called before a VM is destroyed; what it returns tells the program, afterwards.
func (g *guests) gone(vm *simulator.VirtualMachine) func() {
	input, guest := g.describe(vm), g.of(vm.Self)
	return func() {
		g.mu.Lock()
		delete(g.byVM, vm.Self)
		g.mu.Unlock()
		if g.l.onPower != "" {
			g.runHook(guest, "gone", input, func(hookAnswer) {})
		}
	}
}

// writeGuestInfo sets keys as a guest does: without a new version of the configuration.
func writeGuestInfo(vm *simulator.VirtualMachine, values map[string]string) {
	var options []types.BaseOptionValue
	for key, value := range values {
		options = append(options, &types.OptionValue{Key: key, Value: value})
	}
	if len(options) == 0 {
		return
	}
	setExtraConfig(vm, options)
	simulator.Map.WithLock(vm, func() {
		simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.extraConfig", Val: vm.Config.ExtraConfig}})
	})
}
