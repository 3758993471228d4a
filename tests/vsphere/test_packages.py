"""OVF packages become templates: read and compared with their manifest, imported once, whatever is cut off."""

from __future__ import annotations

import hashlib
import io
import ssl
import tarfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from deploys.errors import InputError
from deploys.policies.vm import Adapter, Vm
from deploys.vsphere import lease, looks
from deploys.vsphere.crew import Crew
from deploys.vsphere.errors import VSphereError
from deploys.vsphere.lease import Lease, is_certificate
from deploys.vsphere.package import PackageError, package
from deploys.vsphere.templates import Origin
from tests.lab import vcenter
from tests.vsphere import soap
from tests.vsphere.bringing_up import PASSWORD, Fleet, settings
from tests.vsphere.test_simulator_ovf import OVF

DISK = b"KDMV" + bytes(3 << 20)
MARK = "photon-fleet/@template/x"
BODY = """
web = group("web", Vm(
    vcenter=VC, folder="DC0/prod/web", ovf=PLACE / "photon.ova", cluster="DC0_C0", datastore="LocalDS_0",
    adapters=[Adapter(index=0, network="DC0_DVPG0")], annotation="x", power="off", cpus=2, memory_mib=1024,
))
hosts = fleet(*(host(f"web-{number}", web, **DATA) for number in (1, 2, 3)))
"""


def manifest(files: Mapping[str, bytes], algorithm: str = "sha256") -> bytes:
    rows = (f"{algorithm.upper()}({name})= {hashlib.new(algorithm, data).hexdigest()}" for name, data in files.items())
    return "".join(f"{row}\n" for row in rows).encode()


def ova(path: Path, disk: bytes = DISK, *, said: bytes | None = None, **more: bytes) -> Path:
    """An OVA file; `said` is its manifest where that is another one than fits."""
    files = {"photon.ovf": OVF.encode(), "disk1.vmdk": disk}
    with tarfile.open(path, "w") as tar:
        wanted = manifest(files) if said is None else said
        listed = {"photon.ovf": files["photon.ovf"], "photon.mf": wanted, "disk1.vmdk": files["disk1.vmdk"], **more}
        for name, data in listed.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_package_in_one_file_or_in_several(tmp_path: Path, algorithm: str) -> None:
    files = {"photon.ovf": OVF.encode(), "disk1.vmdk": DISK}
    for name, data in {**files, "photon.mf": manifest(files, algorithm)}.items():
        (tmp_path / name).write_bytes(data)
    for found in (package(tmp_path / "photon.ovf"), package(ova(tmp_path / "p.ova", said=manifest(files, algorithm)))):
        found.check()
        assert found.networks() == ["None"]
        assert found.digest == hashlib.sha256(manifest(files, algorithm)).hexdigest()
        with found.open("disk1.vmdk") as (file, size):
            assert (file.read(), size) == (DISK, len(DISK))
        with pytest.raises(PackageError, match="does not name"), found.open("../secret"):
            pass


def test_another_content_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, other = package(ova(tmp_path / "p.ova")), package(ova(tmp_path / "b" / "p.ova", b"other"))
    assert one.label.startswith("p-")
    assert one.label != other.label


GOOD = manifest({"photon.ovf": OVF.encode(), "disk1.vmdk": DISK})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (b"", "its descriptor is not the one"),
        (b"x" + GOOD, "this line of its manifest is none"),
        (manifest({"photon.ovf": OVF.encode()}, "sha1"), "SHA1 digests: make it anew"),
        (manifest({"photon.ovf": b"another"}), "its descriptor is not the one"),
        (GOOD + manifest({"../x": b""}), "not beside it"),
    ],
)
def test_manifests_that_are_not_trusted(tmp_path: Path, said: bytes, complaint: str) -> None:
    with pytest.raises(PackageError, match=complaint):
        package(ova(tmp_path / "p.ova", said=said))


def test_what_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "cut.ova").write_bytes(ova(tmp_path / "p.ova").read_bytes()[:700])
    (tmp_path / "photon.ovf").write_text(OVF)
    for name, complaint in (
        ("none.ova", "cannot be read"), ("cut.ova", "cannot be read"), ("photon.ovf", r"no manifest \(\.mf\)"),
        ("photon.iso", "neither"),
    ):  # fmt: skip
        with pytest.raises(PackageError, match=complaint):
            package(tmp_path / name)
    with pytest.raises(PackageError, match=r"disk1\.vmdk is not what its manifest says"):
        package(ova(tmp_path / "changed.ova", DISK[:-1] + b"x", said=GOOD)).check()
    with pytest.raises(PackageError, match=r"disk2\.vmdk is missing"):
        package(ova(tmp_path / "less.ova", said=GOOD + manifest({"disk2.vmdk": b""}))).check()


