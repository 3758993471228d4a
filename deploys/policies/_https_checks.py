"""What is true of every server for fleets without internet. All of it is asked on the host itself, over HTTPS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from deploys.policies.base import Check, file_check
from deploys.policies.logging import started_since

if TYPE_CHECKING:
    from testinfra.host import Host

SECONDS = 20


def server_checks(
    *, name: str, unit: str, etc: str, base: str, port: int, sync_at: str, server_name: str, pins: tuple[str, str],
    nginx: str, units: Mapping[str, str],
) -> Iterable[Check]:  # fmt: skip
    """Everything but what is published: the server, its certificate, what it refuses, and when it fetches."""
    service, timer = f"{unit}.service", f"{unit}-sync.timer"
    certificate, key = pins
    for each, label in ((service, "server"), (timer, "timer")):
        for verb, word in (("is-active", "active"), ("is-enabled", "enabled")):
            yield Check(
                id=f"{name}.{label}.{word}", field="", proves=f"{each} is {word}",
                read=partial(said, verb, each), expect=word,
            )  # fmt: skip
    yield Check(
        id=f"{name}.port", field="port", needs=f"{name}.server.active", proves=f"nginx listens on port {port}",
        read=partial(listener, port), expect="nginx",
    )  # fmt: skip
    yield Check(
        id=f"{name}.certificate", field="certificate", needs=f"{name}.port",
        proves=f"{server_name} shows the policy's certificate", read=partial(shown, server_name, port),
        expect=certificate,
    )  # fmt: skip
    yield Check(
        id=f"{name}.old-tls", field="", needs=f"{name}.port", proves="TLS before 1.2 is refused",
        read=partial(old_tls, server_name, port), expect="refused",
    )  # fmt: skip
    yield Check(
        id=f"{name}.answers", field="server_name", needs=f"{name}.port",
        proves=f"{server_name} lists no directory, and hides what is not published",
        read=partial(statuses, server_name, port, key, ("", "staging/", ".staging")),
        expect=["404", "404", "404"],
    )  # fmt: skip
    yield file_check(f"{name}.key", "key", f"{etc}/server.pem", "600")
    yield Check(
        id=f"{name}.nginx", field="port", proves="nginx.conf is the policy's",
        read=partial(text_of, f"{etc}/nginx.conf"), expect=nginx.rstrip("\n"),
    )  # fmt: skip
    for path in (f"{etc}/nginx.conf", f"{etc}/server.pem"):
        yield Check(
            id=f"{name}.in-force[{path.rpartition('/')[2]}]", field="", needs=f"{name}.server.active",
            proves=f"the server was started since {path} changed", read=partial(started_since, service, path),
            expect=True,
        )  # fmt: skip
    for place, text in units.items():
        yield Check(
            id=f"{name}.unit[{place}]", field="sync_at" if place == timer else "",
            proves=f"{place} is as the policy has it",
            read=partial(text_of, f"/etc/systemd/system/{place}"),
            expect=text.rstrip("\n"),
        )  # fmt: skip
    yield Check(
        id=f"{name}.next", field="sync_at", needs=f"{name}.timer.active", proves=f"it will fetch again: {sync_at}",
        read=lambda host: host.check_output("systemctl show --property=NextElapseUSecRealtime --value %s", timer) != "",
        expect=True,
    )  # fmt: skip
    yield Check(
        id=f"{name}.last-fetch", field="", proves="the last fetch succeeded, or one is under way",
        read=partial(last_fetch, base), expect="ok",
    )  # fmt: skip


def text_of(path: str, host: Host) -> str:
    """What is in a file, without its last line end."""
    return str(host.check_output("cat %s", path))


def said(verb: str, unit: str, host: Host) -> str:
    """systemctl's word about a unit."""
    return str(host.run(f"systemctl {verb} %s", unit).stdout).strip()


def listener(port: int, host: Host) -> str:
    """The program that listens on a port."""
    words = host.check_output("ss -Hltnp sport = %s", f":{port}")
    return words.partition('users:(("')[2].partition('"')[0] or "nobody"


def shown(server_name: str, port: int, host: Host) -> str:
    """The SHA-256 of the certificate that is shown to who asks for the name."""
    answer = host.check_output(
        f"timeout {SECONDS} openssl s_client -connect %s -servername %s </dev/null 2>/dev/null | "
        "openssl x509 -noout -fingerprint -sha256",
        f"127.0.0.1:{port}", server_name,
    )  # fmt: skip
    return str(answer).partition("=")[2].replace(":", "").lower()


def old_tls(server_name: str, port: int, host: Host) -> str:
    """Whether a handshake of TLS 1.1 is taken."""
    done = host.run(
        f"timeout {SECONDS} openssl s_client -tls1_1 -cipher %s -connect %s -servername %s </dev/null",
        "DEFAULT:@SECLEVEL=0", f"127.0.0.1:{port}", server_name,
    )  # fmt: skip
    return "accepted" if done.rc == 0 else "refused"


def request(server_name: str, port: int, key: str, place: str) -> str:
    """The start of the command that asks the host itself for a file, as a client does; the key is pinned."""
    return (
        f"curl --silent --show-error --path-as-is --max-time {SECONDS} --noproxy '*' --insecure "
        f"--pinnedpubkey 'sha256//{key}' --resolve {server_name}:{port}:127.0.0.1 'https://{server_name}:{port}/{place}'"
    )


def statuses(server_name: str, port: int, key: str, places: Iterable[str], host: Host) -> list[str]:
    """The HTTP status of each place."""
    return [
        host.run(f"{request(server_name, port, key, place)} -o /dev/null -w '%{{http_code}}'").stdout.strip()
        for place in places
    ]


def digest_of(path: str, host: Host) -> str:
    """The SHA-256 of a file."""
    return str(host.check_output("sha256sum < %s", path)).split()[0]


def last_fetch(base: str, host: Host) -> str:
    """`ok`, or what the last fetch failed of."""
    text = str(host.check_output("cat %s", f"{base}/said"))
    if text.startswith("running "):
        idle = host.run("flock --nonblock %s true", f"{base}/fetch.lock").rc == 0
        return f"{text}, and nobody goes on with it: it was killed" if idle else "ok"
    return "ok" if text.startswith("ok ") else text
