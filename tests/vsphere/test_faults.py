"""Every write of a bring-up under every fault, side by side: a fleet of which each machine needs one kind of write.

What goes wrong is that machine's alone, with a sentence; the others end as they are to be, and so does it by the next
run. Nothing is done twice and nobody stays logged in.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim

from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import Fleet

TAGGING = "POST /api/cis/tagging/"
ATTACH = f"{TAGGING}tag-association/ID?action=attach-tag-to-multiple-objects"
DETACH = f"{TAGGING}tag-association/ID?action=detach-tag-from-multiple-objects"

BODY = """
STEP = {step}

def machine(name, power="off", folder="DC0/kept", **given):
    policy = Vm(vcenter=VC, folder=folder, template="DC0/photon-5", cluster="DC0_C0", annotation="x", power=power,
                memory_mib=1024, **given)
    return host(name, Ssh(root_login="prohibit-password"), policy, **DATA)

hosts = fleet(
    machine("still", attributes={{"owner": "ops"}}),
    machine("cloned"),
    machine("filed", folder=f"DC0/made-{{STEP}}/below"),
    machine("renamed"),
    machine("moved"),
    machine("cpus"),
    machine("grown", disks=[Disk(unit=0, gib=17 + STEP), *(Disk(unit=1 + n, gib=1) for n in range(STEP))]),
    machine("replugged", adapters=[Adapter(index=0, network="DC0_DVPG1")]),
    machine("owned", attributes={{"owner": "ops"}}),
    machine("defined", attributes={{f"defined-{{STEP}}": "yes"}}),
    machine("tagged", tags={{"role": f"role-{{STEP}}"}}),
    machine("categorised", tags={{f"kind-{{STEP}}": "a"}}),
    machine("apart", apart="apart"),
    machine("on", power="on"),
    machine("off"),
    machine("cut"),
)
"""
NAMES = ("still", "cloned", "filed", "renamed", "moved", "cpus", "grown", "replugged", "owned", "defined", "tagged",
         "categorised", "apart", "on", "off", "cut")  # fmt: skip

WRITES = {
    "CreateFolder": ["filed"],
    "CloneVM_Task": ["cloned"],
    "Rename_Task": ["renamed"],
    "MoveIntoFolder_Task": ["moved", "filed"],
    "ReconfigVM_Task": ["cpus", "grown", "replugged"],
    "SetField": ["owned", "defined"],
    "AddCustomFieldDef": ["defined"],
    f"{TAGGING}category": ["categorised"],
    f"{TAGGING}tag": ["tagged", "categorised"],
    ATTACH: ["tagged", "categorised"],
    DETACH: ["tagged"],
    "ReconfigureComputeResource_Task": ["apart"],
    "PowerOnVM_Task": ["on"],
    "ShutdownGuest": ["off"],
    "PowerOffVM_Task": ["cut"],
}
"""Each kind of write, and the machines that need it."""


class Adrift(Fleet):
    """The fleet, let drift by hand so that each machine needs its write once more."""

    step = 0

    def drift(self) -> None:
        self.step += 1
        self.body = BODY.format(step=self.step)
        with soap.session(self.simulator) as content:
            kept = {vm.name: vm for vm in soap.find(content, "DC0/vm/kept").childEntity}
            soap.done(kept["cloned"].Destroy_Task())
            soap.done(kept["renamed"].Rename_Task("renamed-by-hand"))
            soap.done(soap.find(content, "DC0/vm").MoveIntoFolder_Task([kept["moved"]]))
            soap.done(kept["cpus"].ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=1)))
            soap.done(kept["replugged"].ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[unplugged(kept["replugged"])])))
            keys = {each.name: each.key for each in content.customFieldsManager.field}
            content.customFieldsManager.SetField(kept["owned"], keys["owner"], "me")
            cluster = soap.find(content, "DC0/host/DC0_C0")
            (rule,) = cluster.configurationEx.rule
            change = vim.cluster.RuleSpec(operation="remove", removeKey=rule.key)
            spec = vim.cluster.ConfigSpecEx(rulesSpec=[change])
            soap.done(cluster.ReconfigureComputeResource_Task(spec, modify=True))
            soap.done(kept["on"].PowerOffVM_Task())
            for name in ("off", "cut"):
                soap.done(kept[name].PowerOnVM_Task())
        self.simulator.guest("DC0/vm/kept/cut", tools=False)

    def state(self) -> dict[str, dict[str, Any]]:
        """What there is of each machine, read in another way than the product's; no name is there twice."""
        found: dict[str, dict[str, Any]] = {}
        with soap.session(self.simulator) as content:
            for vm in _machines(soap.find(content, "DC0/vm")):
                marks = {each.key: each.value for each in vm.config.extraConfig}
                if not marks.get("guestinfo.fleet.id"):
                    continue
                assert marks["guestinfo.fleet.id"] == f"photon-fleet/{vm.name}"
                assert vm.name not in found, f"{vm.name} is there twice"
                found[vm.name] = described(vm)
            cluster = soap.find(content, "DC0/host/DC0_C0")
            rules = {rule.name: sorted(vm.name for vm in rule.vm) for rule in cluster.configurationEx.rule}
        assert rules == {"apart": ["apart"]}
        return found


