"""The diagnosis bundle: one text file for each host, readable by its maker only."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.context import ctx_host

from operations._around import connector_arguments
from operations._contain import Commands, fail, operation

SECONDS = 120
SECTIONS = {
    "system": "cat /etc/photon-release; uname -a; uptime; cat /proc/cmdline",
    "memory and disks": "free -m; df -h; df -i; lsblk; findmnt --real",
    "units": "systemctl --failed --no-pager; systemctl list-timers --all --no-pager; systemd-analyze blame --no-pager",
    "processes": "ps -eo pid,ppid,user,stat,pcpu,pmem,etime,comm --sort=-pcpu | head -n 60",
    "network": "ip addr; ip route; ip -6 route; ip rule; ss -Htulpn; cat /etc/resolv.conf; networkctl --no-pager",
    "firewall": "iptables-save; ip6tables-save",
    "ssh": "sshd -T",
    "docker": "docker info; docker ps -a --no-trunc; docker image ls; docker network ls; docker stats --no-stream",
    "packages": "rpm -qa --last | head -n 40; ls -l /var/run/.tdnf-instance-lockfile",
    "our own traces": "find /var/lib/photon-fleet /run/photon-fleet -path '*/env' -prune -o -ls; "
                      "cat /var/lib/photon-fleet/guard/last/verdict /var/lib/photon-fleet/records/*/*",
    "journal, warnings": "journalctl -b -p warning -n 400 --no-pager",
    "journal, kernel": "journalctl -b -k -n 200 --no-pager",
}  # fmt: skip

_SECRET = re.compile(
    r"(?i)((?:password|passwd|passphrase|secret|token|api[_-]?key|credential)[\"']?(?:\s*[=:]\s*|\s+(?=\S*\d))"
    r"|authorization[\"']?\s*[=:]\s*(?:bearer|basic)?\s*)(\S+)"
)
_IN_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/@]+:)[^\s@]+@")
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def without_secrets(text: str) -> str:
    """What looks like a secret, replaced. Nobody can tell all of them: look before you pass it on."""
    text = _KEY.sub("(a private key was here)", text)
    text = _IN_URL.sub(r"\1(removed)@", text)
    return _SECRET.sub(r"\1(removed)", text)


def _collect(directory: str) -> bool:
    target = ctx_host.get()
    lines = "; ".join(f"printf '\\n===== %s\\n' {label!r}; ( {command} ) 2>&1" for label, command in SECTIONS.items())
    _, output = target.run_shell_command(
        StringCommand(f"( {lines} )"), **{**connector_arguments(target), "_timeout": SECONDS}
    )
    path = Path(directory) / f"{target.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.txt"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(without_secrets("\n".join(line.line for line in output)) + "\n")
    except OSError as error:
        return fail(state, target, f"{path}: {error}")
    target.log(f"written: {path}")
    return True


@operation(is_idempotent=False, idempotent_notice="Each run writes a file of its own.")
def collected(directory: str) -> Commands:
    """
    Write what the host tells of itself into a file on the controller. Reads only.

    + directory: on the controller; it is made when missing
    """
    host.noop("it only reads")
    if state.is_executing:
        yield FunctionCommand(_told, (directory,), {})


def _told(state: object, host: object, directory: str) -> bool:  # noqa: ARG001 - pyinfra passes both by name
    return _collect(directory)
