#!/usr/bin/python3
"""A STAND-IN for rpm-ostree, over the real ostree: Debian has no rpm-ostree, and this is none.

It runs inside image hosts as /usr/local/bin/rpm-ostree. Deployments, staging, pulls, signatures and the order of the
boot menu are ostree's own; words, exit statuses and documents follow what is known of rpm-ostree 2022.19, and a test
holds its documents to upstream's. Layered packages are written down only: no package is installed. It needs nothing
but Python, as it is copied to the host as it is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOTES = Path("/var/lib/rpm-ostree-stand-in.json")
DEPLOY = Path("/sysroot/ostree/deploy")
LOCKED = Path("/run/ostree/staged-deployment-locked")
UNCHANGED = 77
HEADER = re.compile(r"([* ]) (\S+) ([0-9a-f]{64})\.(\d+)(?: \((.*)\))?")
LISTS = (
    "requested-packages requested-modules requested-modules-enabled requested-local-packages "
    "requested-local-fileoverride-packages requested-base-removals requested-base-local-replacements packages modules "
    "base-removals base-local-replacements"
).split()


class StandInError(Exception):
    """What the real one says after `error: `, with status 1."""


def ostree(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ostree", *words], capture_output=True, text=True, check=False)
    if done.returncode and check:
        raise StandInError((done.stderr or done.stdout).strip().removeprefix("error: "))
    return done.stdout


def notes() -> dict[str, list[str]]:
    return json.loads(NOTES.read_text()) if NOTES.exists() else {}


def origin_of(osname: str, checksum: str, serial: int) -> dict[str, str]:
    text = (DEPLOY / osname / "deploy" / f"{checksum}.{serial}.origin").read_text()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def metadata(checksum: str, key: str) -> str:
    return ostree("show", f"--print-metadata-key={key}", checksum, check=False).strip().strip("'")


def timestamp(checksum: str) -> int:
    found = re.search(r"(?m)^Date:\s+(.*)$", ostree("show", checksum, check=False))
    if not found:
        return 0
    date = subprocess.run(["date", "-u", "-d", found[1], "+%s"], capture_output=True, text=True, check=False)
    return int(date.stdout or 0)


def remotes() -> set[str]:
    return set(ostree("remote", "list").split())


def verifies(remote: str) -> bool:
    for file in (Path("/etc/ostree/remotes.d", f"{remote}.conf"), Path("/sysroot/ostree/repo/config")):
        text = file.read_text() if file.exists() else ""
        if section := re.search(rf'(?s)\[remote "{re.escape(remote)}"\](.*?)(?:\n\[|$)', text):
            return "gpg-verify=false" not in section[1]
    return False


def deployments() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in ostree("admin", "status").splitlines():
        if match := HEADER.fullmatch(line):
            mark, osname, checksum, serial, state = match.groups()
            found.append(described(osname, checksum, int(serial)))
            found[-1].update(booted=mark == "*", staged=(state or "").startswith("staged"))
            found[-1].update({"finalization-locked": True} if found[-1]["staged"] and LOCKED.exists() else {})
        elif line.strip() == "Pinned: yes":
            found[-1]["pinned"] = True
        elif line.startswith("    Unlocked: "):
            found[-1]["unlocked"] = line.split()[1]
    return found


def described(osname: str, checksum: str, serial: int) -> dict[str, Any]:
    origin = origin_of(osname, checksum, serial).get("refspec", "")
    version, remote = metadata(checksum, "version"), origin.partition(":")[0]
    entry: dict[str, Any] = {
        "id": f"{osname}-{checksum}.{serial}", "osname": osname, "checksum": checksum, "serial": serial,
        "booted": False, "staged": False, "pinned": False, "unlocked": "none", "origin": origin,
        "regenerate-initramfs": False, "base-remote-replacements": {}, "timestamp": timestamp(checksum),
        "base-commit-meta": {"version": version} if version else {}, **{key: [] for key in LISTS},
    }  # fmt: skip
    if version:
        entry["version"] = version
    if ":" in origin and remote not in remotes():
        entry["remote-error"] = f'Remote "{remote}" not found'
    else:
        entry["gpg-enabled"] = ":" in origin and verifies(remote)
    if packages := notes().get(entry["id"]):
        # The real one makes a commit of its own for them; here it is the repository's.
        entry["requested-packages"] = entry["packages"] = packages
        entry.update({"base-checksum": checksum, "base-version": version, "base-timestamp": entry["timestamp"],
                      "layered-commit-meta": {"rpmostree.clientlayer": True, "version": version}})  # fmt: skip
    return entry


def status(options: list[str]) -> int:
    found = deployments()
    if "--json" in options:
        listed = [each for each in found if each["booted"] or not {"-b", "--booted"} & set(options)]
        document = {"deployments": listed, "transaction": None, "cached-update": None, "update-driver": None}
        print(json.dumps(document, indent=2, separators=(",", " : ")))
    else:
        print("State: idle\nDeployments:")
        for each in found:
            print(f"{'●' if each['booted'] else ' '} {each['origin']}\n    Version: {each.get('version', '')}")
    return UNCHANGED if "--pending-exit-77" in options and not found[0]["booted"] else 0


def stage(checksum: str, refspec: str, packages: list[str], *, locked: bool = False) -> None:
    """Stage a commit that is in the repository, with the origin that the real one would write."""
    file = Path("/run/rpm-ostree-stand-in.origin")
    file.write_text(f"[origin]\nrefspec={refspec}\n")
    ostree("admin", "deploy", "--stage", f"--origin-file={file}", checksum)
    file.rename(LOCKED) if locked else file.unlink()
    NOTES.write_text(json.dumps({**notes(), deployments()[0]["id"]: packages}))


def followed() -> tuple[dict[str, Any], str, str]:
    """What a new deployment starts from (the default one), and its remote and ref."""
    start = deployments()[0]
    remote, _, ref = start["origin"].partition(":")
    if not ref:
        raise StandInError("Pinned to commit; no upgrade available")
    return start, remote, ref


def upgrade(options: list[str]) -> int:
    start, remote, ref = followed()
    check = bool({"--check", "--preview"} & set(options))
    ostree("pull", *(["--commit-metadata-only"] if check else []), remote, ref)
    head = ostree("rev-parse", f"{remote}:{ref}").strip()
    if head == start["checksum"]:
        print("No updates available." if check else "No upgrade available.")
        return UNCHANGED if check or "--unchanged-exit-77" in options else 0
    if check:
        print(f"AvailableUpdate:\n        Version: {metadata(head, 'version')}\n         Commit: {head}")
        return 0
    if timestamp(head) < start["timestamp"] and "--allow-downgrade" not in options:
        raise StandInError(f"Upgrade target revision '{head}' is chronologically older than current revision")
    stage(head, start["origin"], start["requested-packages"], locked="--lock-finalization" in options)
    print('Run "systemctl reboot" to start a reboot')
    return 0


def deploy(options: list[str], wanted: str) -> int:
    start, remote, ref = followed()
    wanted = wanted.removeprefix("version=").removeprefix("revision=")
    if re.fullmatch(r"[0-9a-f]{64}", wanted):
        checksum = wanted
        ostree("pull", remote, f"{ref}@{checksum}")
    else:
        ostree("pull", "--commit-metadata-only", "--depth=-1", remote, ref)
        log = ostree("log", f"{remote}:{ref}")
        found = re.search(rf"(?m)^commit (\S+)\n(?:[A-Z].*\n)*Version: {re.escape(wanted)}$", log)
        if not found:
            raise StandInError(f"Version {wanted} not found in {remote}:{ref}")
        checksum = found[1]
        ostree("pull", remote, f"{ref}@{checksum}")
    if checksum == start["checksum"]:
        print("No change.")
        return UNCHANGED if "--unchanged-exit-77" in options else 0
    stage(checksum, start["origin"], start["requested-packages"], locked="--lock-finalization" in options)
    return 0


def finalize(checksums: list[str]) -> int:
    """Let a locked deployment be put in place, and shut down for that: the real one has no other way either."""
    first = deployments()[0]
    checksum = first.get("base-checksum", first["checksum"])
    if not first["staged"]:
        raise StandInError("No pending staged deployment found")
    if checksums != [checksum]:
        wrong = f"Expected staged base checksum {checksums[0]}, but found {checksum}" if checksums else ""
        raise StandInError(wrong or "Missing expected checksum")
    if not LOCKED.exists():
        raise StandInError("Staged deployment already unlocked")
    LOCKED.unlink()
    subprocess.run(["systemctl", "--no-block", "reboot"], check=False)
    return 0


def rebase(refspec: str) -> int:
    start = deployments()[0]
    old_remote = start["origin"].partition(":")[0]
    remote, _, ref = refspec.rpartition(":")
    remote = remote or old_remote
    if f"{remote}:{ref}" == start["origin"]:
        raise StandInError(f"Old and new refs are equal: {remote}:{ref}")
    ostree("pull", remote, ref)
    stage(ostree("rev-parse", f"{remote}:{ref}").strip(), f"{remote}:{ref}", start["requested-packages"])
    return 0


def rollback() -> int:
    """Put another deployment first in the boot menu, which is a toggle, as with the real one."""
    found = deployments()
    if found[0]["staged"]:
        raise StandInError("Staged deployment (remove with cleanup -p)")
    booted = next(each for each in found if each["booted"])
    own = [each for each in found if each["osname"] == booted["osname"]]
    if len(own) < 2:
        raise StandInError("No rollback deployment found")
    place = own.index(booted)
    first = own[place + 1] if place + 1 < len(own) else own[place]
    entries = Path("/boot/loader/entries")
    # ostree orders deployments by the version of their entries, and these by the names of the deployments' links.
    files = {}
    for file in entries.glob("ostree-*.conf"):
        link = re.search(r"\bostree=(\S+)", file.read_text())
        files[os.path.realpath(f"/sysroot{link[1]}") if link else ""] = file
    paths = [str(DEPLOY / each["osname"] / "deploy" / f"{each['checksum']}.{each['serial']}") for each in found]
    wanted = str(DEPLOY / first["osname"] / "deploy" / f"{first['checksum']}.{first['serial']}")
    order = [wanted, *(path for path in paths if path != wanted)]
    for number, path in enumerate(order):
        text = re.sub(r"(?m)^version \d+$", f"version {len(order) - number}", files[path].read_text())
        files[path].write_text(text)
    os.utime(DEPLOY)
    print(f"Moving '{first['checksum']}.{first['serial']}' to be first deployment")
    return 0


def cleanup(options: list[str]) -> int:
    if not options:
        raise StandInError("At least one cleanup option must be specified")
    flags, found = "".join(options), deployments()
    place = [each["booted"] for each in found].index(True)
    gone = [index for index, each in enumerate(found) if index != place and not each["pinned"]
            and ("p" if index < place else "r") in flags]  # fmt: skip
    for index in reversed(gone):
        ostree("admin", "undeploy", str(index))
    if not gone:
        print("Deployments unchanged.")
    return 0


def layer(options: list[str], packages: list[str], *, add: bool) -> int:
    start = deployments()[0]
    before = list(start["requested-packages"])
    for package in packages:
        known = package in before
        if known is add and not (add and "--idempotent" in options):
            raise StandInError(f"Package/capability '{package}' is {'already' if add else 'not currently'} requested")
    after = sorted({*before, *packages}) if add else [each for each in before if each not in packages]
    if after == before:
        print("No change.")
        return UNCHANGED if "--unchanged-exit-77" in options else 0
    stage(start["checksum"], start["origin"], after)
    return 0


def main(words: list[str]) -> int:
    if not Path("/run/ostree-booted").exists():
        raise StandInError("This system was not booted via libostree.")
    command, rest = (words[0], words[1:]) if words else ("", [])
    options = [word for word in rest if word.startswith("-")]
    values = [word for word in rest if not word.startswith("-")]
    actions: dict[str, Callable[[], int]] = {
        "status": lambda: status(options),
        "upgrade": lambda: upgrade(options),
        "deploy": lambda: deploy(options, values[0]),
        "finalize-deployment": lambda: finalize(values),
        "rebase": lambda: rebase(values[0]),
        "rollback": rollback,
        "cleanup": lambda: cleanup(options),
        "install": lambda: layer(options, values, add=True),
        "uninstall": lambda: layer(options, values, add=False),
    }
    if command not in actions:
        raise StandInError(f"Unknown command '{command}' (this is the lab's stand-in)")
    return actions[command]()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StandInError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
