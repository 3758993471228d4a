"""Images on lab hosts that are booted from an ostree deployment: one with the rpm-ostree stand-in, one without.

In order, as each test leaves the hosts as the next one needs them. What is published is in the lab's own repository.
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facts.ostree import Deployments, FinalizeFailure
from tests.converge.conftest import Done, program, run
from tests.lab import ostree_repo
from tests.lab.ostree_repo import BRANCH, STRANGER, commit

pytestmark = pytest.mark.lab

HOSTS = ("img-1", "img-2")
INVENTORY = """
from inventories._fleet import fleet, host
hosts = fleet(host("img-1", lab_image=True), host("img-2", lab_image="ostree"), connector="lab")
"""
DOCUMENTS = Path(__file__).parents[1] / "transcripts" / "rpm-ostree"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
FIRST, SECOND, THIRD, BAD = "5.0_minimal", "5.0_minimal.1", "5.0_minimal.2", "5.0_minimal.3"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images")
    (path / "fleet.py").write_text(INVENTORY)
    return path


@pytest.fixture(scope="module", autouse=True)
def hosts(lab):
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(lab.boot, "img-1", image=True), pool.submit(lab.boot, "img-2", image="ostree")]
        for each in started:
            each.result()
    yield
    for name in HOSTS:
        lab.kill(name)


@pytest.fixture
def does(place):
    """Runs operations as a deploy file on both hosts."""

    def operations(text: str, *options: str) -> Done:
        (place / "deploy.py").write_text(f"from operations import ostree, ostree_remotes\n{text}\n")
        return run(program("pyinfra"), place / "fleet.py", place / "deploy.py", "-y", "--json", *options)

    return operations


def changed(done: Done) -> int:
    assert done.status == 0, done.all
    return json.loads(done.out)["results"]["totals"]["success"]


@pytest.fixture
def reboot(on):
    """Reboots both hosts, and returns when each is another boot that runs."""

    def both() -> None:
        before = {name: on(name, BOOT_ID) for name in HOSTS}
        for name in HOSTS:
            on(name, "systemctl reboot", check=False)
        deadline = time.monotonic() + 180
        for name in HOSTS:
            while on(name, BOOT_ID, check=False) in {"", before[name]}:
                assert time.monotonic() < deadline, f"{name} does not come back"
                time.sleep(0.2)

    return both


@pytest.fixture
def runs(on):
    """The version that each host runs, as the image's own file says it, not ostree."""
    return lambda: [re.search("IMAGE_VERSION=(.*)", on(name, "cat /etc/os-release"))[1] for name in HOSTS]


UPGRADE = 'ostree.upgraded(name="Upgrade")'


def test_an_update_is_staged_and_runs_after_the_reboot(does, reboot, runs, on) -> None:
    commit(SECOND, {"/usr/etc/site.conf": "from the second\n"})
    assert changed(does(UPGRADE)) == 2
    assert runs() == [FIRST, FIRST]
    # Staged and not deployed: what is written to /etc from now on is kept.
    on("img-2", "echo later > /etc/later.conf")
    assert changed(does(UPGRADE)) == 0
    reboot()
    assert runs() == [SECOND, SECOND]
    assert on("img-2", "cat /etc/site.conf /etc/later.conf") == "from the second\nlater\n"
    assert changed(does(UPGRADE)) == 0


def test_roles_are_told_alike_with_rpm_ostree_and_without(on) -> None:
    found = {name: Deployments().process(on(name, Deployments().command()).splitlines()) for name in HOSTS}
    assert [found[name]["tool"] for name in HOSTS] == ["rpm-ostree", "ostree"]
    assert found["img-1"]["deployments"] == found["img-2"]["deployments"]
    assert [each["roles"] for each in found["img-1"]["deployments"]] == [["booted"], ["rollback"]]
    assert [each["version"] for each in found["img-1"]["deployments"]] == [SECOND, FIRST]


def test_the_stand_in_speaks_as_the_documents_of_rpm_ostree(on) -> None:
    documents = [json.loads(path.read_text()) for path in DOCUMENTS.glob("*photon5*.json")]
    known = [each for document in documents for each in document["deployments"]]
    kinds = {key: {type(each[key]) for each in known if key in each} for each in known for key in each}
    document = json.loads(on("img-1", "rpm-ostree status --json"))
    assert document.keys() == documents[0].keys()
    for each in document["deployments"]:
        assert set.intersection(*(set(one) for one in known)) <= each.keys() <= kinds.keys()
        assert all(type(value) in kinds[key] for key, value in each.items())
    statuses = {
        "upgrade": 0, "upgrade --unchanged-exit-77": 77, "upgrade --check": 77, "cleanup -p": 0, "cleanup": 1,
        "status --pending-exit-77": 0, f"rebase photon:{BRANCH}": 1, "uninstall nothing": 1, "deploy 9.9": 1,
    }  # fmt: skip
    each_of_them = "; ".join(f"rpm-ostree {command} >/dev/null 2>&1; echo $?" for command in statuses)
    assert on("img-1", each_of_them).split() == [str(status) for status in statuses.values()]
    said = on("img-1", f"rpm-ostree upgrade; rpm-ostree rebase photon:{BRANCH} 2>&1; rpm-ostree cleanup -p")
    assert said.splitlines() == [
        "No upgrade available.", f"error: Old and new refs are equal: photon:{BRANCH}", "Deployments unchanged.",
    ]  # fmt: skip


