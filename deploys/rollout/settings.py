"""How a fleet's rollouts go on: what an inventory file says in its variable `rollout`.

rollout = Rollout(
waves=[Share(count=1), Share(percent=10), Share(group="web"), Share()],
failed=Most(wave=0), bake_minutes=[10, 30], gates=[HttpGate(name="alerts", url=...)], on_fail="all go back",
)
"""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, InstanceOf, SecretStr
from typing_extensions import override

from deploys.policies.base import Item, Model
from deploys.policies.secret import Secret
from deploys.policies.types import Line, Word
from deploys.policies.update_window import Freeze, Window, opens_next
from deploys.refusal import Refusal
from deploys.rollout.gate_kinds import (
    CompareGate,
    ContainerGate,
    HostCommandGate,
    HostHttpGate,
    ProofGate,
    address_problems,
)
from deploys.rollout.model import Budget, OnFail, Spec
from deploys.rollout.store.outbox import Event
from deploys.rollout.waves import Step

VARIABLE = "rollout"
"""Of an inventory file."""
Percent = Annotated[float, Field(gt=0, le=100)]


class Share(Model):
    """The hosts of a wave: so many, so many percent of all, those of a group that are left, or simply all that are."""

    count: Annotated[int, Field(ge=1)] | None = None
    percent: Percent | None = None
    group: Word | None = None
    apart: bool = True
    """No two of one failure domain; what would be goes into later waves."""
    approval: bool = False
    """A person lets it begin: each of the waves, where failure domains make several of it."""

    @override
    def contradictions(self) -> Iterable[str]:
        given = [name for name in ("count", "percent", "group") if getattr(self, name) is not None]
        if len(given) > 1:
            yield f"{' and '.join(given)} are given: at most one of them"

    def step(self) -> Step:
        """The same for the plan."""
        rest = self.count is None and self.percent is None and self.group is None
        return Step(count=self.count, percent=self.percent, group=self.group, rest=rest, apart=self.apart)


class Most(Model):
    """How many hosts may fail (or be unreachable) before a wave is over; the smallest limit counts."""

    wave: Annotated[int, Field(ge=0)] | None = None
    wave_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    whole: Annotated[int, Field(ge=0)] | None = None
    whole_percent: Annotated[float, Field(ge=0, le=100)] | None = None

    def budget(self) -> Budget:
        """The same for the decision."""
        return Budget(self.wave, self.wave_percent, self.whole, self.whole_percent)


class CommandGate(Item):
    """A command on the controller: 0 passes, 75 cannot tell, anything else fails.

    PHOTON_FLEET_WAVE and PHOTON_FLEET_HOSTS in its environment say of whom.
    """

    name: Word
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    seconds: Annotated[float, Field(gt=0, le=3600)] = 60


class HttpGate(Item):
    """A question over HTTP from the controller: passes when the answer has the status, and the text that is sought."""

    name: Word
    url: Line
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str = ""
    absent: str = ""
    """A text that must not be in the answer."""
    token: Secret | None = None
    """Sent as a bearer token."""
    seconds: Annotated[float, Field(gt=0, le=300)] = 10

    @override
    def contradictions(self) -> Iterable[str]:
        yield from address_problems(self.url, self.token)


class SilenceGate(Item):
    """Silence of alerts: a query of Prometheus' (`/api/v1/query`) whose answer is to be empty."""

    name: Word
    url: Line
    """Of the server, such as https://prometheus.example.com"""
    query: Annotated[str, Field(min_length=1)] = 'ALERTS{alertstate="firing"}'
    token: Secret | None = None
    seconds: Annotated[float, Field(gt=0, le=300)] = 10

    @override
    def contradictions(self) -> Iterable[str]:
        yield from address_problems(self.url, self.token)


Gate = (
    InstanceOf[CommandGate] | InstanceOf[HttpGate] | InstanceOf[SilenceGate] | InstanceOf[CompareGate]
    | InstanceOf[ProofGate] | InstanceOf[HostCommandGate] | InstanceOf[HostHttpGate] | InstanceOf[ContainerGate]
)  # fmt: skip


