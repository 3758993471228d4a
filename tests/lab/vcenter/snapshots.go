package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// saved is what a VM was like when a snapshot was taken. The simulator keeps a copy that shares the devices.
type saved struct {
	config types.VirtualMachineConfigInfo
	on     bool
}

func (l *lab) createSnapshot(q *request) (types.AnyType, types.BaseMethodFault) {
	body := q.method.Body.(*types.CreateSnapshot_Task)
	vm, fault := virtualMachine(body.This)
	if fault != nil {
		return nil, fault
	}
	state := &saved{on: body.Memory && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn}
	simulator.Map.WithLock(vm, func() { deepCopy(*vm.Config, &state.config) })
	result, fault := runTask(body.This, q.name, body)
	if fault != nil {
		return nil, fault
	}
	ref := result.(types.ManagedObjectReference)
	l.snapshots[ref] = state
	l.guests.disk("kept", vm.Self, ref)
	simulator.Map.WithLock(vm, func() {
		if node := findSnapshot(vm.Snapshot.RootSnapshotList, ref); node != nil && !state.on {
			node.State = types.VirtualMachinePowerStatePoweredOff // what a revert would leave
		}
	})
	return result, nil
}

func findSnapshot(tree []types.VirtualMachineSnapshotTree, ref types.ManagedObjectReference) *types.VirtualMachineSnapshotTree {
	for i := range tree {
		if tree[i].Snapshot == ref {
			return &tree[i]
		}
		if found := findSnapshot(tree[i].ChildSnapshotList, ref); found != nil {
			return found
		}
	}
	return nil
}

func (l *lab) revertToCurrent(q *request) (types.AnyType, types.BaseMethodFault) {
	vm, fault := virtualMachine(q.method.This)
	if fault != nil {
		return nil, fault
	}
	if vm.Snapshot == nil || vm.Snapshot.CurrentSnapshot == nil {
		return nil, &types.NotFound{}
	}
	return nil, l.revertTo(vm, *vm.Snapshot.CurrentSnapshot)
}

func (l *lab) revert(q *request) (types.AnyType, types.BaseMethodFault) {
	snapshot, ok := simulator.Map.Get(q.method.This).(*simulator.VirtualMachineSnapshot)
	if !ok {
		return nil, &types.ManagedObjectNotFound{Obj: q.method.This}
	}
	vm, fault := virtualMachine(snapshot.Vm)
	if fault != nil {
		return nil, fault
	}
	return nil, l.revertTo(vm, snapshot.Self)
}

// revertTo gives a VM back its settings and power state; its name in the inventory stays.
func (l *lab) revertTo(vm *simulator.VirtualMachine, ref types.ManagedObjectReference) types.BaseMethodFault {
	state := l.snapshots[ref]
	if state == nil {
		return &types.NotFound{}
	}
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		if _, fault := runTask(vm.Self, "PowerOffVM_Task", &types.PowerOffVM_Task{This: vm.Self}); fault != nil {
			return fault
		}
	}
	l.guests.disk("back", vm.Self, ref)
	config := &types.VirtualMachineConfigInfo{}
	deepCopy(state.config, config)
	simulator.Map.WithLock(vm, func() {
		config.Name = vm.Config.Name
		vm.Config = config
		summary := &vm.Summary.Config
		summary.NumCpu, summary.MemorySizeMB = config.Hardware.NumCPU, config.Hardware.MemoryMB
		summary.GuestId = config.GuestId
	})
	l.changed(vm)
	update(vm, types.PropertyChange{Name: "config.hardware.device", Val: config.Hardware.Device},
		types.PropertyChange{Name: "snapshot.currentSnapshot", Val: ref})
	l.guests.refresh(vm)
	if state.on {
		_, fault := runTask(vm.Self, "PowerOnVM_Task", &types.PowerOnVM_Task{This: vm.Self})
		return fault
	}
	return nil
}
