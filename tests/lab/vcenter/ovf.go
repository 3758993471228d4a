package main

import (
	"net/http"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// importVApp makes a VM from an OVF descriptor with the same checks and addresses as any other. The content library
// comes this way too: it is a client of the simulator itself.
func (l *lab) importVApp(a *answer, q *request) bool {
	body := q.method.Body.(*types.ImportVApp)
	spec, isVM := body.Spec.(*types.VirtualMachineImportSpec)
	folder := body.Folder
	if folder == nil {
		folder = folderOf(body.This)
	}
	if !isVM || folder == nil {
		return false
	}
	if !l.authenticated(a, q) {
		return true
	}
	l.inventory.Lock()
	defer l.inventory.Unlock()
	create := &types.CreateVM_Task{This: *folder, Config: spec.ConfigSpec, Pool: body.This, Host: body.Host}
	if fault := l.createVM(create); fault != nil {
		writeFault(a, fault, "")
		return true
	}
	spec.ConfigSpec, body.Host = create.Config, create.Host
	q.body = encoded(q.name, body)
	l.forward(a, q) // the lease belongs to the client's session
	if a.status != http.StatusOK {
		return true
	}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		if vm.Config != nil && vm.Config.InstanceUuid == spec.ConfigSpec.InstanceUuid {
			l.created(vm.Self, spec.ConfigSpec.ExtraConfig)
		}
	}
	return true
}

// folderOf is the VM folder of the datacenter that a pool is in.
func folderOf(pool types.ManagedObjectReference) *types.ManagedObjectReference {
	entity, ok := simulator.Map.Get(pool).(mo.Entity)
	for ok && entity.Entity().Parent != nil {
		if dc, isDC := entity.(*simulator.Datacenter); isDC {
			return &dc.VmFolder
		}
		entity, ok = simulator.Map.Get(*entity.Entity().Parent).(mo.Entity)
	}
	return nil
}
