"""What every policy of the registry keeps, whichever it is.

The test file of a policy, tests/policies/test_NAME.py, has a function `examples(directory)` that gives two policies
which differ in every field.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import pytest

from deploys.policies import POLICIES
from deploys.policies.base import Check, Item, Model, Policy, Risk


def signature(policy: Policy) -> set[str]:
    """Everything that decides the verdicts: ids, expectations, and what reads are told to look for."""
    return {
        f"{check.id} {check.expect} {check.read.args if isinstance(check.read, partial) else ''}"
        for check in policy.checks()
    }


def changed(one: Model, other: Model, path: str = "") -> list[tuple[str, Model]]:
    """`one` with a single field taken from `other`, for each field, those of items and nested models included."""
    variants: list[tuple[str, Model]] = []
    for name in type(one).model_fields:
        ours, theirs = getattr(one, name), getattr(other, name)
        where = f"{path}{name}"
        if isinstance(ours, tuple) and ours and isinstance(ours[0], Item):
            for inner, item in changed(ours[0], theirs[0], f"{where}."):
                variants.append((inner, one.model_copy(update={name: (item, *theirs[1:])})))
        elif isinstance(ours, Model) and isinstance(theirs, Model) and not isinstance(ours, Item):
            variants += [
                (inner, one.model_copy(update={name: part})) for inner, part in changed(ours, theirs, f"{where}.")
            ]
        elif isinstance(one, Item) and name == one.identity:
            continue
        else:
            assert ours != theirs, f"the examples do not differ in {where}"
            variants.append((where, one.model_copy(update={name: theirs})))
    return variants


# What is about the machine itself has no checks on the host.
OF_HOSTS = [kind for kind in POLICIES if kind.of_host]


@pytest.fixture(params=OF_HOSTS, ids=lambda kind: kind.name)
def pair(request, tmp_path) -> tuple[Any, Any]:
    return import_module(f"tests.policies.test_{request.param.name}").examples(tmp_path)


def test_the_examples_are_of_the_policy(pair, request) -> None:
    assert type(pair[0]) is type(pair[1])
    assert pair[0].name in request.node.name


def test_a_field_that_changes_changes_a_check(pair) -> None:
    one, other = pair
    seen = {}
    for path, variant in changed(one, other):
        if path not in one.unproved:
            seen[path] = signature(variant) != signature(one)
    assert seen
    assert [path for path, differs in seen.items() if not differs] == []


def test_reasons_are_for_fields_that_exist(pair) -> None:
    one, other = pair
    paths = {path for path, _ in changed(one, other)}
    assert set(one.unproved) <= paths
    assert all(len(reason.split()) > 3 for reason in one.unproved.values())


def test_checks_are_named_once_and_say_what_they_prove(pair) -> None:
    for policy in pair:
        checks: list[Check] = list(policy.checks())
        ids = [check.id for check in checks]
        assert len(ids) == len(set(ids))
        for check in checks:
            assert check.id.startswith(f"{policy.name}.")
            assert check.proves
            assert check.field.partition("[")[0].partition(".")[0] in {"", *type(policy).model_fields}


def test_policies_are_frozen_and_strict(pair) -> None:
    kind = type(pair[0])
    assert kind.model_config["frozen"]
    assert kind.model_config["extra"] == "forbid"
    assert isinstance(kind.risk, Risk)


def test_names_are_unique() -> None:
    names = [kind.name for kind in POLICIES]
    assert len(names) == len(set(names))


def test_what_could_cut_the_connection_knows_its_way_back(pair) -> None:
    for policy in pair:
        assert (policy.undo() is not None) == (policy.risk is Risk.CONNECTIVITY)
