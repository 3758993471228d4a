"""The try of an image: what the host is asked and told, and the script under dash and bash.

ostree, systemctl and the machine are stand-ins here; tests/converge/test_8_vm_image.py has them for real, with GRUB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from facts.boot_try import CHANCES, NOT_SAID, BootTry, is_its_fault
from operations.boot_try import _script
from tests.lab.machine import install

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
NEW, OLD = f"{'b' * 64}.0", f"{'a' * 64}.0"

# The menu is a file of deployments, the first of which the next boot starts.
OSTREE = """#!/bin/sh
case "$2 $3" in
  "status ") sed 's/^/  photon /' "$PLACE/menu" ;;
  "undeploy 0") [ ! -e "$PLACE/stuck" ] || exit 1; sed -i 1d "$PLACE/menu"; rm -f "$PLACE"/boot/loader/* ;;
  "kargs edit-in-place") echo "$*" >> "$PLACE/kargs" ;;
esac
"""


class Host:
    """A directory that plays the host."""

    def __init__(self, place: Path, shell: str) -> None:
        self.place, self.shell = place, shell
        for name, text in (("ostree", OSTREE), ("systemctl", f'#!/bin/sh\necho "$*" >> {place}/systemctl\n')):
            path = place / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        for directory in (
            "boot/grub2",
            "boot/loader",
            "etc/systemd/system",
            "run/ostree",
            "sysroot",
            "var/lib/photon-fleet/update",
        ):
            (place / directory).mkdir(parents=True)
        (place / "boot_id").write_text("first\n")
        self.runs(OLD)
        text = _script().replace("PATH=/usr/sbin", f"PATH={place / 'bin'}:/usr/sbin")
        for path in ("/var/lib/photon-fleet", "/boot/grub2", "/boot/loader", "/etc/systemd", "/run/ostree", "/sysroot"):
            text = text.replace(path, f"{place}{path}")
        text = text.replace("/proc/cmdline", str(place / "cmdline"))
        self.text = text.replace("/proc/sys/kernel/random/boot_id", str(place / "boot_id"))
        self.own = place / "etc/systemd/photon-fleet-try-boot.sh"

    def runs(self, deployment: str) -> None:
        (self.place / "sysroot" / deployment).mkdir(exist_ok=True)
        (self.place / "cmdline").write_text(f"quiet ostree=/{deployment} panic=10\n")

    def menu(self, *deployments: str) -> None:
        (self.place / "menu").write_text("".join(f"{each}\n" for each in deployments))

    def call(self, *words: str) -> str:
        done = subprocess.run(
            [self.shell, "-s", *words], input=self.text, env={"PLACE": str(self.place)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.stderr.strip() if done.returncode else "done"

    def arm(self) -> str:
        (self.place / "run/ostree/staged-deployment").touch()
        self.own.write_text(self.text)
        return self.call("arm", NEW, OLD, "600", "5.0_minimal.1")

    def booted(self, deployment: str, *menu: str, tried: bool = True) -> None:
        """The host after a reboot: GRUB has noted the try in its block, as it does whatever it starts."""
        (self.place / "run/ostree/staged-deployment").unlink(missing_ok=True)
        (self.place / "boot_id").write_text("second\n")
        self.runs(deployment)
        self.menu(*menu)
        if tried:
            self.block.write_text(self.block.read_text().replace("=armed\n", "=tried\n"))

    @property
    def block(self) -> Path:
        return self.place / "boot/grub2/photon-fleet.env"

    @property
    def back(self) -> str:
        path = self.place / "var/lib/photon-fleet/update/try/back"
        return path.read_text().strip() if path.exists() else ""

    @property
    def left(self) -> list[str]:
        """Files of ours outside of the notes."""
        return sorted(
            path.name for top in ("boot", "etc") for path in (self.place / top).rglob("*") if path.is_file()
        )  # fmt: skip


@pytest.fixture(params=SHELLS)
def host(request, tmp_path) -> Host:
    return Host(tmp_path, request.param)


def test_arming_leaves_a_block_of_grubs_size_and_units_for_both_images(host) -> None:
    assert host.arm() == "done"
    block = host.block.read_text()
    assert len(block) == 1024
    assert block.startswith("# GRUB Environment Block\nphoton_fleet_try=armed\n###")
    assert host.left == [
        "custom.cfg", "photon-fleet-try-boot-expired.service", "photon-fleet-try-boot.service",
        "photon-fleet-try-boot.sh", "photon-fleet-try-boot.timer", "photon-fleet.conf", "photon-fleet.env",
    ]  # fmt: skip
    assert "OnBootSec=600" in (host.place / "etc/systemd/system/photon-fleet-try-boot.timer").read_text()
    drop_in = host.place / "etc/systemd/system/emergency.service.d/photon-fleet.conf"
    assert drop_in.read_text() == f"[Service]\nExecStartPre=-/bin/sh {host.own} emergency {OLD}\n"


def test_grub_can_read_what_it_is_given(host) -> None:
    if not shutil.which("grub-script-check"):
        if os.geteuid() != 0:
            pytest.skip("it needs grub-common: install it, or run pytest as root")
        install(["grub-common"])
    host.arm()
    subprocess.run(["grub-script-check", host.place / "boot/grub2/custom.cfg"], check=True)
    listed = subprocess.run(["grub-editenv", host.block, "list"], check=True, capture_output=True, text=True).stdout
    assert listed == "photon_fleet_try=armed\n"


def test_nothing_is_armed_that_is_not_staged_or_not_over_the_image_that_runs(host) -> None:
    host.own.write_text(host.text)
    assert host.call("arm", NEW, OLD, "600", "1") == "no image is staged: there is nothing to try"
    host.runs(NEW)
    assert host.arm() == f"another image runs than {OLD}"
    assert not host.block.exists()


def test_a_boot_that_cannot_be_written_to_arms_nothing(host) -> None:
    (host.place / "boot/grub2/custom.cfg.new").mkdir()
    assert host.arm().endswith("custom.cfg cannot be written")
    assert not host.block.exists()


def test_the_new_image_is_kept(host) -> None:
    host.arm()
    host.booted(NEW, NEW, OLD)
    assert host.call("settle") == "done"
    assert host.block.exists()
    assert host.call("keep") == "done"
    assert host.left == []
    assert not (host.place / "var/lib/photon-fleet/update/try").exists()
    assert host.call("keep") == "done"


@pytest.mark.parametrize(
    ("tried", "meanwhile", "said"),
    [
        (True, (), "it did not come up"), (False, (), "the boot loader did not start it"),
        (True, ("settle",), "it came up, and the host was booted again before it was proved"),
        (True, ("settle", "expire"), "nobody proved it within 600 s of its boot"),
        (True, ("settle", "leave sshd is gone"), "sshd is gone"),
    ],
)  # fmt: skip
def test_the_old_image_forgets_the_new_one_and_says_why(host, tried, meanwhile, said) -> None:
    host.arm()
    for each in meanwhile:
        host.booted(NEW, NEW, OLD)
        assert host.call(*each.split(maxsplit=1)) == "done"
    assert ("--no-block reboot" in (host.place / "systemctl").read_text()) is ("expire" in meanwhile)
    host.booted(OLD, NEW, OLD, tried=tried)
    assert host.call("settle") == "done"
    assert host.back == said
    assert (host.place / "menu").read_text() == f"{OLD}\n"
    assert host.left == []
    assert host.call("settle") == "done"
    assert host.back == said


def test_what_is_cut_off_while_the_old_image_forgets_the_new_one_is_done_at_the_next_boot(host) -> None:
    host.arm()
    host.booted(OLD, NEW, OLD)
    (host.place / "stuck").touch()
    assert host.call("settle") == "the image that was tried cannot be removed"
    # With the mark in the directory of the menu GRUB goes on starting the second entry.
    assert "photon_fleet_try=left\n" in host.block.read_text()
    assert (host.place / "boot/loader/photon-fleet-tried").exists()
    (host.place / "stuck").unlink()
    assert host.call("settle") == "done"
    assert (host.back, host.left) == ("it did not come up", [])
    assert (host.place / "menu").read_text() == f"{OLD}\n"


def test_an_image_that_was_never_put_in_place_takes_no_other_with_it(host) -> None:
    older = f"{'c' * 64}.0"
    host.arm()
    host.booted(OLD, OLD, older)
    assert host.call("settle") == "done"
    assert host.back == "it was not put in place at shutdown"
    assert (host.place / "menu").read_text() == f"{OLD}\n{older}\n"


def test_what_is_left_in_the_etc_of_a_kept_image_s_predecessor_means_nothing(host) -> None:
    host.arm()
    host.booted(NEW, NEW, OLD)
    host.call("keep")
    # Weeks later the host is rolled back by hand: the /etc of the old image still has the units.
    host.own.write_text(host.text)
    host.runs(OLD)
    host.menu(OLD, NEW)
    assert host.call("settle") == "done"
    assert host.back == ""
    assert (host.place / "menu").read_text() == f"{OLD}\n{NEW}\n"
    assert host.left == []


def test_only_the_new_image_leaves_its_emergency_shell(host) -> None:
    assert host.call("emergency", OLD) == "done"
    assert not (host.place / "systemctl").exists()
    host.runs(NEW)
    assert host.call("emergency", OLD) == "done"
    assert (host.place / "systemctl").read_text() == "--force reboot\n"


def test_kernel_arguments_are_not_given_over_a_staged_image(host) -> None:
    assert host.call("ready", "panic=10", "rd.shell=0") == "done"
    given = "admin kargs edit-in-place --append-if-missing=panic=10 --append-if-missing=rd.shell=0\n"
    assert (host.place / "kargs").read_text() == given
    (host.place / "run/ostree/staged-deployment").touch()
    assert host.call("ready", "panic=10") == "an image is staged already: take it back first (ostree.cleaned_up)"
    assert (host.place / "kargs").read_text() == given


def test_an_image_that_is_not_tried_is_not_left(host) -> None:
    host.arm()
    assert host.call("leave", "why") == "the image that runs is not one that is tried"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ([], "answered in part"), (["menu ../loader/grub.cfg", "options quiet"], "answered in part"),
        (["menu ../loader/grub.cfg", "boot ext4 /dev/sda2", "end"], "the boot menu has no entries: is /boot mounted"),
    ],
)  # fmt: skip
def test_half_an_answer_about_the_boot_loader_is_none(output, said) -> None:
    with pytest.raises(FactProcessError, match=said):
        BootTry().process(output)


@pytest.mark.parametrize("why", sorted(CHANCES))
def test_what_is_no_fault_of_the_image_is_said_in_these_words(why) -> None:
    assert f'"{why}"' in _script() or why == NOT_SAID
    assert not is_its_fault(why)
    assert is_its_fault("it did not come up")
