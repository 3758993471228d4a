"""Asking gates. What cannot be understood does not pass: no answer, rubbish and a timeout are inconclusive."""

from __future__ import annotations

import http.client
import json
import math
import os
import statistics
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from deploys.policies.secret import Secret
from deploys.refusal import Refusal
from deploys.rollout.engine.threads import in_thread
from deploys.rollout.gate_kinds import CompareGate, bearer, no_answer, short
from deploys.rollout.model import Answer, WaveHosts
from deploys.rollout.processes import ended_within
from deploys.rollout.settings import CommandGate, Gate, HttpGate, SilenceGate

CANNOT_TELL = 75
_MOST_BYTES = 1 << 20
HOSTS, WAVE = "PHOTON_FLEET_HOSTS", "PHOTON_FLEET_WAVE"
_MOST_VARIABLE = 128 * 1024 - 1
"""Linux starts no program with a longer variable, its name included (MAX_ARG_STRLEN of execve(2))."""
_MOST_NAMES = 5


def asked(inventory: str, gates: Sequence[Gate], gate: str, wave: WaveHosts) -> tuple[Answer, str]:
    """What a gate says of a wave, and why.

    Raises:
        InputError: it looks at hosts, and the inventory cannot be used.
    """
    found = next((each for each in gates if each.name == gate), None)
    match found:
        case CommandGate():
            return _command(found, wave)
        case HttpGate():
            return _http(found)
        case SilenceGate():
            return _silence(found)
        case CompareGate():
            return _compare(found, wave)
        case None:
            return Answer.INCONCLUSIVE, f"the inventory has no gate {gate!r}"
    from deploys.rollout.host_gates import on_hosts  # noqa: PLC0415 - only these connect

    return on_hosts(inventory, found, wave.hosts)


def _command(gate: CommandGate, wave: WaveHosts) -> tuple[Answer, str]:
    names = "".join(f"{name}\n" for name in wave.hosts)
    try:
        done = ended_within(gate.seconds, gate.command, given=names, env=_told(wave), alone=True)
    except subprocess.TimeoutExpired:
        return Answer.INCONCLUSIVE, f"no end within {gate.seconds:g} s"
    except OSError as error:
        return Answer.INCONCLUSIVE, f"{gate.command[0]}: {error.strerror or error}"
    words = short((done.out.strip() or done.err.strip()).rpartition("\n")[2])
    if done.status in {0, CANNOT_TELL}:
        return (Answer.INCONCLUSIVE if done.status else Answer.PASS), words
    return Answer.FAIL, f"it ended with {done.status}: {words}"


def _told(wave: WaveHosts) -> dict[str, str]:
    """The environment of a command. Names that no variable can hold are on its standard input alone."""
    env = {**os.environ, WAVE: str(wave.number + 1), HOSTS: " ".join(wave.hosts)}
    if len(os.fsencode(f"{HOSTS}={env[HOSTS]}")) > _MOST_VARIABLE:
        # Not some of them: a command that looks at these would take them for all.
        del env[HOSTS]
    return env


def _http(gate: HttpGate) -> tuple[Answer, str]:
    got = _fetched(gate.url, gate.token, gate.seconds)
    if isinstance(got, str):
        return Answer.INCONCLUSIVE, got
    if got.status != gate.status:
        return Answer.FAIL, f"the answer has the status {got.status}: {short(got.text)}"
    if gate.absent and gate.absent in got.text:
        return Answer.FAIL, f"the answer has {gate.absent!r}"
    missing = bool(gate.contains) and gate.contains not in got.text
    if got.more and (missing or gate.absent):
        return Answer.INCONCLUSIVE, f"the answer was not read to its end, but {len(got.text)} letters of it"
    if missing:
        return Answer.FAIL, f"the answer has no {gate.contains!r}: {short(got.text)}"
    return Answer.PASS, f"status {got.status}"


def _silence(gate: SilenceGate) -> tuple[Answer, str]:
    found = _queried(gate.url, gate.query, gate.token, gate.seconds)
    if isinstance(found, str):
        return Answer.INCONCLUSIVE, found
    names = sorted({str(each["metric"].get("alertname") or each["metric"]) for each in found})
    return (Answer.FAIL, f"{len(found)} found: {short(', '.join(names))}") if found else (Answer.PASS, "silence")


