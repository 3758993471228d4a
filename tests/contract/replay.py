"""Replays recorded cases of tdnf against the stand-in, in throwaway roots: `python -m tests.contract.replay`.

Runs in namespaces of its own (mounts, network, PIDs), which `spawn` makes: the network is nothing but a loopback with
the scenario's server on it. `states DIRECTORY` builds the start states; `cases DIRECTORY NAME...` replays cases and
prints one JSON result per line, with the keys of a recording.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.contract.roots import ENVIRONMENT, Root, common_layer, mount
from tests.lab.scenario import Scenario, server

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts" / "tdnf"
PROJECT = Path(__file__).parents[2]
LIMIT_SECONDS = 60
AFTER_SIGNAL_SECONDS = 4
_QUERY = ["rpm", "-qa", "--qf", "%{NAME}-%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}.%{ARCH}\\n"]


class SetupError(RuntimeError):
    """A state, or what comes before a case, could not be made."""


def spawn(*arguments: str) -> subprocess.Popen[str]:
    """Start this module in its own namespaces; they end with it, and it ends with this process."""
    command = [
        "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private",
        sys.executable, "-m", "tests.contract.replay", *arguments,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


# --- start states


def build_states(directory: Path, base: Path, built: Path) -> None:
    """Build every state of the scenario below `directory`, each as one layer on the one it comes from."""
    scenario = Scenario(TRANSCRIPTS)
    common_layer(scenario, built, directory / "common")
    for name, state in scenario.data["states"].items():
        parent = state["derived_from"]
        lower = [directory / "common", base] if parent is None else layers(directory, base, parent)
        with Root(directory / "making" / name, lower) as root:
            _make(root, name, state, built)
        root.upper.rename(directory / name)
        (directory / f"{name}.json").write_text(json.dumps({"parent": parent}))


def _make(root: Root, name: str, state: dict[str, Any], built: Path) -> None:
    if state["derived_from"] is None:
        packages = root.path / "srv" / "packages"
        packages.mkdir(parents=True)
        files = [_file_of(nevra) for nevra in state["installed"]]
        for file in files:
            shutil.copy(built / "rpms" / file, packages)
        _checked(root, ["rpm", "--initdb"])
        # Reading the modules once leaves their byte code, as on a host where tdnf has run before.
        _checked(root, ["python3", "-m", "compileall", "-q", "/usr/lib/lab-tdnf"])
        _checked(root, ["rpm", "-i", *[f"/srv/packages/{file}" for file in files]])
        shutil.rmtree(packages)
        commands = state["made_by"][1:]
    else:
        commands = state["made_by"]
    for command in commands:
        _checked(root, command.split())
    found = sorted(line.split("-")[0] for line in _packages(root))
    expected = sorted(nevra.split("-")[0] for nevra in state["installed"])
    if found != expected:
        message = f"state {name} has other packages than recorded: {sorted(set(found) ^ set(expected))}"
        raise SetupError(message)


def _file_of(nevra: str) -> str:
    name, version, rest = nevra.rsplit("-", 2)
    return f"{name}-{version.rpartition(':')[2]}-{rest}.rpm"


def _checked(root: Root, command: Sequence[str]) -> None:
    result = root.run(command)
    if result.returncode:
        message = f"{' '.join(command)}: exit {result.returncode}\n{result.stdout.decode()}{result.stderr.decode()}"
        raise SetupError(message)


def layers(directory: Path, base: Path, state: str) -> list[Path]:
    """The lower layers of a root in a state, the uppermost first."""
    found: list[Path] = []
    name: str | None = state
    while name is not None:
        found.append(directory / name)
        name = json.loads((directory / f"{name}.json").read_text())["parent"]
    return [*found, directory / "common", base]


# --- cases


# What was three seconds after the start where it was recorded: a scriptlet of the scenario that sleeps.
_IN_SCRIPTLET = "for n in $(seq 300); do pgrep -xf 'sleep 6' >/dev/null && break; sleep 0.1; done"


def replay(case: dict[str, Any], root: Root) -> dict[str, Any]:
    """Run one case; the result has the keys of the recording that can be compared."""
    before = case["state_before"]
    root.write(before.get("files", {}))
    for command in before["setup"]:
        # A setup may fail in the recording as well; what counts is what the case shows.
        root.run(["sh", "-c", command.replace("sleep 3; kill", f"{_IN_SCRIPTLET}; kill")])
    network = _apply(before.get("conditions", []), root)
    packages = _packages(root)
    other = _start_other(case, root)
    result = _run(case, root, network=network)
    if other is not None:
        out, err = other.communicate(timeout=LIMIT_SECONDS)
        result["concurrent"] = {"exit": other.returncode, "stdout": out.decode(), "stderr": err.decode()}
    if case.get("signal_sent"):
        # A scriptlet outlives a tdnf that was killed.
        time.sleep(AFTER_SIGNAL_SECONDS)
    result["followups"] = [_followup(step["argv"], root) for step in case.get("followups", [])]
    after = _packages(root)
    result["packages_added"] = sorted(set(after) - set(packages))
    result["packages_removed"] = sorted(set(packages) - set(after))
    return result


def _apply(conditions: Sequence[str], root: Root) -> bool:
    """Set the conditions up; returns whether there is a network."""
    network = True
    for condition in conditions:
        match condition:
            case "no network at all (connections fail at once)":
                network = False
            case "the root file system is mounted read-only":
                root.read_only()
            case "the directory of the rpm database is mounted read-only":
                root.read_only("/usr/lib/sysimage/rpm")
            case "the directory of the history database is mounted read-only":
                root.read_only("/usr/lib/sysimage/tdnf")
            case "/var/cache/tdnf is a file system of 6 MiB that holds the metadata cache":
                root.small("/var/cache/tdnf", "6M", keep=True)
            case "/var/cache/tdnf is an empty file system of 16 KiB":
                root.small("/var/cache/tdnf", "16k", keep=False)
            case "the package's target directory is a file system of 4 MiB":
                root.small("/usr/share/linux-firmware", "4M", keep=False)
            case _:
                message = f"no such condition is known: {condition}"
                raise SetupError(message)
    return network


def _start_other(case: dict[str, Any], root: Root) -> subprocess.Popen[bytes] | None:
    other = case.get("concurrent")
    if other is None:
        return None
    process = subprocess.Popen(
        root.command(other["argv"]),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(other["started_before_s"])
    return process


def _run(case: dict[str, Any], root: Root, *, network: bool) -> dict[str, Any]:
    closed = case["stdin"].startswith("closed")
    terminal = _terminal(case["columns"]) if case["tty"] else None
    inner = subprocess.DEVNULL if closed else subprocess.PIPE
    process = subprocess.Popen(
        root.command(case["argv"], user=case["user"], network=network),
        env={**ENVIRONMENT, **case["env"]},
        stdin=terminal[1] if terminal else inner,
        stdout=terminal[1] if terminal else subprocess.PIPE,
        stderr=terminal[1] if terminal else subprocess.PIPE,
    )
    sent = case.get("signal_sent")
    if sent:
        time.sleep(sent["after_s"])
        process.send_signal(getattr(signal, sent["signal"]))
    try:
        typed = None if closed or terminal else case["stdin"].encode()
        out, err = process.communicate(typed, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err = (err or b"") + b"(killed by the test: it did not end)\n"
    if terminal:
        out, err = _shown(terminal), b""
    status = process.returncode
    return {
        "name": case["name"],
        "exit": status if status >= 0 else None,
        "signal": None if status >= 0 else signal.Signals(-status).name,
        "stdout": out.decode(errors="replace"),
        "stderr": err.decode(errors="replace"),
    }


def _terminal(columns: int) -> tuple[int, int]:
    """A pseudo-terminal: our end and the program's."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, theirs


