"""Logging: how much the journal keeps, and where logs are sent.

Logs go to syslog servers through rsyslog, each with a queue on disk of its own: a server that is down holds nothing up,
and gets what it missed when it is back; a full queue drops what is new. Or they go to a journal server, through
systemd-journal-upload.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from typing_extensions import override

from deploys.policies.base import Check, Item, Policy, Risk, file_check
from deploys.policies.render import render
from deploys.policies.types import Port, Server
from operations import file, journal, systemd, tdnf
from operations.journal import UPLOAD, UPLOAD_UNIT

if TYPE_CHECKING:
    from testinfra.host import Host

JOURNALD = "systemd-journald.service"
LIMITS = "/etc/systemd/journald.conf.d/90-photon-fleet.conf"
RSYSLOG = "rsyslog.service"
FORWARD = "/etc/rsyslog.d/90-photon-fleet.conf"
SPOOL = "rsyslog.service.d/photon-fleet-logging.conf"


def _size(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[KMGT]", value):
        message = f"{value!r} is no size, such as 500M or 2G"
        raise ValueError(message)
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._/-]*)?", value):
        message = f"{value!r} is no URL of a journal server, such as https://logs.example:19532"
        raise ValueError(message)
    return value


Size = Annotated[str, AfterValidator(_size)]
Url = Annotated[str, AfterValidator(_url)]


class Syslog(Item):
    """A syslog server (RFC 5424) that gets everything."""

    identity: ClassVar[str] = "server"

    server: Server
    port: Port = 514
    protocol: Literal["tcp", "udp"] = "tcp"
    """With udp nobody notices that a server is down: what is sent then is lost."""
    queue: Size = "1G"
    """How much is kept on disk for a server that is down."""

    @property
    def queue_name(self) -> str:
        """Names the queue's files; no two servers share one."""
        return f"photon-fleet-{re.sub(r'[^A-Za-z0-9.-]', '_', self.server)}"


class Logging(Policy):
    """What a host keeps of its logs, and where it sends them."""

    name: ClassVar[str] = "logging"
    risk: ClassVar[Risk] = Risk.SERVICE

    storage: Literal["persistent", "volatile", "auto"] = "persistent"
    """On disk, in memory only, or on disk when /var/log/journal is there."""
    max_use: Size = "1G"
    """What all journals together may take."""
    keep_free: Size | None = None
    """What they leave to others on their disk; journald's own rule (15 %) when None."""
    max_file: Size | None = None
    retention_days: int = Field(default=0, ge=0, le=3650)
    """Older entries are deleted; 0 keeps them for as long as there is space."""
    rate_limit_seconds: int = Field(default=30, ge=0, le=3600)
    rate_limit_burst: int = Field(default=10000, ge=0, le=1_000_000)
    """How many entries one service may write in that time; 0 for either switches the limit off."""
    forward_to_syslog: bool | None = None
    """Hand entries to the syslog socket; None leaves it to the distribution, whose rsyslog reads the journal."""
    syslog: tuple[Syslog, ...] = ()
    journal_server: Url | None = None

    def settings(self) -> list[tuple[str, str, str]]:
        """(field, journald's key, value): what the policy decides of journald.conf."""
        place = "Runtime" if self.storage == "volatile" else "System"
        pairs = [
            ("storage", "Storage", self.storage),
            ("max_use", f"{place}MaxUse", self.max_use),
            ("keep_free", f"{place}KeepFree", self.keep_free),
            ("max_file", f"{place}MaxFileSize", self.max_file),
            ("retention_days", "MaxRetentionSec", f"{self.retention_days}day" if self.retention_days else "0"),
            ("rate_limit_seconds", "RateLimitIntervalSec", f"{self.rate_limit_seconds}s"),
            ("rate_limit_burst", "RateLimitBurst", str(self.rate_limit_burst)),
            ("forward_to_syslog", "ForwardToSyslog", {True: "yes", False: "no"}.get(self.forward_to_syslog)),  # type: ignore[arg-type]
        ]
        return [(field, key, value) for field, key, value in pairs if value is not None]

    def render_journald(self) -> str:
        """The text of journald's drop-in."""
        return render("logging/journald", settings=[(key, value) for _, key, value in self.settings()])

    def render_forward(self) -> str:
        """The text of rsyslog's file."""
        return render("logging/rsyslog", servers=self.syslog)

    @override
    def apply(self) -> None:
        systemd.configured(name="Limit the journal", unit=JOURNALD, path=LIMITS, content=self.render_journald())
        if self.syslog:
            tdnf.packages(name="Install rsyslog", present=["rsyslog"])
            systemd.definitions(
                name="Give rsyslog a place for its queues", files={SPOOL: render("logging/spool")}, restart=[RSYSLOG]
            )
            systemd.configured(
                name="Send logs to syslog servers", unit=RSYSLOG, path=FORWARD, content=self.render_forward(),
                # The queues may name what is to be kept from others: the file is root's, as the queues are.
                mode="600", check='rsyslogd -N1 -f "$new" 2>&1 || exit 1',
            )  # fmt: skip
            systemd.unit(name="Run rsyslog, now and at boot", unit=RSYSLOG, running=True, enabled=True)
        else:
            file.absent(name="Send nothing to syslog servers", path=FORWARD, after=f"systemctl try-restart {RSYSLOG}")
        journal.upload(name="Send the journal to its server", url=self.journal_server)

    @override
    def checks(self) -> Iterable[Check]:
        for field, key, value in self.settings():
            yield Check(
                id=f"logging.{key}", field=field, proves=f"journald's files say {key}={value}",
                read=partial(decided, key, value), expect=value,
            )  # fmt: skip
        yield file_check("logging.file", "", LIMITS, "644")
        yield Check(
            id="logging.in-force", field="", proves="journald was started since its settings changed",
            read=partial(started_since, JOURNALD, LIMITS), expect=True,
        )  # fmt: skip
        yield Check(
            id="logging.journal", field="storage", proves=f"the journal is {self.storage}",
            read=partial(journal_kept, self.storage), expect=self.storage,
        )  # fmt: skip
        if self.syslog:
            yield from self._syslog_checks()
        else:
            yield Check(
                id="logging.syslog", field="syslog", proves="no syslog server gets anything by this policy",
                read=lambda host: host.file(FORWARD).exists, expect=False,
            )  # fmt: skip
        wanted = self.journal_server is not None
        yield Check(
            id="logging.upload", field="journal_server", proves=f"the journal is {'' if wanted else 'not '}uploaded",
            read=uploads_to, expect=self.journal_server or "nowhere",
        )  # fmt: skip

    def _syslog_checks(self) -> Iterable[Check]:
        yield Check(
            id="logging.rsyslog", field="", proves="rsyslog runs",
            read=lambda host: host.service(RSYSLOG).is_running, expect=True,
        )  # fmt: skip
        yield Check(
            id="logging.rsyslog.boot", field="", proves="rsyslog starts at boot",
            read=lambda host: host.service(RSYSLOG).is_enabled, expect=True,
        )  # fmt: skip
        yield file_check("logging.rsyslog.file", "", FORWARD, "600")
        yield Check(
            id="logging.rsyslog.spool", field="", proves="rsyslog has a place for its queues",
            read=lambda host: host.check_output("stat -c %F:%U /var/lib/rsyslog"), expect="directory:root",
        )  # fmt: skip
        yield Check(
            id="logging.rsyslog.in-force", field="syslog", proves="rsyslog was started since its settings changed",
            read=partial(started_since, RSYSLOG, FORWARD), expect=True, needs="logging.rsyslog",
        )  # fmt: skip
        yield Check(
            id="logging.syslog", field="syslog",
            proves=f"everything is sent to {', '.join(server.server for server in self.syslog)}",
            read=lambda host: host.check_output("cat %s", FORWARD), expect=self.render_forward().rstrip("\n"),
        )  # fmt: skip


