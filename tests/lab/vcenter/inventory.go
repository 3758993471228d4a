package main

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// copyOf copies what a pointer points to, one level deep.
func copyOf(pointer interface{}) interface{} {
	from := reflect.ValueOf(pointer).Elem()
	to := reflect.New(from.Type())
	to.Elem().Set(from)
	return to.Interface()
}

// taken is the fault of a name that another child of the folder bears; a vCenter names that child in it.
func taken(folder types.ManagedObjectReference, name string, but types.ManagedObjectReference) types.BaseMethodFault {
	object, ok := simulator.Map.Get(folder).(*simulator.Folder)
	if !ok {
		return nil
	}
	var children []types.ManagedObjectReference
	simulator.Map.WithLock(object, func() { children = append(children, object.ChildEntity...) })
	for _, child := range children {
		entity, ok := simulator.Map.Get(child).(mo.Entity)
		if ok && child != but && entity.Entity().Name == name {
			return &types.DuplicateName{Name: name, Object: child}
		}
	}
	return nil
}

func (l *lab) rename(q *request) (types.AnyType, types.BaseMethodFault) {
	body := q.method.Body.(*types.Rename_Task)
	body.NewName = escape(body.NewName)
	entity, ok := simulator.Map.Get(body.This).(mo.Entity)
	if !ok {
		return nil, &types.ManagedObjectNotFound{Obj: body.This}
	}
	if parent := entity.Entity().Parent; parent != nil {
		if fault := taken(*parent, body.NewName, body.This); fault != nil {
			return nil, fault
		}
	}
	if entity.Entity().Name == body.NewName {
		return nil, nil // the simulator takes the entity for its own rival
	}
	result, fault := runTask(body.This, q.name, body)
	if vm, ok := entity.(*simulator.VirtualMachine); ok && fault == nil {
		update(vm, types.PropertyChange{Name: "config.name", Val: body.NewName},
			types.PropertyChange{Name: "summary.config.name", Val: body.NewName})
		l.changed(vm)
	}
	return result, fault
}

func (l *lab) move(q *request) (types.AnyType, types.BaseMethodFault) {
	body := q.method.Body.(*types.MoveIntoFolder_Task)
	for _, ref := range body.List {
		entity, ok := simulator.Map.Get(ref).(mo.Entity)
		if !ok {
			return nil, &types.ManagedObjectNotFound{Obj: ref}
		}
		if fault := taken(body.This, entity.Entity().Name, ref); fault != nil {
			return nil, fault
		}
	}
	return runTask(body.This, q.name, body)
}

func (l *lab) createFolder(a *answer, q *request) bool {
	body := q.method.Body.(*types.CreateFolder)
	if !l.authenticated(a, q) {
		return true
	}
	l.inventory.Lock()
	defer l.inventory.Unlock()
	body.Name = escape(body.Name)
	fault := taken(body.This, body.Name, types.ManagedObjectReference{})
	var created interface{}
	if fault == nil {
		created, fault = invoke(body.This, q.name, body)
	}
	if fault != nil {
		writeFault(a, fault, "")
		return true
	}
	writeResponse(a, q.name, `<returnval type="Folder">`+created.(types.ManagedObjectReference).Value+`</returnval>`)
	return true
}

// setField lets the simulator set a custom value; it adds one more each time, so all but the last are taken out.
func (l *lab) setField(a *answer, q *request) bool {
	entity := q.method.This
	if body, ok := q.method.Body.(*types.SetField); ok {
		entity = body.Entity
	}
	l.forward(a, q)
	object, ok := simulator.Map.Get(entity).(mo.Entity)
	if !ok {
		return true
	}
	simulator.Map.WithLock(object, func() {
		values := lastValues(object.Entity().CustomValue)
		changes := []types.PropertyChange{{Name: "customValue", Val: values}, {Name: "value", Val: values}}
		if entity.Type == "VirtualMachine" {
			changes = append(changes, types.PropertyChange{Name: "summary.customValue", Val: values})
		}
		simulator.Map.Update(object, changes)
	})
	return true
}

func lastValues(values []types.BaseCustomFieldValue) []types.BaseCustomFieldValue {
	var last []types.BaseCustomFieldValue
	for i, value := range values {
		key, again := value.GetCustomFieldValue().Key, false
		for _, later := range values[i+1:] {
			again = again || later.GetCustomFieldValue().Key == key
		}
		if !again {
			last = append(last, value)
		}
	}
	return last
}

func (l *lab) destroy(q *request) (types.AnyType, types.BaseMethodFault) {
	gone := func() {}
	if vm, ok := simulator.Map.Get(q.method.This).(*simulator.VirtualMachine); ok {
		gone = l.guests.gone(vm)
	}
	result, fault := runTask(q.method.This, q.name, q.method.Body)
	if fault == nil {
		l.tags.forget(q.method.This)
		gone()
	}
	return result, fault
}