def _shown(terminal: tuple[int, int]) -> bytes:
    """What the program wrote; both ends are closed afterwards."""
    ours, theirs = terminal
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:
        pass  # How Linux tells that the other end is closed.
    os.close(ours)
    return shown


def _followup(argv: Sequence[str], root: Root) -> dict[str, Any]:
    result = root.run(argv, timeout=LIMIT_SECONDS)
    return {"exit": result.returncode, "stdout": result.stdout.decode(), "stderr": result.stderr.decode()}


def _packages(root: Root) -> list[str]:
    return root.run(_QUERY).stdout.decode().split()


def _main(arguments: list[str]) -> None:
    directory, base, built = (Path(argument) for argument in arguments[1:4])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    serving = server(built / "www")
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    if arguments[0] == "states":
        build_states(directory, base, built)
        return
    cases = {case["name"]: case for case in Scenario(TRANSCRIPTS).recordings()}
    scratch = directory / f"worker-{arguments[4]}"
    scratch.mkdir()
    mount("tmpfs", scratch, "tmpfs")
    for name in arguments[5:]:
        case = cases[name]
        with Root(scratch / "case", layers(directory, base, case["state_before"]["state"])) as root:
            try:
                result = replay(case, root)
            except (OSError, subprocess.SubprocessError, SetupError) as error:
                result = {"name": name, "error": repr(error)}
        shutil.rmtree(scratch / "case", ignore_errors=True)
        sys.stdout.write(f"{json.dumps(result)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
    os._exit(0)
