"""What journald and rsyslog are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.logging import Logging, Syslog


def examples(_: Path) -> tuple[Logging, Logging]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Logging(syslog=[Syslog(server="10.0.0.1")]),
        Logging(
            storage="volatile",
            max_use="100M",
            keep_free="1G",
            max_file="10M",
            retention_days=30,
            rate_limit_seconds=10,
            rate_limit_burst=500,
            forward_to_syslog=True,
            syslog=[Syslog(server="10.0.0.1", port=6514, protocol="udp", queue="10M")],
            journal_server="https://logs.example:19532",
        ),
    )


def test_the_journal_is_kept_on_disk_within_a_limit() -> None:
    assert Logging().render_journald().splitlines()[1:] == [
        "[Journal]", "Storage=persistent", "SystemMaxUse=1G", "MaxRetentionSec=0", "RateLimitIntervalSec=30s",
        "RateLimitBurst=10000",
    ]  # fmt: skip


def test_limits_of_a_journal_in_memory_have_other_names() -> None:
    text = Logging(storage="volatile", max_use="64M", keep_free="1G", max_file="8M").render_journald()
    assert "RuntimeMaxUse=64M\nRuntimeKeepFree=1G\nRuntimeMaxFileSize=8M\n" in text
    assert "System" not in text


def test_each_server_has_a_queue_of_its_own_that_holds_nothing_up() -> None:
    text = Logging(syslog=[Syslog(server="a.example"), Syslog(server="2001:db8::1", queue="50M")]).render_forward()
    assert text.count('queue.timeoutEnqueue="0"') == text.count('action.resumeRetryCount="-1"') == 2
    assert 'queue.filename="photon-fleet-a.example"' in text
    assert 'target="2001:db8::1"' in text
    assert 'queue.filename="photon-fleet-2001_db8__1"' in text
    assert 'queue.maxDiskSpace="50m"' in text


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"max_use": "1"}, "no size"),
        ({"max_use": "10%"}, "no size"),
        ({"storage": "none"}, "storage"),
        ({"retention_days": -1}, "retention_days"),
        ({"journal_server": "logs.example"}, "no URL"),
        ({"journal_server": "https://logs.example\nTrustedCertificateFile=/x"}, "no URL"),
        ({"syslogs": []}, "did you mean 'syslog'"),
    ],
)
def test_bad_fields_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Logging(**fields)


@pytest.mark.parametrize("server", ['x" port="1', "a b", "10.0.0.300", ""])
def test_bad_servers_are_refused(server: str) -> None:
    with pytest.raises(InputError, match="neither the name of a host nor an IP address"):
        Syslog(server=server)
