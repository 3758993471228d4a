"""How the ssh policy's checks read a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from operations import sshd

if TYPE_CHECKING:
    from testinfra.host import Host

_MAY_BE_LEFT_OUT = {"gssapiauthentication": "no", "kerberosauthentication": "no"}
"""What an sshd that was built without it does not name."""


def effective(host: Host) -> Mapping[str, str]:
    """sshd's settings as sshd itself understands its file: keyword -> value, repeated keywords joined and sorted."""
    return _keywords(host.check_output("sshd -T"))


# Each setting is a check of its own, and all of them look at one answer.
@lru_cache(maxsize=128)
def _keywords(text: str) -> Mapping[str, str]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return {keyword: " ".join(sorted(values)) for keyword, values in found.items()}


def effective_value(keyword: str, host: Host) -> str:
    """One setting of sshd."""
    return effective(host).get(keyword, _MAY_BE_LEFT_OUT.get(keyword, "not set"))


def other_settings(known: set[str], host: Host) -> list[str]:
    """Lines of sshd_config that set something else than the policy does."""
    lines = host.check_output("cat /etc/ssh/sshd_config").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#") and line.strip() not in known]


def has_read_configuration(host: Host) -> bool:
    """Whether sshd was started, or told to read its file again, no earlier than the file changed (seconds)."""
    changed = host.file(sshd.PATH).mtime.timestamp()
    marker = host.file(sshd.MARKER)
    if marker.exists and int(marker.mtime.timestamp()) >= int(changed):
        return True
    pid = host.check_output("systemctl show --property=MainPID --value sshd.service")
    return int(host.check_output("stat -c %%Y /proc/%s", pid)) >= int(changed)


def missing_keys(user: str, keys: Sequence[str], host: Host) -> list[str]:
    """Those keys that the user's authorized_keys does not have."""
    home = host.check_output("getent passwd %s", user).split(":")[5]
    text = host.check_output("cat %s", f"{home}/.ssh/authorized_keys")
    return [key for key in keys if key not in text]
