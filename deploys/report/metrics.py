"""Metrics in Prometheus' text form. Labels are few, however large the fleet is.

Source of the format: Prometheus' "Exposition formats", text-based format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from deploys.report.model import AGES
from deploys.rollout.model import State, Verdict, WaveState
from deploys.rollout.store.outbox import undelivered
from deploys.rollout.store.reports import Progress, progress
from deploys.rollout.store.store import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_HOSTS = 100
"""Above so many hosts none has a time series of its own."""
_MOST_ROLLOUTS = 5

Sample = tuple[dict[str, str], float]


def metrics(store: Store, at: datetime) -> str:
    """All of them, as text."""
    newest = store.rollouts(100)
    # Those that go on, and the last one that has ended: a series ends when nobody asks for it any more.
    shown = [each.id for each in newest if not each.state.ended][:_MOST_ROLLOUTS]
    shown += [each.id for each in newest if each.state.ended][:1]
    lines = [*_fleet(store, at), *_rollouts([progress(store, ident) for ident in sorted(shown)], at)]
    lines += _messages(store)
    return "\n".join([*lines, ""])


def _metric(name: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    found = list(samples)
    if found:
        yield f"# HELP photon_fleet_{name} {about}"
        yield f"# TYPE photon_fleet_{name} gauge"
        for labels, value in found:
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"photon_fleet_{name}{f'{{{inside}}}' if inside else ''} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _fleet(store: Store, at: datetime) -> Iterator[str]:
    counts = dict.fromkeys(Verdict, 0)
    for row in store.rows("SELECT verdict, count(*) AS hosts FROM newest GROUP BY verdict"):
        counts[Verdict(row["verdict"])] = row["hosts"]
    yield from _metric("hosts", "Hosts by the newest word on them.",
                       (({"verdict": verdict}, count) for verdict, count in counts.items()))  # fmt: skip
    samples: list[Sample] = []
    for _, bound in AGES:
        found = store.rows("SELECT count(*) AS hosts FROM newest WHERE proved >= ?", (at - bound).isoformat())
        samples.append(({"seconds": f"{bound.total_seconds():.0f}"}, found[0]["hosts"]))
    ever = store.rows("SELECT count(*) AS hosts FROM newest WHERE proved <> ''")[0]["hosts"]
    yield from _metric("hosts_proved_within", "Hosts whose last proof is at most so old; +Inf: that were ever proved.",
                       [*samples, ({"seconds": "+Inf"}, ever)])  # fmt: skip
    if 0 < sum(counts.values()) <= MOST_HOSTS:
        rows = store.rows("SELECT name, proved FROM newest WHERE proved <> '' ORDER BY name")
        ages = (({"host": row["name"]}, (at - datetime.fromisoformat(row["proved"])).total_seconds()) for row in rows)
        yield from _metric(
            "host_proof_age_seconds", f"Since a host's last proof; in fleets of up to {MOST_HOSTS} hosts.", ages
        )


def _rollouts(found: list[Progress], at: datetime) -> Iterator[str]:
    labels = [{"rollout": str(each.rollout.id)} for each in found]
    pairs = list(zip(labels, found, strict=True))
    states = (({**of, "state": state}, float(each.rollout.state is state)) for of, each in pairs for state in State)
    yield from _metric("rollout_state", "1 for the state that a rollout is in.", states)
    about = "The wave that it is at, from 1; one more than it has when all have passed."
    yield from _metric("rollout_wave", about, ((of, _wave(each)) for of, each in pairs))
    yield from _metric("rollout_waves", "How many waves it has.", ((of, len(each.waves)) for of, each in pairs))
    hosts = (({**of, "verdict": verdict}, count) for of, each in pairs for verdict, count in _counts(each).items())
    yield from _metric("rollout_hosts", "Its hosts by what came of them.", hosts)
    ages = ((of, (at - each.rollout.created).total_seconds()) for of, each in pairs)
    yield from _metric("rollout_age_seconds", "Since it was begun.", ages)
    since = ((of, (at - each.rollout.since).total_seconds()) for of, each in pairs)
    yield from _metric("rollout_state_seconds", "Since it came into its state.", since)


def _wave(found: Progress) -> int:
    return next((wave.number + 1 for wave in found.waves if wave.state is not WaveState.PASSED), len(found.waves) + 1)


def _counts(found: Progress) -> dict[str, int]:
    counts: dict[str, int] = dict.fromkeys(Verdict, 0)
    for wave in found.waves:
        for verdict, count in wave.counts.items():
            counts[verdict] += count
    return {**counts, "to come": found.hosts - sum(counts.values())}


def _messages(store: Store) -> Iterator[str]:
    count = sum(each["messages"] for each in undelivered(store))
    yield from _metric("messages_undelivered", "Messages for webhooks that were not delivered.", [({}, count)])