def test_a_policy_says_what_its_machine_is_made_from(simulator, tmp_path: Path) -> None:
    def problems(**given: Any) -> str:
        return "\n".join(Vm(vcenter=settings(simulator), folder="DC0/x", cluster="C", **given).problems())

    good = {"ovf": ova(tmp_path / "p.ova"), "datastore": "ds", "adapters": [Adapter(index=0, network="n")]}
    assert problems(**good) == problems(template="DC0/t") == ""
    assert problems(**{**good, "ovf": None}, library="images/photon") == ""
    assert "template, ovf and library says what it is made from; none is given" in problems()
    assert "template and ovf are given" in problems(template="DC0/t", **good)
    assert "datastore: must be given with ovf\nadapters: must be given with ovf" in problems(ovf=good["ovf"])
    assert "templates: DC1/t is in another datacenter" in problems(**good, templates="DC1/t")
    assert "cannot be read" in problems(**{**good, "ovf": tmp_path / "none.ova"})


@pytest.fixture(scope="module")
def simulator(simulators: Any) -> vcenter.VCenter:
    return simulators(vms=1)


@pytest.fixture
def crew(simulator, monkeypatch) -> Any:
    monkeypatch.setenv(PASSWORD, simulator.password)
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.02)
    simulator.clear_faults()
    simulator.reset_stats()
    made = Crew(settings(simulator), {})
    yield made
    made.session.close()


def origin(path: Path, mark: str = MARK) -> Origin:
    return Origin(package(path), mark, "DC0_C0", (), "LocalDS_0", "DC0_DVPG0")


def inside(content: Any, folder: str) -> dict[str, tuple[bool, str]]:
    """What is in a folder: name -> whether it is a template, and its mark."""
    found = content.searchIndex.FindByInventoryPath(f"DC0/vm/{folder}")
    return {
        vm.name: (vm.config.template, {each.key: each.value for each in vm.config.extraConfig}["guestinfo.fleet.id"])
        for vm in (found.childEntity if found is not None else ())
    }


@pytest.mark.parametrize("name", ["images", "/photon", "images/", "a/b/c", "a\n/b"])
def test_what_is_no_item_of_a_library(simulator, name: str) -> None:
    with pytest.raises(InputError, match="is no item of a content library"):
        Vm(vcenter=settings(simulator), folder="DC0/x", cluster="C", library=name)


def test_it_is_imported_once(simulator, crew, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lease, "PROGRESS_SECONDS", 0)
    made = origin(ova(tmp_path / "p.ova"))
    for each in (crew, crew, Crew(settings(simulator), {})):
        each.templates.provide("DC0/once/photon", made)
    assert simulator.calls("ImportVApp") == simulator.calls("HttpNfcLeaseComplete") == 1
    assert simulator.calls("HttpNfcLeaseAbort") == 0
    # The disk goes in four parts.
    assert simulator.calls("HttpNfcLeaseProgress") == 4
    with soap.session(simulator) as content:
        assert inside(content, "once") == {"photon": (True, MARK)}
        vm = soap.find(content, "DC0/vm/once/photon")
        assert [each.name for each in vm.network] == ["DC0_DVPG0"]
    with pytest.raises(VSphereError, match="no template that we have made of that"):
        Crew(settings(simulator), {}).templates.provide(
            "DC0/once/photon", origin(tmp_path / "p.ova", "other/@template/x")
        )


