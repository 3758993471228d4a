"""What an inventory may say of its rollouts: every kind of gate, and what the documentation shows."""

from __future__ import annotations

import re

import pytest

from deploys.errors import InputError
from deploys.rollout.gate_kinds import CompareGate, ContainerGate, HostCommandGate, HostHttpGate, ProofGate
from deploys.rollout.settings import CommandGate, HttpGate, Rollout, SilenceGate, Webhook, settings_of
from tests.rollout.played import ROOT

URL = "https://shop.example.com"
GATES = [
    CommandGate(name="a", command=["true"]), HttpGate(name="b", url=URL), SilenceGate(name="c", url=URL),
    CompareGate(name="d", url=URL, query="up"), ProofGate(name="e"), HostCommandGate(name="f", command=["true"]),
    HostHttpGate(name="g", url=URL), ContainerGate(name="h"),
]  # fmt: skip


def test_every_kind_of_gate_may_be_given() -> None:
    assert list(Rollout(gates=GATES).gates) == GATES
    for each in GATES:
        assert Rollout(gates=[each]).gates == (each,)
    with pytest.raises(InputError, match="gates"):
        Rollout(gates=["alerts"])


def test_an_address_with_a_password_is_refused_without_a_word_of_it() -> None:
    for make in (lambda url: HttpGate(name="a", url=url), lambda url: Webhook(name="a", url=url)):
        with pytest.raises(InputError, match="it holds a name or a password before its @") as refused:
            make("https://bob:hunter2@shop.example.com/")
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_what_the_documentation_shows_of_rollouts_can_be_read(page, tmp_path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for number, block in enumerate(each for each in blocks if re.search(r"^rollout = Rollout\(", each, re.MULTILINE)):
        path = tmp_path / f"{number}.py"
        path.write_text(block)
        assert settings_of(str(path)).waves
