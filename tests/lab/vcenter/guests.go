package main

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// guests are what runs in the VMs: tools, addresses, and what a test or a real host says of them.
type guests struct {
	l         *lab
	mu        sync.Mutex
	byVM      map[types.ManagedObjectReference]*guest
	addresses map[string]string // MAC -> IPv4, as a DHCP server keeps it
	events    chan vmEvent
	hooks     hooks
}

type guest struct {
	boots  int // grows with each change of power: what an older one started is void
	booted bool
	said   said
	last   <-chan struct{} // closed when the program that was asked for last has ended
}

// said is what a test, or the program behind a VM, wants instead of the usual.
type said struct {
	addresses *[]string
	nics      *[][]string
	bridges   map[string][]string
	hostname  *string
	tools     *bool
}

func (s said) nothing() bool {
	return s.addresses == nil && s.nics == nil && s.bridges == nil && s.hostname == nil && s.tools == nil
}

// vmEvent is what a VM's program is told, in the order in which it happened: power, or what a snapshot is about.
type vmEvent struct {
	vm       types.ManagedObjectReference
	on       bool
	word     string // kept, back: of a snapshot
	snapshot string
	done     chan struct{}
}

func newGuests(l *lab) *guests {
	g := &guests{
		l: l, byVM: map[types.ManagedObjectReference]*guest{}, addresses: map[string]string{},
		events: make(chan vmEvent, 10000),
	}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
		g.of(vm.Self).booted = on
		connect(vm, on)
		g.refresh(vm)
	}
	simulator.Map.AddHandler(g)
	go g.follow()
	return g
}

func (g *guests) of(ref types.ManagedObjectReference) *guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byVM[ref] == nil {
		g.byVM[ref] = &guest{}
	}
	return g.byVM[ref]
}

// Reference, PutObject, RemoveObject and UpdateObject make it one whom the simulator tells of changes.
func (g *guests) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Lab", Value: "guests"}
}

func (g *guests) PutObject(mo.Reference) { atomic.AddInt64(&g.l.changes, 1) }

func (g *guests) RemoveObject(types.ManagedObjectReference) { atomic.AddInt64(&g.l.changes, 1) }

func (g *guests) UpdateObject(object mo.Reference, changes []types.PropertyChange) {
	atomic.AddInt64(&g.l.changes, 1)
	for _, change := range changes {
		if change.Name == "runtime.powerState" && object.Reference().Type == "VirtualMachine" {
			on := change.Val == types.VirtualMachinePowerStatePoweredOn
			g.events <- vmEvent{vm: object.Reference(), on: on} // the VM is locked here
		}
	}
}

func (g *guests) follow() {
	for event := range g.events {
		vm, ok := simulator.Map.Get(event.vm).(*simulator.VirtualMachine)
		switch {
		case event.word != "":
			g.told(vm, event)
		case ok:
			g.powered(vm, event.on)
		}
	}
}

// disk has the program keep a VM's disk as it is now, or take it back to how it was; returns at its end.
func (g *guests) disk(word string, vm, snapshot types.ManagedObjectReference) {
	if g.l.onPower == "" {
		return
	}
	done := make(chan struct{})
	g.events <- vmEvent{vm: vm, word: word, snapshot: snapshot.Value, done: done}
	<-done
}

func (g *guests) told(vm *simulator.VirtualMachine, event vmEvent) {
	if vm == nil {
		close(event.done)
		return
	}
	input := g.describe(vm)
	input.Snapshot = event.snapshot
	ended := g.runHook(g.of(vm.Self), event.word, input, func(hookAnswer) {})
	go func() {
		<-ended
		close(event.done)
	}()
}

func (g *guests) powered(vm *simulator.VirtualMachine, on bool) {
	guest := g.of(vm.Self)
	g.mu.Lock()
	guest.boots++
	boots := guest.boots
	guest.booted = false
	g.mu.Unlock()
	connect(vm, on)
	g.refresh(vm)
	word := "off"
	if on {
		word = "on"
	}
	up := func() {
		g.mu.Lock()
		guest.booted = on && guest.boots == boots
		g.mu.Unlock()
		g.refresh(vm)
	}
	switch {
	case g.l.onPower != "":
		input := g.describe(vm)
		g.runHook(guest, word, input, func(answer hookAnswer) {
			g.heard(vm, guest, answer)
			up()
		})
	case on && g.l.boot > 0:
		time.AfterFunc(g.l.boot, up)
	case on:
		up()
	}
}