def test_nothing_is_sent_of_a_package_that_is_not_whole(simulator, crew, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is not what its manifest says"):
        crew.templates.provide("DC0/bad/photon", origin(ova(tmp_path / "p.ova", b"cut off", said=GOOD)))
    assert simulator.calls("CreateImportSpec", "ImportVApp") == 0


@pytest.mark.parametrize("mode", ["drop", "lost", "http", "logout", "soap"])
@pytest.mark.parametrize(
    "method", ["CreateImportSpec", "ImportVApp", "HttpNfcLeaseComplete", "ReconfigVM_Task", "MarkAsTemplate"]
)
def test_whatever_is_cut_off_there_is_one_template(simulator, crew, tmp_path: Path, method: str, mode: str) -> None:
    folder = f"{method}-{mode}"
    simulator.fault(method, mode, "NoPermission" if mode == "soap" else "")
    made = origin(ova(tmp_path / "p.ova"))
    try:
        crew.templates.provide(f"DC0/{folder}/{folder}", made)
    except VSphereError:
        Crew(settings(simulator), {}).templates.provide(f"DC0/{folder}/{folder}", made)
    with soap.session(simulator) as content:
        assert inside(content, folder) == {folder: (True, MARK)}
    assert simulator.leaks()["views"] == 0


def test_an_upload_that_is_refused_leaves_nothing(simulator, crew, tmp_path: Path) -> None:
    made = origin(ova(tmp_path / "p.ova"))
    crew.templates.provide("DC0/uploads/first", made)
    (name,) = (each for each in simulator.stats() if "/nfc/" in each)
    simulator.fault(name, "http")
    with pytest.raises(VSphereError, match=r"the import of .*: disk1\.vmdk is refused: HTTP 503"):
        crew.templates.provide("DC0/uploads/second", made)
    assert simulator.calls("HttpNfcLeaseAbort") == 1
    simulator.fault(name, "drop")
    with pytest.raises(VSphereError, match=r"disk1\.vmdk could not be sent"):
        crew.templates.provide("DC0/uploads/second", made)
    crew.templates.provide("DC0/uploads/second", made)
    with soap.session(simulator) as content:
        assert inside(content, "uploads") == {"first": (True, MARK), "second": (True, MARK)}


def test_another_runs_import_is_waited_for(simulator, crew, tmp_path: Path, monkeypatch) -> None:
    made = origin(ova(tmp_path / "p.ova"))
    crew.templates.provide("DC0/others/waited", made)
    calls = simulator.calls("ImportVApp")
    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.5)
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/others/waited")
        vm.MarkAsVirtualMachine(soap.find(content, "DC0/host/DC0_C0/Resources"))
        marked(vm, MARK + "/unfinished")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(Crew(settings(simulator), {}).templates.provide, "DC0/others/waited", made)
            time.sleep(1)
            assert not waiting.done()
            marked(vm, MARK)
            waiting.result(20)
        assert vm.config.template
    assert simulator.calls("ImportVApp") == calls


def marked(vm: Any, mark: str) -> None:
    option = vim.option.OptionValue(key="guestinfo.fleet.id", value=mark)
    soap.done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[option])))


def test_a_template_that_somebody_patches_is_left_alone(simulator, crew, tmp_path: Path) -> None:
    made = origin(ova(tmp_path / "p.ova"))
    crew.templates.provide("DC0/patched/base", made)
    with soap.session(simulator) as content:
        vm = soap.find(content, "DC0/vm/patched/base")
        vm.MarkAsVirtualMachine(soap.find(content, "DC0/host/DC0_C0/Resources"))
        soap.done(vm.PowerOnVM_Task())
        with pytest.raises(VSphereError, match="somebody works on it"):
            Crew(settings(simulator), {}).templates.provide("DC0/patched/base", made)
        assert vm.runtime.powerState == "poweredOn"


def test_the_host_of_an_upload_is_the_one_that_the_vcenter_says(simulator, crew) -> None:
    held = Lease(crew.session, None, "the import")
    certificate = ssl.PEM_cert_to_DER_cert(simulator.certificate)
    right = hashlib.sha1(certificate, usedforsecurity=False).hexdigest().upper()
    assert crew.session.content is not None
    for thumbprint in (":".join(right[at : at + 2] for at in range(0, 40, 2)), simulator.pin):
        assert is_certificate(certificate, thumbprint)
        held._connection("localhost", simulator.port, thumbprint).close()
    for wrong in ("", "00" * 20, "00" * 32):
        with pytest.raises(VSphereError, match="another certificate"):
            held._connection("localhost", simulator.port, wrong)


def test_machines_from_an_ova(simulator, crew, tmp_path: Path) -> None:
    ova(tmp_path / "photon.ova")
    fleet = Fleet(simulator, tmp_path, BODY, guests=False)
    done = fleet.run()
    assert done.status == 0, done.err
    assert (simulator.calls("ImportVApp"), simulator.calls("CloneVM_Task")) == (1, 3)
    with soap.session(simulator) as content:
        ((name, (is_template, mark)),) = inside(content, "photon-fleet-templates").items()
        assert is_template
        assert mark == f"photon-fleet/@template/{name.rpartition('-')[2]}"
        machines = inside(content, "prod/web")
        assert machines == {f"web-{number}": (False, f"photon-fleet/web-{number}") for number in (1, 2, 3)}
        vm = soap.find(content, "DC0/vm/prod/web/web-1")
        assert vm.config.guestId == "vmwarePhoton64Guest"
        assert any(isinstance(each, vim.vm.device.VirtualDisk) for each in vm.config.hardware.device)
    assert fleet.run().line("web-2") == "web-2: ok; 0 changes"
