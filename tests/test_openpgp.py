"""Fingerprints of OpenPGP keys, against a key that gpg made, and against rubbish."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from facts._openpgp import OpenPgpError, _packets, fingerprints, normalise_fingerprint, public_keys

FIXTURES = Path(__file__).parent / "fixtures" / "facts" / "rpm.RpmKeys"
RSA = "ACB79D33E93DB4EA6C2A03E76744CF190AF71B48"
ED25519 = "9C5FF7519B7849BE6AB7C5D9C654F5AB601FC5EE"


def armored(name):
    text = yaml.safe_load((FIXTURES / f"{name}.yaml").read_text())["output"]
    return "\n".join(line for line in text.splitlines() if not line.startswith("= "))


def test_what_gpg_says():
    assert fingerprints(armored("two_keys_in_one_armor")) == [RSA, ED25519]
    assert [key.uid for key in public_keys(armored("two_keys"))] == [
        "Photon packages <packages@example.com>",
        "Extra <extra@example.com>",
    ]
    assert public_keys(armored("two_keys"))[0].keyid == "6744CF190AF71B48"


def test_text_around_the_armor_and_line_ends_do_not_matter():
    text = "Our key:\n\n" + armored("two_keys_in_one_armor").replace("\n", "\r\n") + "\nEnd.\n"
    assert fingerprints(text) == [RSA, ED25519]


@pytest.mark.parametrize("text", ["", "<html>", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"])
def test_no_key(text):
    with pytest.raises(OpenPgpError, match="no armored public key"):
        fingerprints(text)


def test_a_private_key_is_no_public_key():
    text = armored("two_keys_in_one_armor").replace("PUBLIC", "PRIVATE")
    with pytest.raises(OpenPgpError):
        fingerprints(text)


def test_every_changed_character_is_seen():
    lines = armored("two_keys_in_one_armor").strip().splitlines()
    start = lines.index("") + 1
    for row in range(start, len(lines) - 1, 5):
        line = lines[row]
        changed = line[:3] + ("A" if line[3] != "A" else "B") + line[4:]
        with pytest.raises(OpenPgpError):
            fingerprints("\n".join([*lines[:row], changed, *lines[row + 1 :]]))


@pytest.mark.parametrize("text", [RSA, RSA.lower(), "ACB7 9D33 E93D B4EA 6C2A  03E7 6744 CF19 0AF7 1B48"])
def test_fingerprints_are_compared_in_one_form(text):
    assert normalise_fingerprint(text) == RSA


@pytest.mark.parametrize("text", ["", "0AF71B48", RSA[:-1], RSA + "0", "0x" + RSA, RSA[:-1] + "G"])
def test_only_whole_fingerprints(text):
    with pytest.raises(OpenPgpError):
        normalise_fingerprint(text)


@given(st.text(alphabet=st.sampled_from("-=BEGIN PGPUBLICKEYOCD:\nAz09+/"), max_size=300))
def test_no_armor_breaks_the_parser(inside):
    text = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n{inside}\n-----END PGP PUBLIC KEY BLOCK-----\n"
    with pytest.raises(OpenPgpError):
        fingerprints(text)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(data):
    with contextlib.suppress(OpenPgpError):
        assert sum(len(body) for _, body in _packets(data)) <= len(data)
