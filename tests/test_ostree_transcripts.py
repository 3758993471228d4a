"""The parsers against every recorded run of ostree 2022.7 of the commands in use, and rpm-ostree's documents.

The runs are of a real ostree, in a chroot and (`booted-*`) inside of a host that it booted. rpm-ostree could not be
run: of its documents four are upstream's own, the `constructed-*` follow its source.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactProcessError

from facts import _ostree, ostree
from facts._answer import Answer, AnswerError
from facts._ostree_sentences import known, sentence
from facts.ostree import Deployments, EtcDifferences, ImageHistory

FOLDER = Path(__file__).parent / "transcripts"
RUNS = [json.loads(line) for line in (FOLDER / "ostree" / "2022.7.jsonl").read_text().splitlines()]
BY_NAME = {run["name"]: run for run in RUNS}
DOCUMENTS = sorted((FOLDER / "rpm-ostree").glob("*.json"))
# A usage text, an abort of ostree's own, and what `os-init` says: nothing that a person of a fleet meets.
OWN_WORDS = {
    "admin-unknown-command", "unknown-command", "undeploy-no-index", "booted-finalize-boot-complete-by-hand",
    "admin-os-init-again", "refs-create-exists",
}  # fmt: skip


def command(run) -> str:
    """`admin status`, `log`, ...: the command without its options."""
    words = run["argv"][run["argv"].index("ostree") + 1 :] if "ostree" in run["argv"] else ["sh"]
    words = [word for word in words if not word.startswith("-")]
    return " ".join(words[:2] if words[0] == "admin" else words[:1])


def answered(run) -> Answer:
    return Answer(run["exit"], run["stdout"], run["stderr"])


def lines(run) -> list[str]:
    """What a fact gets to see of the run."""
    return f"{run['stderr']}\n{_ostree.MARK}{run['exit']}\n{run['stdout']}".splitlines()


def parsed(run):
    """What our parser of this command makes of the answer."""
    parser = {
        "admin status": _ostree.text_deployments, "log": _ostree.log, "admin config-diff": _ostree.differences,
    }[command(run)]  # fmt: skip
    return parser(run["stdout"])


def is_parsed(run) -> bool:
    return run["exit"] == 0 and command(run) in {"admin status", "log", "admin config-diff"}


@pytest.mark.parametrize("run", [run for run in RUNS if is_parsed(run)], ids=lambda run: run["name"])
def test_an_answer_is_parsed_whole(run) -> None:
    found = parsed(run)
    text = run["stdout"]
    if command(run) == "admin status":
        assert [f"{each['checksum']}.{each['serial']}" for each in found] == re.findall(r"[0-9a-f]{64}\.\d+", text)
        assert len([each for each in found if each["version"]]) == text.count("    Version: ")
        assert len([each for each in found if "pinned" in each["roles"]]) == text.count("    Pinned: yes")
        marked = re.findall(r"(?m)^..(\S+) ([0-9a-f]{64})\.(\d+) \((\w+)\)$", text)
        roles = {(each["stateroot"], each["checksum"], str(each["serial"])): each["roles"] for each in found}
        assert all(mark in roles[stateroot, checksum, serial] for stateroot, checksum, serial, mark in marked)
        assert len([each for each in found if "booted" in each["roles"]]) == text.count("* ")
    elif command(run) == "log":
        assert [each["checksum"] for each in found] == re.findall(r"(?m)^commit (\S+)", text)
        assert all(each["version"] and each["date"] and each["subject"] for each in found)
        assert found[-1]["parent"] is None
    else:
        assert len(found) == len(text.splitlines())


@pytest.mark.parametrize("run", [run for run in RUNS if run["exit"]], ids=lambda run: run["name"])
def test_a_failed_run_has_a_sentence(run) -> None:
    said = sentence(f"ostree {command(run)}", answered(run))
    assert "\n" not in said
    assert "error:" not in said
    if run["name"] not in OWN_WORDS and run["exit"] != 124:
        assert known(run["stderr"] or run["stdout"]), said


def test_everything_is_parsed_or_refused(record_property) -> None:
    counted = {"parsed": 0, "refused": 0, "ran": 0}
    for run in RUNS:
        if run["exit"]:
            assert sentence("ostree", answered(run))
            counted["refused"] += 1
        elif is_parsed(run):
            parsed(run)
            counted["parsed"] += 1
        else:
            counted["ran"] += 1
    for path in DOCUMENTS:
        try:
            _ostree.json_status(path.read_text())
            counted["parsed"] += 1
        except AnswerError:
            counted["refused"] += 1
    assert counted["parsed"] > 40
    assert counted["refused"] > 60
    text = (
        "{parsed} recorded ostree and rpm-ostree runs parsed, {refused} refused with a sentence, {ran} ran in silence"
    )
    record_property("summary", text.format(**counted))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("http-connection-refused",
         ("the repository does not answer at http://127.0.0.1:8078/repo/summary.sig: see whether its server runs, and "
         "whether this host may reach it")),
        ("http-404-repo",
         ("the repository lacks a file that it should have (HTTP 404): the remote's url is wrong, or the repository "
         "was pruned or published in part")),
        ("http-dns-failure",
         ("the name in http://repo.invalid/repo/summary.sig is not known to this host: see its name servers, and the "
         "url of the remote")),
        ("gpg-upgrade-wrong-key",
         ("commit c56dc5a1b264 is signed with the key 4F3A34A72E621D27, which this host does not trust for the remote: "
         "give the remote that key if it is yours, and find out who signed if it is not")),
        ("booted-upgrade-unsigned-refused",
         ("commit 12c0e829ecba is not signed, and its remote accepts signed ones only: sign it on the server (ostree "
         "gpg-sign)")),
        ("no-space-enospc", "the disk is full: nothing was installed"),
        ("no-space-min-free",
         "the disk is too full for the image: 3% of it must stay free, and 20.0 MB are needed"),
        ("booted-finalize-boot-full-upgrade-nonstaged-fails",
         ("/boot is full: the kernel of the new image does not fit beside the others. Take back what is not needed "
         "(ostree admin status lists it; one that is pinned stays until it is unpinned), or make /boot larger")),
        ("pull-ref-binding-mismatch",
         ("the commit was made for photon/5.0/x86_64/minimal, not for photon/5.0/x86_64/stable: it must be committed "
         "with --bind-ref for every branch that it is promoted to")),
        ("gpg-verify-summary-unsigned",
         ("the summary of the repository is not signed, and the remote asks for that (gpg-verify-summary): sign it "
         "with `ostree summary -u --gpg-sign=KEY` on the server")),
        ("pull-unknown-ref",
         ("the repository does not offer 'photon/5.0/x86_64/full': see the name, and whether `ostree summary -u` was "
         "run on the server since it was published")),
    ],
)  # fmt: skip
def test_what_is_said(name, said) -> None:
    assert sentence("ostree pull", answered(BY_NAME[name])) == f"ostree pull: {said}"


def test_a_held_lock_is_told_apart_from_slowness() -> None:
    held = answered(BY_NAME["cleanup-while-locked-timeout"])
    assert "another run of ostree holds the lock" in sentence("ostree admin cleanup", held)
    assert sentence("ostree pull", Answer(124, "", "")) == "ostree pull did not end in time"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("error: While pulling: While fetching http://x/summary: Not normal form", "is no OSTree repository"),
        ("error: Transaction in progress: upgrade", "rpm-ostree is busy with something else"),
        ("error: System transaction in progress", "rpm-ostree is busy with something else"),
        ("error: Importing rpm 'x': Unsupported path: opt/x/bin; See https://example.com", "has the file /opt/x/bin"),
        ("error: Packages not found: nope", "no repository of this host has nope"),
        ("error: Staged deployment (remove with cleanup -p)", "an update is staged"),
        ("error: While fetching https://x/config: [60] SSL certificate problem", "see the remote's tls_ca_path"),
    ],
)
def test_what_could_not_be_recorded(text, said) -> None:
    assert said in sentence("rpm-ostree", Answer(1, "", text))


def test_a_list_that_may_be_a_part_is_no_list() -> None:
    with pytest.raises(FactProcessError, match="is not signed"):
        Deployments().process(["= ostree", *lines(BY_NAME["booted-status-after-set-origin"])])


def test_no_deployments_on_a_host_that_runs_one() -> None:
    with pytest.raises(FactProcessError, match="is /boot mounted"):
        Deployments().process(["= ostree", *lines(BY_NAME["admin-status-no-deployments"])])


def test_none_that_is_booted_on_a_host_that_runs_one() -> None:
    with pytest.raises(FactProcessError, match="none of the deployments is the one that runs"):
        Deployments().process(["= ostree", *lines(BY_NAME["status-two-not-booted"])])


@pytest.mark.parametrize("fact", [Deployments, ImageHistory, EtcDifferences])
def test_a_package_host_is_no_image_host(fact) -> None:
    assert fact().process([_ostree.PACKAGE_HOST]) is None


def roles_of(name) -> list[list[str]]:
    return [each["roles"] for each in _ostree.text_deployments(BY_NAME[name]["stdout"])]


def test_roles_follow_from_the_order() -> None:
    assert roles_of("booted-status-three-with-pinned") == [["pending"], ["booted"], ["rollback", "pinned"]]
    assert roles_of("booted-status-staged") == [["staged", "pending"], ["booted"]]
    assert roles_of("booted-status-two-stateroots-default-is-other")[0] == []
    assert roles_of("booted-status-two-stateroots-default-is-other")[1] == ["pending"]


def test_a_pending_one_under_a_staged_one_is_not_what_the_next_boot_starts() -> None:
    text = BY_NAME["booted-status-pending"]["stdout"]
    staged = text.replace("(pending)", "(staged)").splitlines()[:3]
    unmarked = text.replace(" (pending)", "").splitlines()
    found = _ostree.text_deployments("\n".join([*staged, *unmarked]))
    assert [each["roles"] for each in found] == [["staged", "pending"], [], ["booted"]]


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if "db-diff" not in path.name], ids=lambda path: path.stem)
def test_documents_of_rpm_ostree(path) -> None:
    listed = json.loads(path.read_text())["deployments"]
    found, busy = _ostree.json_status(path.read_text())
    assert [each["checksum"] for each in found] == [each["checksum"] for each in listed]
    assert [("booted" in each["roles"]) for each in found] == [each["booted"] for each in listed]
    assert [("staged" in each["roles"]) for each in found] == [each.get("staged", False) for each in listed]
    assert not any((each["origin"] or "").startswith("ostree://") for each in found)
    assert (busy == "Upgrade") is ("busy" in path.stem)


def test_what_is_layered() -> None:
    path = FOLDER / "rpm-ostree" / "constructed-photon5-rollback-pinned-layered.json"
    (booted, back), _ = _ostree.json_status(path.read_text())
    assert booted["layered"] == ["htop", "vim"]
    assert booted["base_checksum"] != booted["checksum"]
    assert back["roles"] == ["rollback", "pinned"]
    path = FOLDER / "rpm-ostree" / "status-silverblue33-layered-overrides.json"
    assert _ostree.json_status(path.read_text())[0][0]["overridden"] == [
        "rpm-ostree-2021.1-2.fc33.x86_64", "rpm-ostree-libs-2021.1-2.fc33.x86_64",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("origin", "parts"),
    [
        ("photon:photon/5.0/x86_64/minimal", ("photon", "photon/5.0/x86_64/minimal")),
        ("0" * 64, None), (None, None), ("docker://quay.io/x:stable", None), ("-x:y", None), ("fedora/33/x86_64", None),
    ],
)  # fmt: skip
def test_a_branch_of_a_remote(origin, parts) -> None:
    assert _ostree.split_refspec(origin) == parts


@given(st.text(max_size=300), st.text(max_size=300), st.integers(0, 255))
def test_no_text_breaks_the_parsers(stdout, stderr, status) -> None:
    assert sentence("ostree", Answer(status, stdout, stderr))
    for parser in (_ostree.text_deployments, _ostree.log, _ostree.differences, _ostree.json_status):
        with contextlib.suppress(AnswerError):
            parser(stdout)


pieces = st.sampled_from(
    ["= ostree", "= rpm-ostree", "= end", "= keys end", "= key a", "= 644 root:root /a", ' [remote "a"]', " url=b",
     f"{_ostree.MARK}0", f"{_ostree.MARK}1", "No deployments.", "{}", '{"deployments": [{}]}', "1 2 3", "yes", "commit"]
)  # fmt: skip


@pytest.mark.parametrize("name", ostree.__all__)
@given(lines=st.lists(pieces | st.text(max_size=60), max_size=8))
def test_an_answer_of_any_kind_fails_one_host_at_most(name, lines) -> None:
    with contextlib.suppress(FactProcessError):
        getattr(ostree, name)().process(lines)
