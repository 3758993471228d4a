"""What a diagnosis leaves out."""

from __future__ import annotations

import pytest

from deploys.fixes._diagnosis import without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2", "POSTGRES_PASSWORD: hunter2", '"token": "hunter2",', "Authorization: hunter2",
        "Authorization: Bearer hunter2",
        "cmd --password hunter2",
        "http_proxy=http://me:hunter2@proxy:3128", "api-key = hunter2", "client_secret=hunter2 rest",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2",
    ],
)  # fmt: skip
def test_secrets_are_left_out(text: str) -> None:
    assert "hunter2" not in without_secrets(text)


def test_the_rest_stays() -> None:
    text = "eth0: 10.0.0.5/24\nsshd[1]: Failed password for root from 203.0.113.7 port 22"
    assert without_secrets(text) == text