def _machines(folder: Any) -> Iterator[Any]:
    for entity in folder.childEntity:
        if isinstance(entity, vim.Folder):
            yield from _machines(entity)
        elif not entity.config.template:
            yield entity


def unplugged(vm: Any) -> Any:
    """A change that puts the adapter of a machine into a network that its policy does not say."""
    (card,) = (each for each in vm.config.hardware.device if isinstance(each, vim.vm.device.VirtualEthernetCard))
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)


def described(vm: Any) -> dict[str, Any]:
    devices = vm.config.hardware.device
    return {
        "folder": vm.parent.name, "power": vm.runtime.powerState, "cpus": vm.summary.config.numCpu,
        "disks": {each.unitNumber: each.capacityInKB >> 20 for each in devices
                  if isinstance(each, vim.vm.device.VirtualDisk)},
        "networks": [each.name for each in vm.network],
        "attributes": sorted(each.value for each in vm.summary.customValue),
    }  # fmt: skip


def wanted(name: str, step: int) -> dict[str, Any]:
    usual = {"folder": "kept", "power": "poweredOff", "cpus": 2, "disks": {0: 16}, "attributes": []}
    own = {
        "still": {"attributes": ["ops"]},
        "filed": {"folder": "below"},
        "grown": {"disks": {0: 17 + step, **{1 + number: 1 for number in range(step)}}},
        "replugged": {"networks": ["DC0_DVPG1"]},
        "owned": {"attributes": ["ops"]},
        "defined": {"attributes": ["yes"] * (step + 1)},
        "on": {"power": "poweredOn"},
    }
    return usual | own.get(name, {})


def right(fleet: Adrift) -> None:
    """Each machine is there once, as its policy says."""
    found = fleet.state()
    assert set(found) == set(NAMES)
    wrong = {
        f"{name}: {key}": (found[name][key], value)
        for name in NAMES for key, value in wanted(name, fleet.step).items() if found[name][key] != value
    }  # fmt: skip
    assert wrong == {}
    assert set(fleet.record()) == set(NAMES)


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=0, template="photon-5", port_groups=2, task=0.2, boot=0.1)


@pytest.fixture(scope="module")
def fleet(simulator, tmp_path_factory) -> Any:
    with Adrift(simulator, tmp_path_factory.mktemp("fleet"), BODY.format(step=0), ("on",), "DC0/vm/kept") as made:
        done = made.run()
        assert done.status == 0, done.err[-4000:]
        right(made)
        yield made


UNANSWERED = "no answer to a call"
# What a lost answer or connection leaves open: done anew where that does no harm, looked at where it shows. The others
# are told, and done by the next run.
TOLD = dict.fromkeys(["filed", "renamed", "moved", "cpus", "grown", "replugged", "apart"], UNANSWERED)
NOT_DONE = {**TOLD, "on": UNANSWERED, "cut": UNANSWERED}
REFUSED = {
    **dict.fromkeys([name for name in NAMES if name != "still"], "(NoPermission)"),
    **dict.fromkeys([*WRITES["CloneVM_Task"], *WRITES["ReconfigVM_Task"]], "(NoDiskSpace)"),
    **dict.fromkeys(WRITES[ATTACH], "HTTP 403"),
}


