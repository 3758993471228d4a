"""Servers and zones: what is refused, and what timesyncd is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies import time
from deploys.policies.time import Time


def examples(_: Path) -> tuple[Time, Time]:
    """Two policies that differ in every field, for the contract test."""
    return (
        Time(servers=["10.0.0.1"]),
        Time(servers=["ntp.example"], fallback_servers=["2001:db8::1"], zone="Europe/Berlin", replace=True),
    )


def test_the_servers_of_other_files_do_not_count() -> None:
    lines = Time(servers=["a.example", "b.example"], fallback_servers=["10.0.0.1"]).render().splitlines()
    settings = [line for line in lines if line and not line.startswith(("#", "["))]
    assert settings == ["NTP=", "NTP=a.example b.example", "FallbackNTP=", "FallbackNTP=10.0.0.1"]


def test_without_fallback_servers_those_of_the_distribution_are_not_asked() -> None:
    assert Time(servers=["a.example"]).render().endswith("FallbackNTP=\nFallbackNTP=a.example\n")


def test_a_policy_without_any_server_is_refused_only_when_it_is_whole() -> None:
    assert list(Time(zone="Europe/Berlin").problems()) == [
        "servers: no server and no fallback server, so nothing would set the clock"
    ]
    assert list(Time(fallback_servers=["a.example"]).problems()) == []


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"zone": "Europe/Berlni"}, "no time zone 'Europe/Berlni' .did you mean 'Europe/Berlin'"),
        ({"zone": "../../etc/passwd"}, "no name of a time zone"),
        ({"zone": "/usr/share/zoneinfo/UTC"}, "no name of a time zone"),
        ({"zone": "-UTC"}, "no name of a time zone"),
        ({"zone": ""}, "no name of a time zone"),
        ({"servers": ["10.0.0.256"]}, "neither the name of a host nor an IP address"),
        ({"servers": ["a b"]}, "neither the name"),
        ({"servers": ["-a"]}, "neither the name"),
        ({"servers": ["a.example\nNTP=evil"]}, "neither the name"),
        ({"servers": ["https://a.example"]}, "neither the name"),
        ({"server": ["a.example"]}, "did you mean 'servers'"),
    ],
)
def test_bad_fields_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Time(**fields)


def test_a_controller_without_zones_leaves_the_question_to_the_host(monkeypatch) -> None:
    monkeypatch.setattr(time, "_known_zones", frozenset)
    assert Time(zone="Mars/Olympus").zone == "Mars/Olympus"
