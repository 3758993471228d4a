"""Whose update an image is: what a host notes of rollouts that follow each other, and to where each goes back."""

from __future__ import annotations

import pytest
from pyinfra.api import OperationError

from facts.image import note
from operations._images import before_all
from tests.update.test_image import NEW, OLD, OTHER, RUNS, Host, host

__all__ = ["host"]


def noted(host: Host, *names: str) -> tuple[str, ...]:
    values = [host.state / "image" / name for name in names]
    return tuple(path.read_text().strip() if path.exists() else "" for path in values)


def takes(host: Host, of: str, running: str, new: str, *others: str) -> None:
    """An update of a rollout, and the boot into it."""
    host.boots(running, running, *others)
    assert host.call("note", of, running, "v1") == (0, "")
    host.boots(running, new, running)
    assert host.call("staged") == (0, "")
    host.boots(new, new, running)


def test_what_ran_before_the_first_update_of_a_rollout_is_kept(host) -> None:
    takes(host, "rollout-12", OLD, NEW)
    assert noted(host, "of", "first") == ("rollout-12", "")
    for _ in range(2):
        takes(host, "rollout-12", NEW, OTHER, OLD)
        assert noted(host, "before", "first", "first_version") == (NEW, OLD, "v1")
    assert noted(host, "over") == ("",)


@pytest.mark.parametrize("of", ["rollout-13", ""])
def test_an_image_of_another_rollout_is_noted_as_what_is_below(host, of) -> None:
    takes(host, "rollout-12", OLD, NEW)
    takes(host, of, NEW, OTHER, OLD)
    assert noted(host, "of", "first", "over") == (of, "", "rollout-12")


def test_an_image_that_was_left_or_never_booted_is_nobodys(host) -> None:
    takes(host, "rollout-12", OLD, NEW)
    for of in ("rollout-12", "rollout-13"):
        takes(host, of, OLD, OTHER, NEW)
        assert noted(host, "of", "first", "over") == (of, "", "")


def image(checksum: str, *roles: str) -> dict[str, object]:
    return {**RUNS, "checksum": checksum, "roles": list(roles)}


@pytest.mark.parametrize(
    "deployments",
    [
        # Staged over the first update; gone back already; the way back waits for its reboot.
        [image(OTHER, "staged"), image(NEW, "booted"), image(OLD, "rollback")],
        [image(OLD, "booted"), image(OTHER, "rollback")],
        [image(OLD, "pending"), image(NEW, "booted")],
    ],
)
def test_before_the_first_of_several_images(deployments) -> None:
    several = {**note(["end"]), "before": NEW, "staged": OTHER, "of": "rollout-12", "first": OLD, "first_version": "1"}
    found = {"tool": "ostree", "busy": None, "deployments": deployments}
    assert before_all(found, several) == {**several, "before": OLD, "before_version": "1"}
    found["deployments"] = [image(OTHER, "booted"), image(NEW, "rollback"), image(OLD, "pinned")]
    with pytest.raises(
        OperationError, match="has updated this host more than once, and 1, which ran before that, is not"
    ):
        before_all(found, several)
