package main

import (
	"regexp"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func datastoreOf(path string) string {
	var p object.DatastorePath
	p.FromString(path)
	return p.Datastore
}

func validGuest(id string) types.BaseMethodFault {
	if id == "" {
		return nil
	}
	for _, known := range simulator.GuestID {
		if id == string(known) {
			return nil
		}
	}
	return &types.InvalidArgument{InvalidProperty: "configSpec.guestId"}
}

func (l *lab) reconfigTask(q *request) (types.AnyType, types.BaseMethodFault) {
	body := q.method.Body.(*types.ReconfigVM_Task)
	vm, fault := virtualMachine(body.This)
	if fault == nil {
		fault = l.reconfig(vm, &body.Spec)
	}
	if fault == nil && clearsAnnotation(q) {
		simulator.Map.WithLock(vm, func() { vm.Config.Annotation = "" })
		l.changed(vm)
	}
	return nil, fault
}

// An annotation that is given and empty removes the one that there is; govmomi's types have no such thing.
var emptyAnnotation = regexp.MustCompile(`<annotation[^>]*(/>|></annotation>)`)

func clearsAnnotation(q *request) bool { return emptyAnnotation.Match(q.body) }

// reconfig does all of a specification or nothing; the simulator checks little, and after it has begun.
func (l *lab) reconfig(vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	spec.Name = escape(spec.Name)
	if fault := l.checkSpec(vm, spec); fault != nil {
		return fault
	}
	extra := spec.ExtraConfig
	spec.ChangeVersion, spec.ExtraConfig = "", nil
	for _, option := range extra {
		if key := option.GetOptionValue().Key; strings.HasPrefix(key, "SET.") || key == "ip0" {
			spec.ExtraConfig = append(spec.ExtraConfig, option) // the simulator's own way to set a guest's properties
		}
	}
	if _, fault := runTask(vm.Self, "ReconfigVM_Task", &types.ReconfigVM_Task{This: vm.Self, Spec: *spec}); fault != nil {
		return fault
	}
	setExtraConfig(vm, extra)
	l.changed(vm)
	if len(spec.DeviceChange) > 0 {
		l.guests.refresh(vm)
	}
	return nil
}

func (l *lab) checkSpec(vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	config := vm.Config
	if spec.ChangeVersion != "" && spec.ChangeVersion != config.ChangeVersion {
		return &types.ConcurrentAccess{}
	}
	if config.Template && len(spec.ExtraConfig) > 0 {
		return &types.NotSupported{}
	}
	if spec.Name != "" && vm.Parent != nil {
		if fault := taken(*vm.Parent, spec.Name, vm.Self); fault != nil {
			return fault
		}
	}
	if fault := validGuest(spec.GuestId); fault != nil {
		return fault
	}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		if fault := hotPlug(config, spec); fault != nil {
			return fault
		}
	}
	return l.completeDevices(vm, spec.DeviceChange)
}

// hotPlug is the fault of a change that a VM cannot take while it runs.
func hotPlug(config *types.VirtualMachineConfigInfo, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	on := func(flag *bool) bool { return flag != nil && *flag }
	cpus, memory := spec.NumCPUs-config.Hardware.NumCPU, spec.MemoryMB-int64(config.Hardware.MemoryMB)
	switch {
	case spec.NumCPUs != 0 && cpus > 0 && !on(config.CpuHotAddEnabled):
		return &types.CpuHotPlugNotSupported{}
	case spec.NumCPUs != 0 && cpus < 0 && !on(config.CpuHotRemoveEnabled):
		return &types.CpuHotPlugNotSupported{}
	case spec.MemoryMB != 0 && (memory < 0 || memory > 0 && !on(config.MemoryHotAddEnabled)):
		return &types.MemoryHotPlugNotSupported{}
	}
	return nil
}

// setExtraConfig sets keys in place of old ones, and removes those with an empty value.
func setExtraConfig(vm *simulator.VirtualMachine, options []types.BaseOptionValue) {
	simulator.Map.WithLock(vm, func() {
		for _, option := range options {
			value := option.GetOptionValue()
			if strings.HasPrefix(value.Key, "SET.") || value.Key == "ip0" {
				continue
			}
			kept := []types.BaseOptionValue{}
			done := value.Value == nil || value.Value == ""
			for _, old := range vm.Config.ExtraConfig {
				if old.GetOptionValue().Key != value.Key {
					kept = append(kept, old)
				} else if !done {
					kept, done = append(kept, option), true
				}
			}
			if !done {
				kept = append(kept, option)
			}
			vm.Config.ExtraConfig = kept
		}
	})
}
