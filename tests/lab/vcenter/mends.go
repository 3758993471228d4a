package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// mended are the tasks that the lab runs in its own way.
var mended = map[string]func(*lab, *request) (types.AnyType, types.BaseMethodFault){
	"CloneVM_Task":                 (*lab).clone,
	"CreateVM_Task":                (*lab).create,
	"RegisterVM_Task":              (*lab).register,
	"ReconfigVM_Task":              (*lab).reconfigTask,
	"Destroy_Task":                 (*lab).destroy,
	"Rename_Task":                  (*lab).rename,
	"MoveIntoFolder_Task":          (*lab).move,
	"CreateSnapshot_Task":          (*lab).createSnapshot,
	"RevertToSnapshot_Task":        (*lab).revert,
	"RevertToCurrentSnapshot_Task": (*lab).revertToCurrent,
}

// mendedCalls are calls without a task; true when they are answered.
var mendedCalls = map[string]func(*lab, *answer, *request) bool{
	"CreateFolder":   (*lab).createFolder,
	"ImportVApp":     (*lab).importVApp,
	"SetField":       (*lab).setField,
	"setCustomValue": (*lab).setField,
	"ShutdownGuest":  (*lab).shutdownGuest,
	"RebootGuest":    (*lab).rebootGuest,
	"AnswerVM":       (*lab).answerQuestion,

	"CreateFilter":             (*lab).createFilter,
	"DestroyPropertyFilter":    (*lab).destroyFilter,
	"DestroyPropertyCollector": (*lab).destroyCollector,
	"CancelWaitForUpdates":     (*lab).cancelWait,
	"WaitForUpdatesEx":         (*lab).waitForUpdates,
	"WaitForUpdates":           (*lab).waitForUpdates,
	"CheckForUpdates":          (*lab).waitForUpdates,
}

func virtualMachine(ref types.ManagedObjectReference) (*simulator.VirtualMachine, types.BaseMethodFault) {
	if vm, ok := simulator.Map.Get(ref).(*simulator.VirtualMachine); ok {
		return vm, nil
	}
	return nil, &types.ManagedObjectNotFound{Obj: ref}
}

// deepCopy leaves nothing shared: the simulator edits devices and settings in place.
func deepCopy(from, to interface{}) {
	var text bytes.Buffer
	err := xml.NewEncoder(&text).Encode(from)
	if err == nil {
		decoder := xml.NewDecoder(&text)
		decoder.TypeFunc = types.TypeFunc()
		err = decoder.Decode(to)
	}
	if err != nil {
		panic(err)
	}
}

// mac is the next address of the range that a vCenter assigns from. The simulator's are not unique.
func (l *lab) mac() string {
	l.numbers.Lock()
	defer l.numbers.Unlock()
	l.lastMAC++
	return fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|l.lastMAC>>16&0x3f, l.lastMAC>>8&0xff, l.lastMAC&0xff)
}

// version is a changeVersion that no other configuration has.
func (l *lab) version() string {
	l.numbers.Lock()
	defer l.numbers.Unlock()
	l.lastVersion++
	return fmt.Sprintf("%s.%06dZ", time.Now().UTC().Format("2006-01-02T15:04:05"), l.lastVersion)
}

// changed gives a VM's configuration its new version, and tells waiting clients what the simulator changed silently.
func (l *lab) changed(vm *simulator.VirtualMachine) {
	simulator.Map.WithLock(vm, func() {
		config := vm.Config
		vm.Summary.Config.Annotation = config.Annotation
		simulator.Map.Update(vm, []types.PropertyChange{
			{Name: "config.changeVersion", Val: l.version()},
			{Name: "config.extraConfig", Val: config.ExtraConfig},
			{Name: "config.annotation", Val: config.Annotation},
			{Name: "config.hardware.numCPU", Val: config.Hardware.NumCPU},
			{Name: "config.hardware.memoryMB", Val: config.Hardware.MemoryMB},
		})
	})
}

// mendInventory mends the VMs that the simulator starts with: they share one NIC.
func (l *lab) mendInventory() {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		for i, device := range vm.Config.Hardware.Device {
			if card, ok := device.(types.BaseVirtualEthernetCard); ok {
				own := copyOf(card).(types.BaseVirtualEthernetCard)
				own.GetVirtualEthernetCard().MacAddress = l.mac()
				vm.Config.Hardware.Device[i] = own.(types.BaseVirtualDevice)
			} else if disk, ok := device.(*types.VirtualDisk); ok {
				disk.CapacityInBytes = disk.CapacityInKB * 1024
			}
		}
		vm.Config.ChangeVersion = l.version()
	}
}

// escape writes a name as a vCenter keeps it: "/", "\" and "%" are escaped, unless they are already.
func escape(name string) string {
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		switch rest := strings.ToLower(name[i:]); {
		case name[i] == '/':
			out.WriteString("%2f")
		case name[i] == '\\':
			out.WriteString("%5c")
		case name[i] == '%' && !strings.HasPrefix(rest, "%2f") && !strings.HasPrefix(rest, "%5c") &&
			!strings.HasPrefix(rest, "%25"):
			out.WriteString("%25")
		default:
			out.WriteByte(name[i])
		}
	}
	return out.String()
}