def decided(key: str, wanted: str, host: Host) -> str:
    """The value that journald's files give a key, with the file that decides when it is another one."""
    path = value = ""
    for line in host.check_output("systemd-analyze cat-config --no-pager systemd/journald.conf").splitlines():
        if line.startswith("# /") and line.endswith(".conf"):
            path = line[2:]
        name, equals, text = line.partition("=")
        if equals and name.strip() == key:
            value, decides = text.strip(), path
    if value == wanted:
        return value
    return f"{value} by {decides}" if value else "not set"


def started_since(unit: str, path: str, host: Host) -> bool:
    """Whether the unit's process began no earlier than the file was last changed (seconds)."""
    pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
    started, changed = (host.check_output("stat -Lc %%Y %s", place) for place in (f"/proc/{pid}", path))
    return int(started) >= int(changed)


def journal_kept(storage: str, host: Host) -> str:
    """Where journald writes, by the files that it has open; `auto` may be either."""
    pid = host.check_output("systemctl show --property=MainPID --value %s", JOURNALD)
    opened = host.check_output(
        "find %s -lname %s -printf %s", f"/proc/{pid}/fd", "*/system.journal", "%l\\n"
    ).splitlines()
    found = (
        "nowhere" if not opened else "volatile" if all(path.startswith("/run/") for path in opened) else "persistent"
    )
    return storage if storage == "auto" and found != "nowhere" else found


def uploads_to(host: Host) -> str:
    """Where the journal goes: the URL of the policy's file when the unit runs and is enabled."""
    if not host.file(UPLOAD).exists:
        return "nowhere"
    words = [host.run(f"systemctl {verb} %s", UPLOAD_UNIT).stdout.strip() for verb in ("is-active", "is-enabled")]
    if words != ["active", "enabled"]:
        return f"nowhere, as {UPLOAD_UNIT} is {' and '.join(words)}"
    return str(host.check_output("sed -n s/^URL=//p %s", UPLOAD))
