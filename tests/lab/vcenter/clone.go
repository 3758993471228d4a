package main

import (
	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// create makes a VM as the simulator does, but not with a name, UUIDs or MACs that another one has: its UUIDs are
// made of the path, so that a VM would get those of one that was destroyed.
func (l *lab) create(q *request) (types.AnyType, types.BaseMethodFault) {
	body := q.method.Body.(*types.CreateVM_Task)
	if fault := l.createVM(body); fault != nil {
		return nil, fault
	}
	result, fault := runTask(body.This, q.name, body)
	if fault == nil {
		l.created(result, body.Config.ExtraConfig)
	}
	return result, fault
}

// createVM checks and completes the specification of a new VM.
func (l *lab) createVM(body *types.CreateVM_Task) types.BaseMethodFault {
	spec := &body.Config
	spec.Name = escape(spec.Name)
	if fault := taken(body.This, spec.Name, types.ManagedObjectReference{}); fault != nil {
		return fault
	}
	if fault := validGuest(spec.GuestId); fault != nil {
		return fault
	}
	if spec.Uuid == "" {
		spec.Uuid = uuid.New().String()
	}
	if spec.InstanceUuid == "" {
		spec.InstanceUuid = uuid.New().String()
	}
	if body.Host == nil {
		host, fault := l.hostOf(body.Pool)
		if fault != nil {
			return fault
		}
		body.Host = host
	}
	return l.completeDevices(nil, spec.DeviceChange)
}

// created sets what the simulator leaves out of a new VM.
func (l *lab) created(result types.AnyType, extra []types.BaseOptionValue) *simulator.VirtualMachine {
	vm := simulator.Map.Get(result.(types.ManagedObjectReference)).(*simulator.VirtualMachine)
	setExtraConfig(vm, extra)
	l.changed(vm)
	l.guests.refresh(vm)
	return vm
}

func (l *lab) register(q *request) (types.AnyType, types.BaseMethodFault) {
	body := q.method.Body.(*types.RegisterVM_Task)
	body.Name = escape(body.Name)
	if fault := taken(body.This, body.Name, types.ManagedObjectReference{}); fault != nil {
		return nil, fault
	}
	return runTask(body.This, q.name, body)
}

// hostOf takes the hosts of a pool's cluster in turn.
func (l *lab) hostOf(pool types.ManagedObjectReference) (*types.ManagedObjectReference, types.BaseMethodFault) {
	entity, ok := simulator.Map.Get(pool).(mo.Entity)
	for ok && entity.Reference().Type != "ClusterComputeResource" && entity.Reference().Type != "ComputeResource" {
		if entity.Entity().Parent == nil {
			break
		}
		entity, ok = simulator.Map.Get(*entity.Entity().Parent).(mo.Entity)
	}
	var hosts []types.ManagedObjectReference
	switch resource := entity.(type) {
	case *simulator.ClusterComputeResource:
		hosts = resource.Host
	case *mo.ComputeResource:
		hosts = resource.Host
	}
	var able []types.ManagedObjectReference
	for _, ref := range hosts {
		host, ok := simulator.Map.Get(ref).(*simulator.HostSystem)
		if ok && !host.Runtime.InMaintenanceMode {
			able = append(able, ref)
		}
	}
	if len(able) == 0 {
		return nil, &types.ManagedObjectNotFound{Obj: pool}
	}
	l.numbers.Lock()
	defer l.numbers.Unlock()
	l.lastHost++
	return &able[l.lastHost%len(able)], nil
}

// clone copies a VM. The simulator's clones share devices with their source, bear names that are taken, and come
// without most of what the specification says.
func (l *lab) clone(q *request) (types.AnyType, types.BaseMethodFault) {
	body := q.method.Body.(*types.CloneVM_Task)
	source, fault := virtualMachine(body.This)
	if fault != nil {
		return nil, fault
	}
	if _, ok := simulator.Map.Get(body.Folder).(*simulator.Folder); !ok {
		return nil, &types.ManagedObjectNotFound{Obj: body.Folder}
	}
	pool := body.Spec.Location.Pool
	if pool == nil && !source.Config.Template {
		pool = source.ResourcePool
	}
	if pool == nil {
		return nil, &types.InvalidArgument{InvalidProperty: "spec.location.pool"}
	}
	create := &types.CreateVM_Task{This: body.Folder, Pool: *pool, Host: body.Spec.Location.Host}
	simulator.Map.WithLock(source, func() { create.Config = copiedSpec(source, body) })
	if clearsAnnotation(q) {
		create.Config.Annotation = ""
	}
	if fault := l.createVM(create); fault != nil {
		return nil, fault
	}
	result, fault := runTask(body.Folder, "CreateVM_Task", create)
	if fault != nil {
		return nil, fault
	}
	vm := l.created(result, create.Config.ExtraConfig)
	if fault := l.finishClone(vm, body.Spec); fault != nil {
		_, _ = runTask(vm.Self, "Destroy_Task", &types.Destroy_Task{This: vm.Self})
		return nil, fault
	}
	return result, nil
}

func (l *lab) finishClone(vm *simulator.VirtualMachine, spec types.VirtualMachineCloneSpec) types.BaseMethodFault {
	steps := []*types.VirtualMachineConfigSpec{{DeviceChange: spec.Location.DeviceChange}}
	if spec.Config != nil {
		spec.Config.Name, spec.Config.ChangeVersion = "", ""
		steps = append(steps, spec.Config)
	}
	for _, step := range steps {
		if fault := l.reconfig(vm, step); fault != nil {
			return fault
		}
	}
	if custom := spec.Customization; custom != nil {
		body := &types.CustomizeVM_Task{This: vm.Self, Spec: *custom}
		if _, fault := runTask(vm.Self, "CustomizeVM_Task", body); fault != nil {
			return fault
		}
	}
	if spec.Template {
		_, fault := invoke(vm.Self, "MarkAsTemplate", &types.MarkAsTemplate{This: vm.Self})
		return fault
	}
	if spec.PowerOn {
		_, fault := runTask(vm.Self, "PowerOnVM_Task", &types.PowerOnVM_Task{This: vm.Self})
		return fault
	}
	return nil
}

// copiedSpec describes a VM like the source, with devices, files and addresses of its own.
func copiedSpec(source *simulator.VirtualMachine, body *types.CloneVM_Task) types.VirtualMachineConfigSpec {
	config := source.Config
	datastore := datastoreOf(config.Files.VmPathName)
	if ref := body.Spec.Location.Datastore; ref != nil {
		if other, ok := simulator.Map.Get(*ref).(*simulator.Datastore); ok {
			datastore = other.Name
		}
	}
	var spec types.VirtualMachineConfigSpec
	deepCopy(types.VirtualMachineConfigSpec{
		Name: body.Name, GuestId: config.GuestId, Version: config.Version, Firmware: config.Firmware,
		AlternateGuestName: config.AlternateGuestName, Annotation: config.Annotation,
		NumCPUs: config.Hardware.NumCPU, NumCoresPerSocket: config.Hardware.NumCoresPerSocket,
		MemoryMB:         int64(config.Hardware.MemoryMB),
		CpuHotAddEnabled: config.CpuHotAddEnabled, CpuHotRemoveEnabled: config.CpuHotRemoveEnabled,
		MemoryHotAddEnabled: config.MemoryHotAddEnabled, NestedHVEnabled: config.NestedHVEnabled,
		Flags: &config.Flags, BootOptions: config.BootOptions,
		ExtraConfig:  config.ExtraConfig,
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[" + datastore + "] " + escape(body.Name)},
		DeviceChange: addDevices(config.Hardware.Device),
	}, &spec)
	for _, change := range spec.DeviceChange {
		switch device := change.GetVirtualDeviceConfigSpec().Device.(type) {
		case *types.VirtualDisk:
			if backing, ok := device.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
				backing.FileName, backing.Datastore, backing.Parent, backing.Uuid = "", nil, nil, ""
			}
		case types.BaseVirtualEthernetCard:
			device.GetVirtualEthernetCard().MacAddress = ""
		}
	}
	return spec
}

func addDevices(devices []types.BaseVirtualDevice) []types.BaseVirtualDeviceConfigSpec {
	usual := map[int32]bool{} // those that each new VM has
	for _, device := range esx.VirtualDevice {
		usual[device.GetVirtualDevice().Key] = true
	}
	var changes []types.BaseVirtualDeviceConfigSpec
	for _, device := range devices {
		if usual[device.GetVirtualDevice().Key] {
			continue
		}
		change := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: device}
		if _, ok := device.(*types.VirtualDisk); ok {
			change.FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
		}
		changes = append(changes, change)
	}
	return changes
}