class Webhook(Item):
    """An address that is told what becomes of a rollout. It is a secret: who knows it can write there."""

    name: Word
    url: Annotated[SecretStr | Secret, Field(union_mode="left_to_right")]
    kind: Literal["generic", "slack"] = "generic"
    """`slack`: a text, as incoming webhooks of Slack, Mattermost and Rocket.Chat take it; `generic`: all as JSON."""
    events: tuple[Event, ...] = (Event.BEGUN, Event.WAITS, Event.BACK, Event.ENDED)
    token: Secret | None = None
    """Sent as a bearer token."""
    seconds: Annotated[float, Field(gt=0, le=60)] = 10

    @override
    def contradictions(self) -> Iterable[str]:
        if isinstance(self.url, SecretStr):
            yield from address_problems(self.url.get_secret_value(), self.token)

    def address(self) -> str:
        """Where it is. Not to be shown to anybody.

        Raises:
            InputError: it cannot be had; the message names the reference only.
        """
        return self.url.resolve() if isinstance(self.url, Secret) else self.url.get_secret_value()


class Calendar(Model):
    """When rollouts go on."""

    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()

    def opens(self, now: datetime) -> datetime | None:
        """The next moment, in UTC: now, if it is one; None when there is none for more than a year."""
        return opens_next(self.windows, self.freezes, now)


class Rollout(Model):
    """How a rollout goes on."""

    waves: tuple[Share, ...] = (Share(count=1), Share(percent=10), Share())
    """What is left over goes last."""
    failed: Most = Most(wave=0)
    unreachable: Most = Most(whole_percent=10)
    bake_minutes: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (0.0,)
    """Of the waves of each share, from the last run to the gates; the last one goes for all that follow."""
    gates: tuple[Gate, ...] = ()
    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    parallel: Annotated[int, Field(ge=1, le=64)] = 2
    """How many runs are under way at once."""
    unit_hosts: Annotated[int, Field(ge=1, le=200)] = 20
    """How many hosts one run takes."""
    on_fail: Literal["stop", "wave goes back", "all go back"] = "stop"
    snapshots: bool = False
    """Take a snapshot of each host's machine (vm policy) before its run; the way back begins with that."""
    notify: tuple[Webhook, ...] = ()
    """Who is told what becomes of it."""
    mend_drift: bool = False
    """Let `drift --mend` roll the last commit out to the hosts that are not as it says, in the windows."""
    domains: tuple[Literal["rule", "esxi", "datastore"], ...] = ("rule",)
    """What tells failure domains apart: the vm policy's `apart`, the machine's ESXi host, its datastores."""

    @override
    def contradictions(self) -> Iterable[str]:
        for field, names in (("gates", [gate.name for gate in self.gates]),
                             ("notify", [webhook.name for webhook in self.notify])):  # fmt: skip
            for name in sorted({each for each in names if names.count(each) > 1}):
                yield f"{field}: {name} is given twice"

    def spec(self, gates: tuple[str, ...], steps: Sequence[int]) -> Spec:
        """What is written down with a rollout whose gates are called so.

        Args:
            gates: their names.
            steps: of each wave, which of the shares it is of; what is left over is of none, and as the last one.
        """
        last = len(self.bake_minutes) - 1
        approvals = [share.approval for share in self.waves] or [False]
        return Spec(
            gates=gates, parallel=self.parallel,
            bake_seconds=tuple(self.bake_minutes[min(step, last)] * 60 for step in steps) or (0.0,),
            approvals=frozenset(number for number, step in enumerate(steps)
                                if approvals[min(step, len(approvals) - 1)]),
            failed=self.failed.budget(), unreachable=self.unreachable.budget(), on_fail=OnFail(self.on_fail),
            snapshots=self.snapshots,
        )  # fmt: skip


def settings_of(inventory: str) -> Rollout:
    """What an inventory file says of its rollouts; the defaults when it says nothing.

    Raises:
        Refusal: its variable `rollout` is something else.
    """
    found = runpy.run_path(inventory).get(VARIABLE, Rollout())
    if not isinstance(found, Rollout):
        message = f"{inventory}: its variable {VARIABLE} is no Rollout(...) of deploys.rollout.settings"
        raise Refusal(message)
    return found
