"""Asking gates. What cannot be understood does not pass: no answer, rubbish and a timeout are inconclusive."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from deploys.policies.secret import Secret
from deploys.rollout.gate_kinds import CompareGate, short
from deploys.rollout.model import Answer, WaveHosts
from deploys.rollout.settings import CommandGate, Gate, HttpGate, SilenceGate

CANNOT_TELL = 75
_MOST_BYTES = 1 << 20
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
    env = {**os.environ, "PHOTON_FLEET_WAVE": str(wave.number + 1), "PHOTON_FLEET_HOSTS": " ".join(wave.hosts)}
    try:
        process = subprocess.Popen(
            list(gate.command), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return Answer.INCONCLUSIVE, f"{gate.command[0]}: {error.strerror or error}"
    try:
        out, err = process.communicate(timeout=gate.seconds)
    except subprocess.TimeoutExpired:
        # With all that it has started: they would hold its output open.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer.INCONCLUSIVE, f"no end within {gate.seconds:g} s"
    words = short((out.strip() or err.strip()).rpartition("\n")[2])
    if process.returncode in {0, CANNOT_TELL}:
        return (Answer.INCONCLUSIVE if process.returncode else Answer.PASS), words
    return Answer.FAIL, f"it ended with {process.returncode}: {words}"


def _http(gate: HttpGate) -> tuple[Answer, str]:
    status, text = _fetched(gate.url, gate.token, gate.seconds)
    if status is None:
        return Answer.INCONCLUSIVE, text
    if status != gate.status:
        return Answer.FAIL, f"the answer has the status {status}: {short(text)}"
    if gate.contains and gate.contains not in text:
        return Answer.FAIL, f"the answer has no {gate.contains!r}: {short(text)}"
    if gate.absent and gate.absent in text:
        return Answer.FAIL, f"the answer has {gate.absent!r}"
    return Answer.PASS, f"status {status}"


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
    known = {*wave.hosts, *wave.untouched}
    for each in found:
        whole = str(each["metric"].get(gate.label, ""))
        name = next((name for name in (whole, whole.partition(":")[0], whole.partition(".")[0]) if name in known), None)
        value = float(each["value"][1])
        if name is not None and math.isfinite(value):
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
    status, text = _fetched(
        f"{url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}", token, seconds
    )
    if status is None:
        return text
    try:
        answer = json.loads(text)
        if answer["status"] != "success" or answer.get("warnings"):
            return short(str(answer.get("error") or answer.get("warnings")))
        found = answer["data"]["result"]
        return [{"metric": dict(each.get("metric", {})), "value": (each["value"][0], str(float(each["value"][1])))}
                for each in found]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return f"no answer of Prometheus': {short(text)}"


def _fetched(url: str, token: Secret | None, seconds: float) -> tuple[int | None, str]:
    """Status and text; None and why when there is no answer."""
    request = urllib.request.Request(url)  # noqa: S310 - http and https alone, see the settings
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token.resolve()}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - see above
            return answer.status, answer.read(_MOST_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(_MOST_BYTES).decode(errors="replace")
    except (OSError, ValueError) as error:
        return None, f"no answer: {error}"
