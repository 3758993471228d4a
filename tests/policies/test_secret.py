"""Secrets are references until they are applied, and never appear otherwise."""

from __future__ import annotations

import pytest

from deploys.errors import InputError
from deploys.policies.secret import Secret, _resolve

VALUE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _forget() -> None:
    _resolve.cache_clear()


def test_three_ways(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PLANTED", VALUE)
    (tmp_path / "secret").write_text(f"{VALUE}\n")
    for secret in (Secret.env("PLANTED"), Secret.file(tmp_path / "secret"), Secret.command("echo", VALUE)):
        assert secret.resolve() == VALUE


def test_a_reference_shows_the_reference(monkeypatch) -> None:
    monkeypatch.setenv("PLANTED", VALUE)
    secret = Secret.env("PLANTED")
    assert secret.resolve() == VALUE
    for shown in (str(secret), repr(secret), f"{secret}", secret.model_dump_json()):
        assert VALUE not in shown
        assert "PLANTED" in shown


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (Secret.env("NOT_SET_ANYWHERE"), "no such environment variable"),
        (Secret.file("/nowhere/at/all"), "No such file"),
        (Secret.command("sh", "-c", f"echo {VALUE}; echo {VALUE} >&2; exit 3"), "status 3"),
        (Secret.command("no-such-program-anywhere"), "No such file"),
    ],
)
def test_what_cannot_be_had_is_an_error_without_the_value(secret: Secret, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        secret.resolve()
    if "sh" not in secret.reference:
        assert VALUE not in str(error.value)
