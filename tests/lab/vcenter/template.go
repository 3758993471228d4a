package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// addTemplates puts a template like Photon's OVA into the VM folder of each datacenter.
func (l *lab) addTemplates() {
	for _, entity := range simulator.Map.All("Datacenter") {
		dc := entity.(*simulator.Datacenter)
		pool, found := poolIn(dc)
		if !found || len(dc.Datastore) == 0 {
			continue
		}
		datastore := simulator.Map.Get(dc.Datastore[0]).(*simulator.Datastore).Name
		create := &types.CreateVM_Task{This: dc.VmFolder, Pool: pool, Config: photon(l.template, datastore, cardBacking(dc))}
		if fault := l.createVM(create); fault != nil {
			panic(fault)
		}
		result, fault := runTask(dc.VmFolder, "CreateVM_Task", create)
		if fault != nil {
			panic(fault)
		}
		vm := l.created(result, nil)
		if _, fault := invoke(vm.Self, "MarkAsTemplate", &types.MarkAsTemplate{This: vm.Self}); fault != nil {
			panic(fault)
		}
	}
}

func poolIn(dc *simulator.Datacenter) (types.ManagedObjectReference, bool) {
	folder, ok := simulator.Map.Get(dc.HostFolder).(*simulator.Folder)
	if ok {
		for _, child := range folder.ChildEntity {
			switch resource := simulator.Map.Get(child).(type) {
			case *simulator.ClusterComputeResource:
				return *resource.ResourcePool, true
			case *mo.ComputeResource:
				return *resource.ResourcePool, true
			}
		}
	}
	return types.ManagedObjectReference{}, false
}

func cardBacking(dc *simulator.Datacenter) types.BaseVirtualDeviceBackingInfo {
	for _, ref := range dc.Network {
		group, ok := simulator.Map.Get(ref).(*simulator.DistributedVirtualPortgroup)
		if !ok || group.Config.DistributedVirtualSwitch == nil {
			continue
		}
		vds, ok := simulator.Map.Get(*group.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
		if ok && len(group.Tag) == 0 { // the group of the uplinks has one
			return &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
				Port: types.DistributedVirtualSwitchPortConnection{
					SwitchUuid: vds.Uuid, PortgroupKey: group.Key,
				},
			}
		}
	}
	return &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"},
	}
}

func photon(name, datastore string, card types.BaseVirtualDeviceBackingInfo) types.VirtualMachineConfigSpec {
	scsi := &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
		SharedBus:         types.VirtualSCSISharingNoSharing,
		VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: 1000}, BusNumber: 0},
	}}
	disk := &types.VirtualDisk{
		CapacityInKB: 16 << 20,
		VirtualDevice: types.VirtualDevice{
			Key: 2000, ControllerKey: 1000, UnitNumber: types.NewInt32(0),
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true),
			},
		},
	}
	nic := &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
		VirtualDevice: types.VirtualDevice{
			Key: 4000, ControllerKey: 100, UnitNumber: types.NewInt32(7), Backing: card,
			Connectable: &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true, Connected: true},
		},
	}}}
	return types.VirtualMachineConfigSpec{
		Name: name, GuestId: string(types.VirtualMachineGuestOsIdentifierVmwarePhoton64Guest),
		NumCPUs: 1, NumCoresPerSocket: 1, MemoryMB: 2048,
		Firmware: string(types.GuestOsDescriptorFirmwareTypeEfi), Annotation: "Photon OS",
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[" + datastore + "]"},
		DeviceChange: addDevices([]types.BaseVirtualDevice{scsi, disk, nic}),
	}
}
