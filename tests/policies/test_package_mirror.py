"""The mirror of packages: its script, its server, and what is refused before a connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.package_mirror import MirroredRepository, PackageMirror
from deploys.policies.packages import SigningKey
from deploys.policies.secret import Secret
from tests.policies.certificates import certificate

KEY = Path(__file__).parents[2] / "inventories/keys/photon-example.asc"
FINGERPRINT = "068E132301CC89142680E0142C3912C85DF04BDC"


def mirror(directory: Path, **fields: object) -> PackageMirror:
    return PackageMirror(
        **{
            "server_name": "mirror.example", "certificate": certificate(directory, "mirror.example"),
            "key": Secret.env("MIRROR_KEY"),
            "signing_keys": [SigningKey(name="vendor", file=KEY, fingerprint=FINGERPRINT)],
            "repositories": [MirroredRepository(id="photon", url="https://up.example/photon/", keys=["vendor"])],
            **fields,
        }
    )  # fmt: skip


def examples(directory: Path) -> tuple[PackageMirror, PackageMirror]:
    """Two policies that differ in every field, for the contract test."""
    return mirror(directory), mirror(
        directory, server_name="other.example", certificate=certificate(directory, "other.example"),
        key=Secret.file("other.key"), port=8443, channels=["ring-1", "ring-2"], keep=9, sync_at="03:30",
        signing_keys=[SigningKey(name="vendor", file=KEY.with_name("other.asc"), fingerprint=FINGERPRINT[::-1])],
        repositories=[MirroredRepository(id="photon", url="http://other.example", keys=["other"])],
    )  # fmt: skip


def test_the_script_names_what_is_fetched(tmp_path) -> None:
    policy = mirror(tmp_path)
    assert list(policy.problems()) == []
    text = policy.render_script()
    assert "metadata photon https://up.example/photon\n" in text
    assert "contents photon https://up.example/photon vendor\n" in text
    assert f"made_of={policy.made_of()}\n" in text


def test_only_what_decides_a_snapshot_makes_a_new_one(tmp_path) -> None:
    policy = mirror(tmp_path)
    assert mirror(tmp_path, keep=2, port=8443, channels=["a"]).made_of() == policy.made_of()
    other = MirroredRepository(id="photon", url="https://up.example/other", keys=["vendor"])
    assert mirror(tmp_path, repositories=[other]).made_of() != policy.made_of()


def test_problems_of_the_whole(tmp_path) -> None:
    policy = mirror(
        tmp_path, server_name="www.example", channels=["staging"],
        repositories=[MirroredRepository(id="photon", url="https://up.example", keys=["vendro"])],
    )  # fmt: skip
    problems = "\n".join(policy.problems())
    assert "is for mirror.example, not www.example" in problems
    assert "channels: 'staging' is a name that the server uses itself" in problems
    assert "repositories[photon].keys: there is no key 'vendro' among signing_keys" in problems
    assert "a mirror of nothing" in "".join(mirror(tmp_path, repositories=[]).problems())


def test_a_certificate_that_ended_or_is_none_is_named(tmp_path) -> None:
    ended = mirror(tmp_path, certificate=certificate(tmp_path, "mirror.example", days=-1))
    assert "ended on 20" in "".join(ended.problems())
    (tmp_path / "none.pem").write_text("nothing")
    assert "holds no certificate in PEM" in "".join(mirror(tmp_path, certificate=tmp_path / "none.pem").problems())
    assert "No such file" in "".join(mirror(tmp_path, certificate=tmp_path / "not-there.pem").problems())


@pytest.mark.parametrize(
    "url", ["ftp://up.example", "https://up.example/$releasever", "https://u:p@up.example", "https://a/../b", "/srv/x"]
)
def test_what_is_no_upstream_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="no plain http"):
        MirroredRepository(id="x", url=url, keys=["k"])


def test_a_repository_needs_a_key() -> None:
    with pytest.raises(InputError, match="keys"):
        MirroredRepository(id="x", url="https://up.example", keys=[])


def test_the_key_is_never_shown(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MIRROR_KEY", "very-secret")
    policy = mirror(tmp_path)
    shown = f"{policy!r} {policy.to_json()} {policy.render_nginx()} {policy.render_script()} {policy.units()}"
    assert "very-secret" not in shown