def test_rolling_back_twice_is_rolling_back_once(does, reboot, runs, on) -> None:
    leave = f'ostree.rolled_back(name="Leave it", bad="{SECOND}")'
    assert changed(does(leave)) == 2
    assert changed(does(leave)) == 0
    reboot()
    assert runs() == [FIRST, FIRST]
    # The branch still offers it: held back it is not installed again, and otherwise it is.
    assert changed(does(f'{leave}\nostree.upgraded(name="Upgrade", never=["{SECOND}"])')) == 0
    assert changed(does(UPGRADE)) == 2
    assert changed(does(leave)) == 2
    assert all("staged" not in on(name, "ostree admin status") for name in HOSTS)


def test_an_older_version_is_deployed_and_the_branch_is_still_followed(does, reboot, runs, on) -> None:
    commit(THIRD)
    commit("7.0", summary=False)
    assert changed(does(f'ostree.deployed(name="Deploy", wanted="{SECOND}")')) == 2
    assert changed(does(f'ostree.deployed(name="Deploy", wanted="{SECOND}")')) == 0
    reboot()
    assert runs() == [SECOND, SECOND]
    done = does('ostree.deployed(name="Deploy", wanted="7.0")')
    # The lab's repository may have what other tests have published, too: older than these, newer than the first.
    listed = rf"photon:{BRANCH} has no version 7.0 \(it has {THIRD}, {SECOND}, ([^)]*, )?{FIRST}[,)]"
    assert re.search(listed, done.err)
    assert "if it was just published, run `ostree summary -u` on its server" in done.err
    for name in HOSTS:
        assert f"origin refspec: photon:{BRANCH}" in on(name, "ostree admin status")


def test_a_pinned_image_is_not_cleaned_up(does, on) -> None:
    pin = f'ostree.pinned(name="Pin", wanted="{FIRST}")'
    clean = 'ostree.cleaned_up(name="Clean up", rollback=True)'
    assert changed(does(pin)) == 2
    assert changed(does(f"{pin}\n{clean}")) == 0
    assert all(FIRST in on(name, "ostree admin status") for name in HOSTS)
    assert changed(does(f'ostree.pinned(name="Unpin", wanted="{FIRST}", pin=False)\n{clean}')) == 4
    for name in HOSTS:
        assert on(name, "ls -d /ostree/deploy/photon/deploy/*.[0-9] | wc -l").strip() == "1"


def test_only_signed_images_are_taken(does, runs) -> None:
    remote = f"""
key = {ostree_repo.key_text()!r}
ostree_remotes.remote(name="Remote", remote_name="photon", url="http://packages.lab/ostree", key=key)
"""
    assert changed(does(remote)) == 2
    good = ostree_repo.head()
    unsigned = commit(BAD, key=None)
    done = does(f"{remote}\n{UPGRADE}")
    assert done.status == 1
    assert done.err.count(f"commit {unsigned[:12]} is not signed, and its remote accepts signed ones only") == 2
    strange = commit(BAD, key=STRANGER, parent=good)
    done = does(UPGRADE)
    key = ostree_repo.fingerprint(STRANGER)[-16:]
    assert f"commit {strange[:12]} is signed with the key {key}, which this host does not trust" in done.err
    assert runs() == [SECOND, SECOND]
    commit(BAD, parent=good)
    assert changed(does(f"{remote}\n{UPGRADE}")) == 2


def test_a_full_boot_is_told_when_it_is_staged_and_when_it_is_gone_after_the_reboot(does, reboot, runs, on) -> None:
    def fill() -> None:
        for name in HOSTS:
            on(name, "dd if=/dev/zero of=/boot/filler bs=1M 2>/dev/null || true")

    fill()
    commit("5.0_minimal.4", new_kernel=2)
    done = does(UPGRADE)
    assert done.status == 1
    assert done.err.count("/boot is full: the kernel of the new image does not fit") == 2, done.err
    assert runs() == [SECOND, SECOND]
    for name in HOSTS:
        assert "staged" not in on(name, "ostree admin status")
        on(name, "rm /boot/filler")
    assert changed(does(UPGRADE)) == 2
    fill()
    reboot()
    assert runs() == [SECOND, SECOND]
    failure = FinalizeFailure()
    for name in HOSTS:
        assert "/boot is full" in failure.process(on(name, failure.command()).splitlines())
        on(name, "rm /boot/filler")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://packages.lab:81/ostree", "the repository does not answer at http://packages.lab:81/ostree"),
        ("http://packages.lab/nothing", "the repository lacks a file that it should have (HTTP 404)"),
        ("http://nowhere.invalid/ostree", "the name in http://nowhere.invalid/ostree"),
    ],
)
def test_a_repository_that_is_none_is_named(does, url, said) -> None:
    remote = f'ostree_remotes.remote(name="Remote", remote_name="wrong", url="{url}", gpg_verify=False)'
    done = does(f'{remote}\nostree.rebased(name="Rebase", refspec="wrong:{BRANCH}")')
    assert done.status == 1
    assert done.err.count(said) == 2, done.err


def test_what_an_image_cannot_have_is_refused(does) -> None:
    done = does('ostree.only_writable(name="Places", paths=["/etc/ok", "/usr/bin/tool", "/opt/app/x", "/data"])')
    assert "/usr/bin/tool is part of the image and read-only" in done.err
    assert "/data: nothing can be added to / of an image host" in done.err
    assert "/opt/app/x" not in done.err
    done = does('ostree.layered(name="Layer", present=["gdb"])')
    assert "img-2" in done.err
    assert "this host has no rpm-ostree, which is what layers packages" in done.err
    assert changed(does('ostree.layered(name="Layer", present=["gdb"])', "--limit", "img-1")) == 0
