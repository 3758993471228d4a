package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// work is what a task does.
type work func() (types.AnyType, types.BaseMethodFault)

// startTask answers with a task of the lab's own. The simulator runs its tasks inside the call, so that nothing
// that waits is ever tested; and it names a snapshot as a task's entity, which pyvmomi cannot read.
func (l *lab) startTask(a *answer, q *request) {
	task := simulator.CreateTask(taskEntity(q.method.This), strings.TrimSuffix(q.name, "_Task")+"Task", nil)
	entity, isEntity := simulator.Map.Get(*task.Info.Entity).(mo.Entity)
	if isEntity {
		task.Info.EntityName = entity.Entity().Name
		remember(entity, task.Self)
	} else {
		task.Info.Entity = nil
	}
	do := l.work(q)
	run := func() {
		update(task, types.PropertyChange{Name: "info.startTime", Val: time.Now()},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateRunning})
		time.Sleep(l.task)
		finish(task, do)
	}
	if l.task > 0 || powersOn(q) && asked(q.method.This) {
		go run()
	} else {
		run()
	}
	writeTask(a, q.name, task.Self)
}

func powersOn(q *request) bool { return q.name == "PowerOnVM_Task" }

const recentTasks = 20

// remember shows a task at its entity: who lost the answer can find it there.
func remember(entity mo.Entity, task types.ManagedObjectReference) {
	simulator.Map.WithLock(entity, func() {
		recent := append([]types.ManagedObjectReference{}, entity.Entity().RecentTask...)
		recent = append(recent, task)
		if len(recent) > recentTasks {
			recent = recent[1:]
		}
		simulator.Map.Update(entity, []types.PropertyChange{{Name: "recentTask", Val: recent}})
	})
}

// forget takes a task of the simulator's own out of sight.
func forget(task types.ManagedObjectReference) {
	simulator.Map.Remove(task)
	manager, ok := simulator.Map.Get(types.ManagedObjectReference{Type: "TaskManager", Value: "TaskManager"}).(*simulator.TaskManager)
	if !ok {
		return
	}
	manager.Lock()
	defer manager.Unlock()
	kept := []types.ManagedObjectReference{}
	for _, ref := range manager.RecentTask {
		if ref != task {
			kept = append(kept, ref)
		}
	}
	manager.RecentTask = kept
}

func taskEntity(this types.ManagedObjectReference) types.ManagedObjectReference {
	if snapshot, ok := simulator.Map.Get(this).(*simulator.VirtualMachineSnapshot); ok {
		return snapshot.Vm
	}
	return this
}

func update(object mo.Reference, changes ...types.PropertyChange) {
	simulator.Map.WithLock(object, func() { simulator.Map.Update(object, changes) })
}

func finish(task *simulator.Task, do work) {
	result, fault := guarded(do)
	state := types.TaskInfoStateSuccess
	var problem interface{}
	if fault != nil {
		state = types.TaskInfoStateError
		kind := strings.TrimPrefix(fmt.Sprintf("%T", fault), "*types.")
		problem = types.LocalizedMethodFault{Fault: fault, LocalizedMessage: kind}
	}
	// One update: who waits for the state must find the result beside it.
	update(task, types.PropertyChange{Name: "info.completeTime", Val: time.Now()},
		types.PropertyChange{Name: "info.result", Val: result},
		types.PropertyChange{Name: "info.error", Val: problem},
		types.PropertyChange{Name: "info.state", Val: state})
}

// guarded turns a panic of the simulator into a fault: a task runs where nobody else would catch it.
func guarded(do work) (result types.AnyType, fault types.BaseMethodFault) {
	defer func() {
		if reason := recover(); reason != nil {
			fault = &types.SystemError{Reason: fmt.Sprintf("the simulator panicked: %v", reason)}
		}
	}()
	return do()
}

// work finds what a call's task does: what a test wants to fail, a mend, or what the simulator does.
func (l *lab) work(q *request) work {
	if q.fault != nil && q.fault.Mode == modeTask {
		return func() (types.AnyType, types.BaseMethodFault) { return nil, q.fault.make(q.method.This) }
	}
	return func() (types.AnyType, types.BaseMethodFault) {
		if !l.mend {
			return runTask(q.method.This, q.name, q.method.Body)
		}
		for powersOn(q) && asked(q.method.This) {
			time.Sleep(20 * time.Millisecond)
		}
		l.inventory.Lock()
		defer l.inventory.Unlock()
		if mend := mended[q.name]; mend != nil {
			return mend(l, q)
		}
		return runTask(q.method.This, q.name, q.method.Body)
	}
}

// runTask runs a task of the simulator and takes its outcome; the task itself is not kept.
func runTask(this types.ManagedObjectReference, name string, body types.AnyType) (types.AnyType, types.BaseMethodFault) {
	value, fault := invoke(this, name, body)
	if fault != nil {
		return nil, fault
	}
	ref, ok := value.(types.ManagedObjectReference)
	inner, isTask := simulator.Map.Get(ref).(*simulator.Task)
	if !ok || !isTask {
		return value, nil
	}
	forget(ref)
	if inner.Info.Error != nil {
		return nil, inner.Info.Error.Fault
	}
	return inner.Info.Result, nil
}