// connect plugs a VM's cards in when it starts, as each of them says, and out when it stops.
func connect(vm *simulator.VirtualMachine, on bool) {
	simulator.Map.WithLock(vm, func() {
		for _, device := range vm.Config.Hardware.Device {
			card, ok := device.(types.BaseVirtualEthernetCard)
			if !ok {
				continue
			}
			state := types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true}
			if old := card.GetVirtualEthernetCard().Connectable; old != nil {
				state = *old // the simulator's own VMs share one
			}
			state.Connected = on && state.StartConnected
			card.GetVirtualEthernetCard().Connectable = &state
		}
	})
}

// refresh shows the guest's state in the VM's properties.
func (g *guests) refresh(vm *simulator.VirtualMachine) {
	guest := g.of(vm.Self)
	g.mu.Lock()
	said, booted := guest.said, guest.booted
	g.mu.Unlock()
	simulator.Map.WithLock(vm, func() {
		if g.l.guestNet == "" && said.nothing() {
			simulator.Map.Update(vm, []types.PropertyChange{{Name: "guest.net", Val: g.nics(vm, nil)}})
			return
		}
		running := booted && (said.tools == nil || *said.tools)
		simulator.Map.Update(vm, g.properties(vm, said, running))
	})
}

func (g *guests) properties(vm *simulator.VirtualMachine, said said, running bool) []types.PropertyChange {
	status, tools := types.VirtualMachineToolsRunningStatusGuestToolsNotRunning, types.VirtualMachineToolsStatusToolsNotRunning
	state, host, ip := types.VirtualMachineGuestStateNotRunning, "", ""
	nics := []types.GuestNicInfo{}
	if running {
		status, tools = types.VirtualMachineToolsRunningStatusGuestToolsRunning, types.VirtualMachineToolsStatusToolsOk
		state, host = types.VirtualMachineGuestStateRunning, vm.Name
		if said.hostname != nil {
			host = *said.hostname
		}
		nics = g.nics(vm, &said)
		ip = firstAddress(nics)
	}
	changes := []types.PropertyChange{
		{Name: "guest.net", Val: nics},
		{Name: "guest.guestState", Val: string(state)},
	}
	for _, start := range []string{"guest.", "summary.guest."} {
		changes = append(changes,
			types.PropertyChange{Name: start + "toolsStatus", Val: tools},
			types.PropertyChange{Name: start + "toolsRunningStatus", Val: string(status)},
			types.PropertyChange{
				Name: start + "toolsVersionStatus2",
				Val:  string(types.VirtualMachineToolsVersionStatusGuestToolsUnmanaged),
			},
			types.PropertyChange{Name: start + "hostName", Val: host},
			types.PropertyChange{Name: start + "ipAddress", Val: ip})
	}
	return changes
}

// nics are guest.net: a VM's cards, then those that only the guest knows. Without `said` they have no addresses.
func (g *guests) nics(vm *simulator.VirtualMachine, said *said) []types.GuestNicInfo {
	nics := []types.GuestNicInfo{}
	for _, device := range vm.Config.Hardware.Device {
		any, ok := device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		card := any.GetVirtualEthernetCard()
		nic := types.GuestNicInfo{
			Network: networkName(card), MacAddress: card.MacAddress, DeviceConfigId: card.Key,
			Connected: card.Connectable == nil || card.Connectable.Connected,
		}
		if said != nil && nic.Connected {
			setAddresses(&nic, g.addressesOf(said, len(nics), card.MacAddress))
		}
		nics = append(nics, nic)
	}
	if said == nil {
		return nics
	}
	var names []string
	for name := range said.bridges {
		names = append(names, name)
	}
	sort.Strings(names)
	for i, name := range names {
		nic := types.GuestNicInfo{DeviceConfigId: -1, MacAddress: fmt.Sprintf("02:42:00:00:00:%02x", i), Connected: true}
		setAddresses(&nic, said.bridges[name])
		nics = append(nics, nic)
	}
	return nics
}
