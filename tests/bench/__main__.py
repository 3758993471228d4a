"""python -m tests.bench: Photon Fleet beside other tools, measured in one run on lab hosts."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.bench import charts, contenders
from tests.bench.errors import BenchError
from tests.bench.place import place
from tests.bench.results import CASES, Results, problems, table, words
from tests.bench.session import Plan, Session, say
from tests.lab.errors import LabError
from tests.lab.machine import require_root

_SHORT = Plan(hosts=[2], rtts_ms=[20], contenders=["ours", "stock", "floor"], cases=["noop"], repeat=1,
              repeat_first=1, prove=False)  # fmt: skip


def _words(text: str, known: tuple[str, ...]) -> list[str]:
    words = text.split(",")
    if unknown := [word for word in words if word not in known]:
        message = f"{', '.join(unknown)}: choose from {', '.join(known)}"
        raise argparse.ArgumentTypeError(message)
    return words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--hosts", default="1,10,30", help="numbers of hosts (default: %(default)s)")
    parser.add_argument("--rtt", default="0,50", help="round-trip times in milliseconds (default: %(default)s)")
    parser.add_argument("--contenders", type=lambda text: _words(text, contenders.ALL), default=list(contenders.ALL),
                        help=f"which of {','.join(contenders.ALL)} (default: all)")  # fmt: skip
    parser.add_argument("--cases", type=lambda text: _words(text, tuple(CASES)), default=list(CASES),
                        help=f"which of {','.join(CASES)} (default: all)")  # fmt: skip
    parser.add_argument("--repeat", type=int, default=3, help="timed no-op runs, of which the median is shown")
    parser.add_argument("--repeat-first", type=int, default=1, help="timed first converges, each on new hosts")
    parser.add_argument("--short", action="store_true", help="2 hosts, 20 ms, no-op, ours, stock and floor, once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--charts", type=Path, metavar="DIR", help="write charts there, the table into its benchmarks.md"
    )
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="show earlier figures, run nothing")
    parser.add_argument("--no-proof", action="store_true", help="do not let tests/hosts look at each one's result")
    parser.add_argument("--keep", action="store_true", help="leave the lab hosts running")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    if options.short:
        return _SHORT
    try:
        hosts = [int(word) for word in options.hosts.split(",")]
        rtts = [float(word) for word in options.rtt.split(",")]
    except ValueError as error:
        message = f"--hosts and --rtt take numbers with commas between: {error}"
        raise BenchError(message) from error
    if min(hosts) < 1 or max(hosts) > 200 or min(rtts) < 0 or min(options.repeat, options.repeat_first) < 1:
        message = "1 to 200 hosts, no negative round-trip time, one repetition at least"
        raise BenchError(message)
    return Plan(hosts, rtts, options.contenders, options.cases, options.repeat, options.repeat_first,
                prove=not options.no_proof)  # fmt: skip


def _measured(options: argparse.Namespace) -> Results:
    if options.source:
        return Results.load(options.source)
    plan = _plan(options)
    require_root()
    if {"ansible", "mitogen"} & set(plan.contenders):
        contenders.environment_of_others()
    say(f"booting {max(plan.hosts)} lab hosts")
    with place(max(plan.hosts), keep=options.keep) as where:
        session = Session(plan, where)
        try:
            session.run()
        finally:
            # What was measured so far is not lost with the rest of the run.
            if options.json:
                session.results.save(options.json)
    return session.results


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, _stop)
    try:
        results = _measured(options)
        print(table(results), words(results), sep="\n", end="")
        if options.charts:
            for path in charts.write(results, options.charts):
                say(f"wrote {path}")
    except (BenchError, LabError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped; everything is removed" if not options.keep else "stopped")
        return 130
    found = problems(results)
    for problem in found:
        say(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
