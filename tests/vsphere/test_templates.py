"""A template is made a machine to be patched, and a template again; nothing else is done to it meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploys.vsphere import looks
from deploys.vsphere.crew import Crew, Identity
from deploys.vsphere.errors import VSphereError
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, Fleet, settings

TEMPLATE = "deploys/fixes/vm_template.py"
BODY = """
base = group("base", Vm(
    vcenter=VC, folder="DC0/prod/web", template="DC0/photon-5", cluster="DC0_C0", annotation="x", memory_mib=1024
))
hosts = fleet(host("web-1", base, **DATA))
"""


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=1, template="photon-5", boot=0.1)


@pytest.fixture
def crew(simulator, monkeypatch) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.02)
    simulator.clear_faults()
    made = Crew(settings(simulator), {"photon-5": Identity("DC0/photon-5", "", "photon-fleet/photon-5")})
    yield made
    made.session.close()


@pytest.mark.parametrize("mode", ["drop", "lost", "http", "soap"])
def test_there_and_back_whatever_answer_is_lost(simulator, crew, mode: str) -> None:
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/photon-5")
        pool = crew.places.pool("DC0", "DC0_C0")
        for wanted, method in ((False, "MarkAsVirtualMachine"), (True, "MarkAsTemplate")):
            simulator.fault(method, mode, "NoPermission" if mode == "soap" else "")

            def change(wanted: bool = wanted) -> None:
                if wanted:
                    crew.templates.mark(vm._moId, "it")
                else:
                    crew.templates.unmark(vm._moId, pool, "it")

            try:
                change()
            except VSphereError:
                assert vm.config.template is not wanted
                change()
            assert vm.config.template is wanted
            # It is so, and is said to be.
            change()


def test_there_and_back_in_sessions_that_end(simulator, crew) -> None:
    moid = crew.session.read(lambda content: content.searchIndex.FindByInventoryPath("DC0/vm/photon-5"))._moId
    pool = crew.places.pool("DC0", "DC0_C0")
    for wanted in (False, True):
        simulator.kill_sessions()
        if wanted:
            crew.templates.mark(moid, "it")
        else:
            crew.templates.unmark(moid, pool, "it")
        with soap.session(simulator) as content:
            assert soap.find(content, "DC0/vm/photon-5").config.template is wanted


def test_a_template_of_others_is_not_ours(crew) -> None:
    for template in (False, True):
        with pytest.raises(VSphereError, match="bears no mark of ours"):
            crew.seen("photon-5", template=template)


def test_the_fix_there_and_back(simulator, crew, tmp_path: Path) -> None:
    why = ("--data", "why=patches")
    with Fleet(simulator, tmp_path, BODY, names=("web-1",)) as fleet, soap.session(simulator) as content:
        assert fleet.run().status == 0
        vm = soap.find(content, "DC0/vm/prod/web/web-1")
        known = fleet.record()
        done = fleet.run("--data", "to=template", *why, deploy=TEMPLATE)
        assert done.line("web-1") == "web-1: ok; 1 change", done.err
        assert (vm.config.template, vm.runtime.powerState) == (True, "poweredOff")
        refused = fleet.run()
        assert refused.status != 0
        assert "is a template now: deploys/fixes/vm_template.py" in refused.out + refused.err
        done = fleet.run("--data", "to=machine", *why, deploy=TEMPLATE)
        assert done.line("web-1").startswith("web-1: ok"), done.err
        assert (vm.config.template, vm.runtime.powerState) == (False, "poweredOn")
        assert fleet.record() == known
    assert simulator.sessions() == {"soap": 0, "rest": 0}
