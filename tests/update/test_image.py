"""The update of an image: how far it is, what is refused, and the host's own script under dash and bash.

ostree and rpm-ostree are stand-ins here; tests/converge has them on real hosts.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from pyinfra.api import OperationError

from deploys.update.asked import Asked
from facts.image import is_held, note, standing
from operations._images import no_way_back
from operations._point import IMAGE, script

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
BLANK = note(["end"])
NOTED = {**BLANK, "before": OLD, "staged": NEW, "boot": "one", "unproved": True}


@pytest.mark.parametrize(
    ("noted", "running", "boot", "how"),
    [
        (BLANK, OLD, "one", "settled"),
        ({**NOTED, "unproved": False}, NEW, "two", "settled"),
        (NOTED, OLD, "one", "waits"),
        # Killed after it was noted, and before anything was staged.
        ({**NOTED, "staged": ""}, OLD, "one", "settled"),
        ({**NOTED, "staged": ""}, OLD, "two", "settled"),
        (NOTED, NEW, "two", "runs"),
        # Killed before what was staged was noted, and booted by someone else.
        ({**NOTED, "staged": ""}, NEW, "two", "runs"),
        (NOTED, OLD, "two", "gone"),
        (NOTED, OTHER, "two", "gone"),
        ({**NOTED, "held": [{"checksum": NEW, "version": ""}]}, OLD, "two", "undone"),
        ({**NOTED, "held": [{"checksum": OTHER, "version": ""}]}, OLD, "two", "gone"),
    ],
)
def test_how_far_an_update_is(noted, running, boot, how) -> None:
    assert standing(noted, running, boot) == how


RUNS = {
    "stateroot": "photon", "checksum": OLD, "serial": 0, "roles": ["booted"], "origin": "photon:b",
    "base_checksum": OLD, "version": "1", "layered": [], "removed": [], "overridden": [], "unlocked": "none",
}  # fmt: skip
ROOM = {"free": 1 << 20, "size": 1 << 25, "separate": True}


@pytest.mark.parametrize(
    ("tool", "changed", "free", "why"),
    [
        ("ostree", {}, 1 << 20, None),
        ("rpm-ostree", {"origin": None}, 1 << 20, None),
        ("ostree", {"origin": OLD}, 1 << 20, "and no branch of a remote: rebase the host to one first"),
        ("rpm-ostree", {"unlocked": "development"}, 1 << 20, "what was changed in it is lost with the next boot"),
        ("ostree", {}, 4096, "/boot has no room for the menu of another boot (4096 bytes are free"),
    ],
)
def test_a_host_that_could_not_go_back(tool, changed, free, why) -> None:
    found = no_way_back({"tool": tool, "busy": None, "deployments": [{**RUNS, **changed}]}, {**ROOM, "free": free})
    assert found is None if why is None else why in found


@pytest.mark.parametrize("wanted", [OTHER, "5.0_minimal.7"])
def test_a_held_image_is_known_by_its_version_and_its_checksum(wanted) -> None:
    noted = {**BLANK, "held": [{"checksum": OTHER, "version": "5.0_minimal.7"}]}
    assert is_held(noted, wanted)
    assert not is_held(noted, NEW)


def test_options_are_those_of_the_host() -> None:
    Asked(packages=("curl",), score=7.0).require_fitting(image=False)
    Asked(version="5.0_minimal.7").require_fitting(image=True)
    with pytest.raises(OperationError, match="packages=, score= choose packages, and this host takes images"):
        Asked(packages=("curl",), score=7.0).require_fitting(image=True)
    with pytest.raises(OperationError, match="version= names an image, and this host takes packages"):
        Asked(version="5.0_minimal.7").require_fitting(image=False)


# A line of the menu is a commit; the one that runs is in a file of its own.
STATUS = """
while read -r each; do
  mark=' '; [ "$each" != "$(cat "$PLACE/runs")" ] || mark='*'
  printf '%s photon %s.0\\n    Version: v%.3s\\n    origin refspec: photon:b\\n' "$mark" "$each" "$each"
