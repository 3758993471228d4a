"""The curated OSTree repository: its script, and what is refused before a connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.errors import InputError
from deploys.policies.ostree_server import OstreeBranch, OstreeServer
from deploys.policies.package_mirror import MirroredRepository, PackageMirror
from deploys.policies.packages import SigningKey
from deploys.policies.secret import Secret
from tests.policies.certificates import certificate

KEY = Path(__file__).parents[2] / "inventories/keys/photon-example.asc"
FINGERPRINT = "068E132301CC89142680E0142C3912C85DF04BDC"
REF = "photon/5.0/x86_64/minimal"


def server(directory: Path, **fields: object) -> OstreeServer:
    return OstreeServer(
        **{
            "server_name": "images.example", "certificate": certificate(directory, "images.example"),
            "key": Secret.env("IMAGES_KEY"),
            "upstream_keys": [SigningKey(name="vendor", file=KEY, fingerprint=FINGERPRINT)],
            "branches": [OstreeBranch(ref=REF, url="https://up.example/repo", keys=["vendor"])],
            "signing_key": Secret.env("SIGNING_KEY"), "signing_fingerprint": "A" * 40,
            **fields,
        }
    )  # fmt: skip


def examples(directory: Path) -> tuple[OstreeServer, OstreeServer]:
    """Two policies that differ in every field, for the contract test."""
    return server(directory), server(
        directory, server_name="other.example", certificate=certificate(directory, "other.example"),
        key=Secret.file("other.key"), port=8443, channels=["ring-1", "ring-2"], keep=9, sync_at="03:30",
        upstream_keys=[SigningKey(name="vendor", file=KEY.with_name("other.asc"), fingerprint=FINGERPRINT[::-1])],
        branches=[OstreeBranch(ref=REF, url="http://other.example", keys=["other"], upstream="vendor/5.0")],
        signing_key=Secret.file("signing.asc"), signing_fingerprint="B" * 40,
    )  # fmt: skip


def test_the_script_names_what_is_pulled(tmp_path) -> None:
    branch = OstreeBranch(ref=REF, url="https://up.example/repo", keys=["vendor"], upstream="vendor/5.0")
    policy = server(tmp_path, branches=[branch])
    assert list(policy.problems()) == []
    text = policy.render_script()
    assert f"pull 1 https://up.example/repo vendor/5.0 vendor\n  curate {REF}\n" in text
    assert f"fingerprint={'A' * 40}\n" in text


def test_a_new_channel_needs_new_commits_as_they_are_bound_to_their_refs(tmp_path) -> None:
    policy = server(tmp_path)
    assert server(tmp_path, channels=["prod", "ring-1"]).made_of() != policy.made_of()
    assert server(tmp_path, keep=2, sync_at="hourly").made_of() == policy.made_of()


def test_problems_of_the_whole(tmp_path) -> None:
    policy = server(
        tmp_path, channels=["repo"],
        branches=[
            OstreeBranch(ref="photon", url="https://up.example", keys=["vendro"]),
            OstreeBranch(ref="photon/prod", url="https://up.example", keys=["vendor"]),
        ],
    )  # fmt: skip
    problems = "\n".join(policy.problems())
    assert "channels: 'repo' is a name that the server uses itself" in problems
    assert "branches[photon].keys: there is no key 'vendro' among upstream_keys" in problems
    assert "branches[photon/prod]: it is below photon" in problems
    assert "a server of nothing" in "".join(server(tmp_path, branches=[]).problems())


def test_two_servers_of_a_host_have_ports_of_their_own(tmp_path) -> None:
    images = server(tmp_path)
    mirror = PackageMirror(
        server_name="images.example", certificate=certificate(tmp_path, "images.example"), key=Secret.env("X"),
        repositories=[MirroredRepository(id="photon", url="https://up.example", keys=["vendor"])],
    )  # fmt: skip
    both = {"ostree_server": images, "package_mirror": mirror}
    found = [*images.conflicts(both), *mirror.conflicts(both)]
    assert found == ["port: the ostree_server policy of this host listens on 443, too"]
    assert not [*server(tmp_path, port=8443).conflicts({"package_mirror": mirror})]


@pytest.mark.parametrize("ref", ["", "/photon", "photon/", "-photon", "a//b", "a/../b", "a b", "a:b"])
def test_what_is_no_ref_is_refused(ref: str) -> None:
    with pytest.raises(InputError, match="is no ref"):
        OstreeBranch(ref=ref, url="https://up.example", keys=["k"])


def test_no_secret_is_shown(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("IMAGES_KEY", "very-secret")
    monkeypatch.setenv("SIGNING_KEY", "very-secret")
    policy = server(tmp_path)
    shown = f"{policy!r} {policy.to_json()} {policy.render_nginx()} {policy.render_script()} {policy.own_files()}"
    assert "very-secret" not in shown
