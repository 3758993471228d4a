package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// completeDevices checks changes of devices, and fills in what clients may leave out and the simulator needs.
// vm is nil when it is still to be made.
func (l *lab) completeDevices(vm *simulator.VirtualMachine, changes []types.BaseVirtualDeviceConfigSpec) types.BaseMethodFault {
	for i := range changes {
		change := changes[i].GetVirtualDeviceConfigSpec()
		invalid := types.InvalidDeviceSpec{DeviceIndex: int32(i)}
		if change.Device == nil {
			return &invalid
		}
		if change.Operation == types.VirtualDeviceConfigSpecOperationAdd {
			l.completeNew(change.Device)
			if card, ok := change.Device.(types.BaseVirtualEthernetCard); ok {
				cardKey(card, vm, changes)
			}
			continue
		}
		old := deviceOf(vm, change.Device.GetVirtualDevice().Key)
		if old == nil {
			return &invalid
		}
		if change.Operation == types.VirtualDeviceConfigSpecOperationRemove {
			change.Device = old // a client may send the key alone
			continue
		}
		completeEdit(change.Device, old)
		if disk, ok := change.Device.(*types.VirtualDisk); ok {
			before, ok := old.(*types.VirtualDisk)
			if !ok || disk.CapacityInKB < before.CapacityInKB {
				return &types.InvalidDeviceOperation{
					InvalidDeviceSpec: invalid, BadOp: types.VirtualDeviceConfigSpecOperationEdit,
				}
			}
		}
	}
	return nil
}

const firstCard = 4000

// cardKey gives a new card the next key of its kind, as a vCenter does: the order of the keys is that of the cards.
func cardKey(card types.BaseVirtualEthernetCard, vm *simulator.VirtualMachine, changes []types.BaseVirtualDeviceConfigSpec) {
	own := card.(types.BaseVirtualDevice).GetVirtualDevice()
	used := map[int32]bool{}
	for _, other := range changes {
		if device := other.GetVirtualDeviceConfigSpec().Device; device != nil {
			used[device.GetVirtualDevice().Key] = true
		}
	}
	for own.Key <= 0 {
		next := int32(firstCard)
		for used[next] || deviceOf(vm, next) != nil {
			next++
		}
		own.Key = next
	}
}

func deviceOf(vm *simulator.VirtualMachine, key int32) types.BaseVirtualDevice {
	if vm != nil {
		for _, device := range vm.Config.Hardware.Device {
			if device.GetVirtualDevice().Key == key {
				return device
			}
		}
	}
	return nil
}

func (l *lab) completeNew(device types.BaseVirtualDevice) {
	switch device := device.(type) {
	case *types.VirtualDisk:
		completeCapacity(device)
		if device.UnitNumber == nil {
			device.UnitNumber = types.NewInt32(0)
		}
	case types.BaseVirtualEthernetCard:
		card := device.GetVirtualEthernetCard()
		if card.MacAddress == "" {
			card.MacAddress = l.mac()
			card.AddressType = string(types.VirtualEthernetCardMacTypeAssigned)
		}
	}
}

// completeCapacity makes the two fields agree; the newer one wins.
func completeCapacity(disk *types.VirtualDisk) {
	if disk.CapacityInBytes > 0 {
		disk.CapacityInKB = disk.CapacityInBytes / 1024
	}
	disk.CapacityInBytes = disk.CapacityInKB * 1024
}

func completeEdit(device, old types.BaseVirtualDevice) {
	d, o := device.GetVirtualDevice(), old.GetVirtualDevice()
	if d.DeviceInfo == nil {
		d.DeviceInfo = &types.Description{} // the simulator panics without one
	}
	if o.DeviceInfo != nil {
		d.DeviceInfo.GetDescription().Label = o.DeviceInfo.GetDescription().Label
	}
	if d.Backing == nil {
		d.Backing = o.Backing
	}
	if d.Connectable == nil {
		d.Connectable = o.Connectable
	}
	if d.UnitNumber == nil {
		d.UnitNumber = o.UnitNumber
	}
	if d.ControllerKey == 0 {
		d.ControllerKey = o.ControllerKey
	}
	switch device := device.(type) {
	case *types.VirtualDisk:
		before, ok := old.(*types.VirtualDisk)
		// A client that sets one of the fields sends the other as it read it: the one that changed counts.
		if ok && device.CapacityInKB != before.CapacityInKB && device.CapacityInBytes == before.CapacityInBytes {
			device.CapacityInBytes = 0
		}
		completeCapacity(device)
		backing, ok := device.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if was, same := o.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok && same && backing.FileName == "" {
			backing.FileName = was.FileName
		}
	case types.BaseVirtualEthernetCard:
		card := device.GetVirtualEthernetCard()
		if before, ok := old.(types.BaseVirtualEthernetCard); ok && card.MacAddress == "" {
			card.MacAddress = before.GetVirtualEthernetCard().MacAddress
			card.AddressType = before.GetVirtualEthernetCard().AddressType
		}
	}
}
