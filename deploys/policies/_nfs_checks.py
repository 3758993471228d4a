"""What is true of NFS. No read touches a mount point: with its server gone, it would wait for ever."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from deploys.policies.base import Check, Contains, file_check
from deploys.policies.nfs_models import Client, Export, NfsMount
from operations import _mount_units
from operations.mount import missing_options
from operations.nfs import CONF, EXPORTS, SERVER

if TYPE_CHECKING:
    from testinfra.host import Host


def client_checks(mount: NfsMount) -> Iterable[Check]:
    """Everything that is true of a mount, with and without its server."""
    base, field = f"nfs.mount[{mount.path}]", f"mounts[{mount.path}]"
    unit = _mount_units.unit_of(mount.path, "mount")
    started = _mount_units.unit_of(mount.path, "automount") if mount.automount else unit
    yield Check(
        id=f"{base}.boot", field=f"{field}.automount", proves=f"{started} is started at boot",
        read=partial(started_at_boot, mount.path), expect=[started],
    )  # fmt: skip
    yield Check(
        id=f"{base}.waiting" if mount.automount else f"{base}.mounted", field=f"{field}.path",
        proves=f"{mount.path} is mounted as soon as somebody looks" if mount.automount else f"{mount.path} is mounted",
        read=lambda host: host.check_output("systemctl show --property=ActiveState --value %s", started),
        expect="active",
    )  # fmt: skip
    yield Check(
        id=f"{base}.unit", field=f"{field}.server", proves=f"the unit of {mount.path} is as the policy has it",
        read=lambda host: host.check_output("cat %s", f"{_mount_units.DIRECTORY}/{unit}").splitlines(),
        expect=Contains((f"What={mount.source}", f"Where={mount.path}", f"TimeoutSec={mount.mount_seconds}s")),
    )  # fmt: skip
    yield Check(
        id=f"{base}.unit-options", field=f"{field}.options", proves=f"the unit of {mount.path} has its options",
        read=partial(unit_options, unit), expect=sorted(["_netdev", "nofail", *mount.mount_options()]),
    )  # fmt: skip
    if mount.automount:
        yield Check(
            id=f"{base}.idle", field=f"{field}.idle_seconds",
            proves=f"{mount.path} is taken away after {mount.idle_seconds} s without use",
            read=lambda host: host.check_output("cat %s", f"{_mount_units.DIRECTORY}/{started}").splitlines(),
            expect=Contains((f"TimeoutIdleSec={mount.idle_seconds}s",)),
        )  # fmt: skip
    yield Check(
        id=f"{base}.in-force", field=f"{field}.options", proves=f"what is mounted at {mount.path} was asked for",
        read=partial(
            wrong_now, mount.path, mount.source, tuple(mount.mount_options()),
            mount.idle_seconds if mount.automount else None,
        ), expect=[],
    )  # fmt: skip


def started_at_boot(path: str, host: Host) -> list[str]:
    """Which of the units of a path remote-fs.target wants."""
    wants = host.check_output("systemctl show --property=Wants --value remote-fs.target").split()
    return [unit for unit in (_mount_units.unit_of(path, kind) for kind in ("automount", "mount")) if unit in wants]


def unit_options(unit: str, host: Host) -> list[str]:
    """The options in the file of a mount unit, sorted."""
    text = host.check_output("cat %s", f"{_mount_units.DIRECTORY}/{unit}")
    found = re.search(r"^Options=(.*)$", text, re.MULTILINE)
    return sorted(found[1].split(",")) if found else []


def wrong_now(path: str, source: str, wanted: Sequence[str], idle: int | None, host: Host) -> list[str]:
    """What is wrong with a mount and an automount that are there now; nothing, when none is."""
    command = (
        "findmnt --kernel --raw --noheadings --types nfs,nfs4,autofs --output TARGET,FSTYPE,SOURCE,OPTIONS || true"
    )
    wrong = []
    for line in host.check_output(command).splitlines():
        target, kind, shown, options = line.split(" ", 3)
        if target != path:
            continue
        if kind == "autofs":
            wrong += [] if f"timeout={idle}" in options.split(",") else [f"automount with {options}"]
            continue
        wrong += [] if shown.rstrip("/") == source.rstrip("/") else [f"{shown} is mounted"]
        wrong += [f"without {option}" for option in missing_options(wanted, options.split(","))]
    return wrong


def server_checks(
    exports: Sequence[Export], settings: Mapping[str, Mapping[str, str]], *, version3: bool
) -> Iterable[Check]:
    """Everything that is true of a server."""
    yield Check(
        id="nfs.server", field="exports", proves="the NFS server runs, and at boot",
        read=lambda host: (host.service(SERVER).is_running, host.service(SERVER).is_enabled), expect=(True, True),
    )  # fmt: skip
    yield Check(
        id="nfs.order", field="exports", proves="a boot mounts a directory before it is exported",
        read=lambda host: host.check_output(
            "systemctl show --property=RequiresMountsFor --value %s", SERVER
        ).split(),
        expect=Contains(tuple(export.path for export in exports)),
    )  # fmt: skip
    for section, values in settings.items():
        for key, value in values.items():
            yield Check(
                id=f"nfs.conf[{section}.{key}]", field=f"{section}_port" if key == "port" and section != "nfsd" else "",
                proves=f"nfs.conf sets {key} of {section}",
                read=partial(setting, section, key), expect=value,
            )  # fmt: skip
    yield file_check("nfs.conf.file", "", CONF, "644")
    yield Check(
        id="nfs.versions", field="version3", needs="nfs.server",
        proves="the server speaks version 4" + (" and 3" if version3 else " and no other"),
        read=versions, expect=["3", "4"] if version3 else ["4"],
    )  # fmt: skip
    yield Check(
        id="nfs.threads", field="threads", needs="nfs.server", proves="the server has its threads",
        read=lambda host: host.check_output("cat /proc/fs/nfsd/threads"), expect=settings["nfsd"]["threads"],
    )  # fmt: skip
    yield Check(
        id="nfs.port", field="", needs="nfs.server", proves="the server listens where the firewall lets clients in",
        read=lambda host: host.check_output("ss -Hltn sport = :2049").partition(" ")[0], expect="LISTEN",
    )  # fmt: skip
    if version3:
        yield Check(
            id="nfs.rpcbind", field="version3", proves="rpcbind runs for clients of version 3",
            read=lambda host: host.service("rpcbind").is_running, expect=True,
        )  # fmt: skip
    yield file_check("nfs.exports.file", "exports", EXPORTS, "644")
    for export in exports:
        for client in export.clients:
            yield _export_check(export, client)


def _export_check(export: Export, client: Client) -> Check:
    return Check(
        id=f"nfs.export[{export.path}:{client.who}]", field=f"exports[{export.path}].clients[{client.who}]",
        needs="nfs.server", proves=f"{export.path} is exported to {client.who}",
        read=partial(export_options, export.path, client.shown), expect=Contains(tuple(client.words())),
    )  # fmt: skip


def setting(section: str, key: str, host: Host) -> str:
    """A setting of nfs.conf, as NFS's own programs read it."""
    return str(host.check_output("nfsconf --get %s %s || true", section, key))


def versions(host: Host) -> list[str]:
    """The major versions that the kernel serves."""
    words = host.check_output("cat /proc/fs/nfsd/versions").split()
    return sorted(word[1:] for word in words if re.fullmatch(r"\+\d", word))


def export_options(path: str, client: str, host: Host) -> list[str]:
    """The options of an export, as exportfs shows them. A long path has its client on the next line."""
    here = ""
    words: list[str] = host.check_output("exportfs -v").split()
    for word in words:
        if word.startswith("/"):
            here = word
        elif here == path and word.startswith(f"{client}("):
            return word.removeprefix(f"{client}(").rstrip(")").split(",")
    return [f"{path} is not exported to {client}"]