done < "$PLACE/menu"
"""
FIRST = 'first() { grep -vx "$1" "$PLACE/menu" > "$PLACE/rest"; { echo "$1"; cat "$PLACE/rest"; } > "$PLACE/menu"; }\n'
OSTREE = f"""#!/bin/sh
{FIRST}
echo "ostree $*" >> "$PLACE/calls"
case $2 in
  status) {STATUS} ;;
  deploy) for last; do :; done; first "$last" ;;
esac
"""
# A toggle, as the real one is.
RPM_OSTREE = f"""#!/bin/sh
{FIRST}
echo "rpm-ostree $*" >> "$PLACE/calls"
case $1 in
  rollback) first "$(sed -n 2p "$PLACE/menu")" ;;
  cleanup) sed -i 1d "$PLACE/menu" ;;
esac
"""


class Host:
    """A directory that plays the host."""

    def __init__(self, place: Path, shell: str, *, rpm_ostree: bool) -> None:
        self.place, self.shell = place, shell
        self.state, self.units = place / "state", place / "units"
        for path in (place / "bin", self.state, self.units):
            path.mkdir()
        programs = {"ostree": OSTREE, "systemctl": f'#!/bin/sh\necho "systemctl $*" >> {place}/calls\n'}
        if rpm_ostree:
            programs["rpm-ostree"] = RPM_OSTREE
        for name, text in programs.items():
            (place / "bin" / name).write_text(text)
            (place / "bin" / name).chmod(0o755)
        self.text = (
            script(IMAGE)
            .replace("/var/lib/photon-fleet/update", str(self.state))
            .replace("/var/lib/photon-fleet/records", str(place / "records"))
            .replace("/etc/systemd/system", str(self.units))
            .replace("PATH=/usr/local/sbin", f"PATH={place / 'bin'}:/usr/local/sbin")
        )

    def systemctl(self, more: str) -> None:
        (self.place / "bin/systemctl").write_text(f'#!/bin/sh\necho "systemctl $*" >> {self.place}/calls\n{more}\n')

    def boots(self, running: str, *menu: str) -> None:
        (self.place / "runs").write_text(f"{running}\n")
        (self.place / "menu").write_text("".join(f"{each}\n" for each in menu))

    @property
    def menu(self) -> list[str]:
        return (self.place / "menu").read_text().split()

    @property
    def calls(self) -> str:
        return (self.place / "calls").read_text()

    def records(self) -> str:
        return "".join(path.read_text() for path in (self.place / "records").rglob("*.update"))

    def value(self, name: str) -> str:
        return (self.state / "image" / name).read_text().strip()

    def call(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [self.shell, "-s", *words],
            input=self.text, capture_output=True, text=True, check=False, timeout=60,
            env={"PLACE": str(self.place), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        return done.returncode, done.stdout.strip() + done.stderr.strip()


@pytest.fixture(params=[(shell, tool) for shell in SHELLS for tool in (False, True)])
def host(request, tmp_path) -> Host:
    return Host(tmp_path, request.param[0], rpm_ostree=request.param[1])


def updated(host: Host) -> None:
    host.boots(OLD, OLD)
    assert host.call("note", "", OLD, "v1", "time.zone", "files.file[/a b]") == (0, "")
    host.boots(OLD, NEW, OLD)
    assert host.call("staged") == (0, "")
    assert host.call("watch", "600") == (0, "")
    host.boots(NEW, NEW, OLD)


def test_what_is_noted_is_what_the_fact_reads(host) -> None:
    updated(host)
    assert (host.value("before"), host.value("before_version")) == (OLD, "v1")
    assert (host.value("staged"), host.value("staged_version")) == (NEW, "vbbb")
    assert host.value("failing").splitlines() == ["time.zone", "files.file[/a b]"]
    assert "OnBootSec=600" in (host.units / "photon-fleet-update.timer").read_text()


def test_going_back_twice_is_going_back_once(host) -> None:
    updated(host)
    assert host.call("back")[1].endswith("back")
    assert host.menu == [OLD, NEW]
    assert host.call("back") == (0, "back")
    assert host.menu == [OLD, NEW]


def test_what_waits_is_taken_back_first(host) -> None:
    updated(host)
    host.boots(NEW, OTHER, NEW, OLD)
    assert host.call("back")[1].endswith("back")
    assert host.menu[0] == OLD


def test_an_image_that_is_gone_is_no_way_back(host) -> None:
    updated(host)
    host.boots(NEW, NEW)
    assert host.call("back") == (1, "the image that ran before is not on this host any more")


def test_nobody_confirmed(host) -> None:
    updated(host)
    assert host.call("expire")[0] == 0
    assert host.menu[0] == OLD
    assert (host.state / "held-images").read_text() == f"{NEW} vbbb\n"
    assert "what: went back from image vbbb, as nobody confirmed it after its first boot\n" in host.records()
    assert host.calls.endswith("systemctl --no-block reboot\n")
    assert not list(host.units.iterdir())


def test_a_host_that_cannot_go_back_does_not_reboot_over_and_over(host) -> None:
    updated(host)
    host.boots(NEW, NEW)
    assert host.call("expire")[0] == 0
    assert "what: could NOT go back from image vbbb" in host.records()
    assert "reboot" not in host.calls
    assert (host.units / "photon-fleet-update.timer").exists()


@pytest.mark.parametrize("running", [OLD, NEW])
def test_a_timer_that_is_left_does_nothing(host, running) -> None:
    updated(host)
    if running == NEW:
        assert host.call("confirm") == (0, "")
        host.call("watch", "600")
    host.boots(running, running, OTHER)
    assert host.call("expire") == (0, "")
    assert host.menu[0] == running
    assert "reboot" not in host.calls
    assert not host.records()
    assert not list(host.units.iterdir())


def test_who_is_first_confirms_or_goes_back(host) -> None:
    updated(host)
    (host.state / "image/unproved").rename(host.state / "image/expired")
    host.systemctl("[ $1 != show ] || echo activating")
    said = "nobody confirmed the image in time: the host goes back from it at this moment"
    assert host.call("confirm") == (1, said)
    # It was cut short, and nothing of it runs any more.
    host.systemctl("[ $1 != show ] || echo inactive")
    assert host.call("confirm") == (0, "")
    assert not (host.state / "image/expired").exists()


def test_a_way_back_that_was_cut_short_is_taken_at_the_next_boot(host) -> None:
    updated(host)
    (host.state / "image/unproved").rename(host.state / "image/expired")
    assert host.call("expire")[0] == 0
    assert host.menu[0] == OLD
    assert not (host.state / "image/expired").exists()


def test_a_confirmed_image_is_watched_no_more(host) -> None:
    updated(host)
    assert host.call("confirm") == (0, "")
    assert "disable --now photon-fleet-update.timer" in host.calls
    assert not (host.state / "image/unproved").exists()
    assert host.call("watch", "600") == (0, "")
    assert not list(host.units.iterdir())


@pytest.mark.parametrize("words", [["watch", "soon"], ["note"], ["nothing"], []])
def test_what_is_no_call(host, words) -> None:
    assert host.call(*words)[0] == 1


def test_nothing_is_held_back_that_ran_before(host) -> None:
    host.boots(OLD, OLD)
    host.call("note", "", OLD, "v1")
    assert host.call("hold") == (1, "there is no update that could be held back")


def test_a_note_that_was_put_aside_when_the_host_died_is_the_note(host) -> None:
    updated(host)
    (host.state / "image").rename(host.state / "image.before")
    assert host.call("back")[1].endswith("back")
    assert host.menu == [OLD, NEW]