def _compare(gate: CompareGate, wave: WaveHosts) -> tuple[Answer, str]:
    if not wave.untouched:
        return Answer.PASS, "no host is left to compare with"
    found = _queried(gate.url, gate.query, gate.token, gate.seconds)
    if isinstance(found, str):
        return Answer.INCONCLUSIVE, found
    return compared(gate, wave, found)


def compared(gate: CompareGate, wave: WaveHosts, found: Sequence[Series]) -> tuple[Answer, str]:
    """The hosts of a wave against those that are untouched, by a value for each."""
    values: dict[str, float] = {}
    seen: set[str] = set()
    known = {*wave.hosts, *wave.untouched}
    for each in found:
        whole = str(each["metric"].get(gate.label, ""))
        name = next((name for name in (whole, whole.partition(":")[0], whole.partition(".")[0]) if name in known), None)
        value = float(each["value"][1])
        if name is None:
            continue
        if name in seen:
            return Answer.INCONCLUSIVE, f"more than one value for {name}: let the query make one of them"
        seen.add(name)
        if math.isfinite(value):
            values[name] = value
    missing = [name for name in wave.hosts if name not in values]
    others = [values[name] for name in wave.untouched if name in values]
    if missing or not others:
        lost = ", ".join(missing[:_MOST_NAMES]) or "the hosts that are not touched yet"
        return Answer.INCONCLUSIVE, f"no value for {lost}"
    mine, theirs = statistics.median(values[name] for name in wave.hosts), statistics.median(others)
    worse = mine - theirs if gate.worse == "higher" else theirs - mine
    words = f"{mine:g} here, {theirs:g} on {len(others)} hosts that are not touched yet"
    return (Answer.FAIL if worse > max(gate.least, abs(theirs) * gate.percent / 100) else Answer.PASS), words


Series = Mapping[str, Any]
"""A series of an instant vector: `metric` (labels) and `value` (time, and the value as text)."""


def _queried(url: str, query: str, token: Secret | None, seconds: float) -> Sequence[Series] | str:
    """What a query finds, or why that is not known. Source of the format: Prometheus' HTTP API, "Instant queries"."""
    got = _fetched(f"{url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}", token, seconds)
    if isinstance(got, str):
        return got
    try:
        answer = json.loads(got.text)
        if answer["status"] != "success" or answer.get("warnings"):
            return short(str(answer.get("error") or answer.get("warnings")))
        kind, found = answer["data"]["resultType"], answer["data"]["result"]
        if kind != "vector" or not isinstance(found, list):
            return f"its answer is no list of series, but {short(str(kind))}: let the query be one of an instant vector"
        return [{"metric": dict(each.get("metric", {})), "value": (each["value"][0], str(float(each["value"][1])))}
                for each in found]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return f"no answer of Prometheus': {short(got.text)}"


@dataclass(frozen=True)
class _Got:
    """An answer. `more`: there is more of it than was read."""

    status: int
    text: str
    more: bool


def _fetched(url: str, token: Secret | None, seconds: float) -> _Got | str:
    """An answer, or why there is none: in words that are kept and shown, and hold no secret."""
    try:
        request = urllib.request.Request(url)  # noqa: S310 - http and https alone, see the settings
        if token is not None:
            request.add_unredirected_header("Authorization", bearer(token))
        # The limit of a socket is one of each of its reads: a server that sends a letter now and then keeps it.
        return in_thread(partial(_opened, request, seconds), "gate").result(seconds)
    except Refusal as refusal:
        return str(refusal)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return no_answer(error, seconds)


def _opened(request: urllib.request.Request, seconds: float) -> _Got:
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - see above
            return _got(answer)
    except urllib.error.HTTPError as error:
        return _got(error.fp)


def _got(answer: object) -> _Got:
    if not isinstance(answer, http.client.HTTPResponse):
        message = "it leads to something else than a web server"
        raise Refusal(message)
    body = answer.read(_MOST_BYTES)
    # A connection that ends too early is no error of a read of so many bytes: some are still to come then.
    more = bool(answer.length) or bool(answer.read(1))
    return _Got(answer.status, body.decode(errors="replace"), more)
