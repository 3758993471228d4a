"""Small actions for on call, and the record that each leaves on the host."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from pyinfra import host, logger, state
from pyinfra.api import OperationError, StringCommand

from facts.fixes import CHAIN, TDNF_LOCK, Blocks, DiskSpace, KeyHolders, Reclaimable, TdnfLock
from facts.run import RECORDS
from facts.systemd import Unit
from operations._contain import Commands, operation, read
from operations.sshd import Refusal, require_access
from operations.systemd import require_unit

_SIZE = re.compile(r"[1-9][0-9]{0,5}[KMG]")
PARTS = ("journal", "tdnf", "images")
SETTLE_SECONDS = 3


@operation(is_idempotent=False, idempotent_notice="Each run leaves a record of its own.")
def record(lines: Mapping[str, str]) -> Commands:
    """
    Leave a record of what is going to be done, for whoever comes to the host next.

    + lines: names and values, such as what, by, why and commit; the host adds the time

    The next run tells it, and keeps it in /var/lib/photon-fleet/records/seen.
    """
    text = "".join(f"{name}: {' '.join(value.split())}\n" for name, value in lines.items())
    yield StringCommand(
        f"( umask 077; mkdir -p {RECORDS}/new && f=$(mktemp {RECORDS}/new/$(date -u +%Y%m%dT%H%M%SZ).XXXXXX) && "
        '{ cat; echo "at: $(date -u +%Y-%m-%dT%H:%M:%SZ)"; } > "$f" )',
        _stdin=text,
    )


@operation(is_idempotent=False, idempotent_notice="A restart is asked for and made.")
def restarted(unit: str) -> Commands:
    """
    Restart a unit, and prove that it runs afterwards; a unit that does not says its last words.

    + unit: its whole name, such as "nginx.service". One whose restart cuts off more than itself is refused
    """
    require_unit(unit)
    if not unit.endswith((".service", ".socket", ".timer")):
        message = f"{unit}: only services, sockets and timers are restarted"
        raise OperationError(message)
    if unit == "iptables.service":
        message = "restarting iptables.service flushes Docker's rules: run deploys/host.py --data only=firewall instead"
        raise OperationError(message)
    found = read(Unit, unit=unit)
    if found["load"] != "loaded":
        message = f"{unit} is {found['load']} on this host"
        raise OperationError(message)
    name = shlex.quote(unit)
    before = "sshd -t && " if unit == "sshd.service" else ""
    yield StringCommand(
        f"( {before}systemctl reset-failed {name} 2>/dev/null; {before}systemctl restart {name} && "
        f"sleep {SETTLE_SECONDS} && systemctl is-active --quiet {name} || "
        f"{{ systemctl --no-pager --lines=20 status {name} >&2; exit 1; }} )"
    )


def plan_of_space(found: Reclaimable, parts: Sequence[str], journal_bytes: int) -> dict[str, int]:
    """What each part would give back, in bytes; parts that give nothing are left out."""
    gives = {"journal": found["journal"] - journal_bytes, "tdnf": found["tdnf"], "images": found["images"]}
    return {part: gives[part] for part in parts if gives[part] > 0}


def bytes_of(size: str) -> int:
    """`200M` in bytes.

    Raises:
        OperationError: another form.
    """
    if not _SIZE.fullmatch(size):
        message = f"{size!r} is no size such as 200M"
        raise OperationError(message)
    return int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]


@operation()
def freed_space(parts: Sequence[str] = PARTS, journal: str = "200M") -> Commands:
    """
    Free disk space of what can be had again: old journal files, tdnf's cache, images without a name.

    + parts: of journal, tdnf, images
    + journal: what the journal may keep
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        message = f"{', '.join(unknown)}: the parts are {', '.join(PARTS)}"
        raise OperationError(message)
    plan = plan_of_space(read(DiskSpace), parts, bytes_of(journal))
    if not plan:
        host.noop("nothing can be freed")
        return
    for part, size in plan.items():
        logger.info("%s%s: about %.0f MiB to free", host.print_prefix, part, size / (1 << 20))
    commands = {
        "journal": f"journalctl --rotate && journalctl --vacuum-size={journal}",
        # Not `tdnf clean all`: with a full disk tdnf may not get its lock.
        "tdnf": "find /var/cache/tdnf -mindepth 1 -delete",
        "images": "docker image prune --force",
    }
    for part in plan:
        yield StringCommand(commands[part])


def _program(address: str) -> str:
    return "iptables" if ip_network(address).version == 4 else "ip6tables"  # noqa: PLR2004 - the version