@pytest.mark.parametrize(
    ("mode", "told"),
    [("drop", NOT_DONE), ("http", NOT_DONE), ("lost", TOLD), ("logout", {}), ("refused", REFUSED)],
    ids=["drop", "http", "lost", "logout", "refused"],
)
def test_each_write_goes_wrong(fleet: Adrift, mode: str, told: dict[str, str]) -> None:
    fleet.drift()
    break_each_write(fleet.simulator, mode)
    done = fleet.run()
    fleet.simulator.clear_faults()
    ends = {name: done.line(name).partition("; ")[0] for name in NAMES}
    assert ends == {name: f"{name}: {'FAILED' if name in told else 'ok'}" for name in NAMES}, done.err[-9000:]
    for name, words in told.items():
        assert any(f"[{name}]" in line and words in line for line in done.err.splitlines()), name
    assert fleet.simulator.sessions() == {"soap": 0, "rest": 0}
    assert fleet.simulator.leaks() == {"views": 0, "collectors": 0, "filters": 0}
    done = fleet.run()
    assert done.status == 0, done.err[-4000:]
    right(fleet)


def break_each_write(simulator: vcenter.VCenter, mode: str) -> None:
    """Let each write go wrong, as often as there are machines that need it; or refuse all of them."""
    for write, hosts in WRITES.items():
        if mode in {"drop", "lost", "http"}:
            simulator.fault(write, mode, times=len(hosts))
        elif mode == "logout":
            # This is all machines' trouble, whoever it befalls.
            simulator.fault(write, mode)
        elif " " in write:
            simulator.fault(write, "http", status=403, times=99)
        elif write.endswith("_Task"):
            full = write in {"CloneVM_Task", "ReconfigVM_Task"}
            simulator.fault(write, "task", "NoDiskSpace" if full else "NoPermission", times=99)
        else:
            simulator.fault(write, "soap", "NoPermission", times=99)


def test_killed_at_each_kind_of_write(fleet: Adrift) -> None:
    fleet.drift()
    killed: set[str] = set()
    while begun := killed_at(fleet, set(WRITES) - killed):
        killed |= begun
    assert killed == set(WRITES)
    left = fleet.simulator.sessions()
    done = fleet.run()
    assert done.status == 0, done.err[-4000:]
    right(fleet)
    assert fleet.changes() == 0
    assert fleet.simulator.sessions() == left, (
        "nobody ends the sessions of those that were killed, but they are no more"
    )


FIXES = (
    ("vm_snapshot", "CreateSnapshot_Task", ("name=a",)),
    ("vm_revert", "RevertToSnapshot_Task", ("name=a",)),
    ("vm_snapshot", "RemoveSnapshot_Task", ("name=a", "remove=true")),
    ("vm_template", "MarkAsTemplate", ("to=template",)),
    ("vm_template", "MarkAsVirtualMachine", ("to=machine",)),
    ("vm_remove", "Destroy_Task", ()),
)


def test_fixes_are_killed_and_run_again(fleet: Adrift) -> None:
    for fix, write, data in FIXES:
        arguments = ["--limit", "still", *(word for each in ("why=x", *data) for word in ("--data", each))]
        assert killed_at(fleet, {write}, *arguments, deploy=f"deploys/fixes/{fix}.py")
        done = fleet.run(*arguments, deploy=f"deploys/fixes/{fix}.py")
        assert done.line("still").startswith("still: ok"), done.err[-4000:]
        with soap.session(fleet.simulator) as content:
            vm = content.searchIndex.FindByInventoryPath("DC0/vm/kept/still")
            assert (vm is None) == (write == "Destroy_Task")
            if vm is not None:
                there = vm.snapshot.rootSnapshotList if vm.snapshot is not None else []
                assert len(there) == (write in {"CreateSnapshot_Task", "RevertToSnapshot_Task"})
                assert vm.config.template == (write == "MarkAsTemplate")
    assert set(fleet.record()) == set(NAMES) - {"still"}


def killed_at(fleet: Adrift, writes: set[str], *arguments: str, deploy: str = "deploys/vm.py") -> set[str]:
    """Kill a run when it has begun the first of some writes, and say which it had; none when it has ended by itself."""
    before = fleet.simulator.stats()

    def begun() -> set[str]:
        now = fleet.simulator.stats()
        return {name for name in writes & set(now) if now[name]["calls"] > before.get(name, {"calls": 0})["calls"]}

    run = fleet.start(*arguments, deploy=deploy)
    while not begun() and not run.has_ended():
        time.sleep(0.05)
    if not run.has_ended():
        run.send_signal(signal.SIGKILL)
    run.communicate(60)
    return begun()