def require_network(address: str) -> str:
    """The address in CIDR notation.

    Raises:
        OperationError: it is none, or so wide that it would be most of the Internet.
    """
    try:
        found = ip_network(address)
    except ValueError as error:
        message = f"{address!r} is no address or network: {error}"
        raise OperationError(message) from error
    if found.prefixlen < found.max_prefixlen // 4:
        message = f"{address} is too much to block"
        raise OperationError(message)
    return str(found)


def end_of_block(address: str) -> str:
    """The shell command that ends a block, and fails while it has not ended: somebody may hold the lock of xtables."""
    table, rule = f"{_program(address)} -w 5 -t raw", f"{CHAIN} -s {address} -j DROP"
    return (
        f"tries=0; while {table} -S {CHAIN} | grep -qxF -e '-A {rule}'; do {table} -D {rule} || sleep 1; "
        'tries=$((tries + 1)); [ "$tries" -lt 60 ] || exit 1; done'
    )


def undo_of_block(address: str) -> str:
    """The shell functions by which a guard undoes a block; see deploys.policies.base.Undo."""
    wanted = require_network(address)
    look = f"{_program(wanted)} -w 5 -t raw -C {CHAIN} -s {wanted} -j DROP 2>/dev/null"
    check = f"check_running() {{ if {look}; then echo still blocked; fi; }}"
    return f"restore_running() {{ {end_of_block(wanted)}; }}\n{check}"


@operation()
def blocked(address: str, minutes: int, refuse: Refusal) -> Commands:
    """
    Drop what a source address sends, to the host and to its containers, for a limited time.

    In the raw table, before connection tracking, so that it holds for open connections, too; the firewall policy does
    not touch it. A timer of the host ends it; a reboot does as well.

    + address: an address or a network in CIDR notation
    + minutes: how long, a week at the most
    + refuse: given the connection of this run (or None when it is not known), returns why the block would cut it, or
      None
    """
    wanted = require_network(address)
    if not 1 <= minutes <= 7 * 24 * 60:
        message = f"{minutes} minutes: from 1 to 10080, a week"
        raise OperationError(message)
    if wanted in read(Blocks):
        host.noop(f"{wanted} is blocked already")
        return
    require_access(refuse)
    program, rule = f"{_program(wanted)} -w 5 -t raw", f"-s {wanted} -j DROP"
    end = end_of_block(wanted)
    unit = f"photon-fleet-block-{re.sub('[^0-9a-f]', '-', wanted)}"
    # The end is arranged before the beginning.
    yield StringCommand(
        f"( {program} -N {CHAIN} 2>/dev/null; {program} -C PREROUTING -j {CHAIN} 2>/dev/null || "
        f"{program} -I PREROUTING 1 -j {CHAIN} || exit 1; systemctl stop {unit}.timer 2>/dev/null; "
        f"systemd-run --quiet --unit={unit} --on-active={minutes}min --timer-property=AccuracySec=1s "
        f"/bin/sh -c {shlex.quote(end)} && {program} -A {CHAIN} {rule} )"
    )


@operation()
def unblocked(address: str) -> Commands:
    """
    End a block before its time.

    + address: as it was blocked
    """
    wanted = require_network(address)
    if wanted not in read(Blocks):
        host.noop(f"{wanted} is not blocked")
        return
    unit = f"photon-fleet-block-{re.sub('[^0-9a-f]', '-', wanted)}"
    yield StringCommand(f"( {end_of_block(wanted)} && {{ systemctl stop {unit}.timer 2>/dev/null; true; }} )")


@operation()
def cleared_tdnf_lock() -> Commands:
    """Remove tdnf's lock file when nobody holds it. One that is held is refused with the process that does."""
    lock = read(TdnfLock)
    if lock["held_by"] or lock["packagers"]:
        who = lock["held_by"] or "; ".join(lock["packagers"])
        message = f"the packages of this host are being changed by process {who}: wait for its end, or end it yourself"
        raise OperationError(message)
    if not lock["there"]:
        host.noop("there is no lock")
        return
    yield StringCommand(f"rm -f {TDNF_LOCK}")


@operation()
def nobody_has(key: str) -> Commands:
    """
    Prove that no user's authorized_keys has a key; fails with the names of those whose has.

    + key: in base64
    """
    yield from ()
    if not state.is_executing:
        return
    holders = read(KeyHolders, key=key)
    if holders:
        message = f"the key is still in the authorized_keys of {', '.join(holders)}"
        raise OperationError(message)
    host.noop("nobody has it")
