"""The benchmark's figures: medians, ratios, table and charts from runs written down here; no clock is asked."""

from __future__ import annotations

import signal
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from tests.bench import charts, contenders, measure
from tests.bench.errors import BenchError
from tests.bench.results import MEASURES, Proved, Results, Run, problems, rows, table, words

WALL, ROUND_TRIPS, BYTES, *_ = MEASURES


def run(contender: str, wall: float, repetition: int = 0, *, hosts: int = 2, **more) -> Run:
    figures = {"wall": wall, "round_trips": 20.0, "bytes": 4000.0, "cpu": wall / 2, "memory": 50e6}
    return Run("noop", hosts, 50.0, contender, repetition, figures, 0, **more)


@pytest.fixture
def results() -> Results:
    runs = [run("ours", wall, number) for number, wall in enumerate((3.0, 1.0, 2.0))]
    runs += [run("ansible", wall, number) for number, wall in enumerate((30.0, 10.0, 10.0))]
    runs += [run("floor", 0.5), run("stock", 4.0, 0), Run("noop", 2, 50.0, "stock", 1, error="exit status 1")]
    return Results({"date": "2025-01-01", "cores": 2, "mitogen": "0.3.54"}, runs, {"ansible": Proved(95, ["ssh.file"])})


def test_the_median_of_the_repetitions_counts(results) -> None:
    (row,) = rows(results.runs)
    assert row.value("ours", WALL) == 2.0
    assert row.value("ansible", WALL) == 10.0


def test_ratios_are_of_medians_and_missing_where_a_figure_is(results) -> None:
    (row,) = rows(results.runs)
    assert row.ratio(("ansible", "ours"), WALL) == 5.0
    assert row.ratio(("ours", "floor"), WALL) == 4.0
    assert row.ratio(("mitogen", "ours"), WALL) is None


def test_one_failed_run_takes_the_contender_out(results) -> None:
    (row,) = rows(results.runs)
    assert row.value("stock", WALL) is None
    assert row.failed == {"stock": "exit status 1"}


def test_round_trips_and_bytes_are_per_host(results) -> None:
    (row,) = rows(results.runs)
    assert row.value("ours", ROUND_TRIPS) == 10
    assert row.value("ours", BYTES) == 2.0


def test_the_table_has_figures_and_ratios_side_by_side(results) -> None:
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table(results).splitlines()]
    assert lines[0] == ["ours", "stock", "ansible", "floor", "stock/ours", "ansible/ours", "mitogen/ours", "ours/floor"]
    assert lines[2][0] == "**no-op converge, 2 hosts, 50 ms**"
    assert lines[3] == ["wall time, s", "2.00", "failed", "10.00", "0.50", "-", "5.0x", "-", "4.0x"]
    assert len({line.count("|") for line in table(results).splitlines()}) == 1


def test_rows_are_ordered_by_case_hosts_and_delay() -> None:
    places = [("noop", 10, 0.0), ("first", 1, 50.0), ("noop", 1, 50.0), ("first", 1, 0.0)]
    made = rows([Run(*place, "ours", 0, {"wall": 1.0}) for place in places])
    assert [(row.case, row.hosts, row.rtt_ms) for row in made] == [
        ("first", 1, 0.0),
        ("first", 1, 50.0),
        ("noop", 1, 50.0),
        ("noop", 10, 0.0),
    ]


def test_what_failed_is_said(results) -> None:
    assert problems(results) == [
        "no-op converge, 2 hosts, 50 ms: stock: exit status 1",
        "after ansible, our proof fails: ssh.file",
    ]
    assert "ansible 95 of 96" in words(results)


def test_results_come_back_from_their_file(results, tmp_path) -> None:
    results.save(tmp_path / "figures.json")
    assert Results.load(tmp_path / "figures.json") == results


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"about": {}, "runs": [{"who": 1}], "proofs": {}}'])
def test_another_file_is_refused_with_a_sentence(tmp_path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(BenchError, match="has no results of this benchmark"):
        Results.load(tmp_path / "other.json")


def test_charts_are_xml_with_a_bar_for_each_figure(results, tmp_path) -> None:
    (path,) = charts.write(results, tmp_path / "new")
    assert path.name == "bench-noop.svg"
    root = ET.fromstring(path.read_text())  # noqa: S314 - our own text
    space = {"svg": "http://www.w3.org/2000/svg"}
    bars = root.findall("svg:g/svg:rect", space)
    assert len(bars) == 4 * 4
    assert {bar.get("class") for bar in bars} == {"ours", "stock", "ansible", "floor"}
    assert "failed" in [text.text for text in root.findall("svg:g/svg:text", space)]


def test_earlier_figures_are_shown_without_a_run(results, tmp_path) -> None:
    results.save(tmp_path / "figures.json")
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--from", tmp_path / "figures.json", "--charts", tmp_path],
        text=True, capture_output=True, check=False, cwd=contenders.ROOT,
    )  # fmt: skip
    assert done.returncode == 1, "one run failed"
    assert done.stdout.startswith(table(results))
    assert (tmp_path / "bench-noop.svg").exists()


RECAP = """
PLAY RECAP *****
bench-1                    : ok=30   changed={}    unreachable=0    failed={}    skipped=4    rescued=0    ignored=0
bench-2                    : ok=30   changed=0    unreachable=0    failed=0    skipped=4    rescued=0    ignored=0
"""


def test_changes_are_read_from_each_contenders_own_words() -> None:
    pyinfra = '{"results": {"operations": [{"success": ["a", "b"]}, {"success": []}], "totals": {}}}'
    assert contenders.changes("ours", pyinfra, 2) == 2
    assert contenders.changes("ansible", RECAP.format(3, 0), 2) == 3
    assert contenders.changes("floor", "", 2) == 0


@pytest.mark.parametrize(
    ("contender", "output"),
    [("ours", "no JSON"), ("mitogen", RECAP.format(0, 1)), ("ansible", RECAP.format(0, 0).replace("bench-2", ""))],
)
def test_output_that_does_not_tell_is_no_success(contender: str, output: str) -> None:
    with pytest.raises(BenchError):
        contenders.changes(contender, output, 2)


def test_the_cost_is_of_everything_a_command_started_also_in_the_background(tmp_path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    # The shell's child outlives it in a session of its own, as ssh's shared connections do.
    script = f"setsid {sys.executable} -c '{burn}time.sleep(600)' & {sys.executable} -c '{burn}'; sleep 1; exit 3"
    cost = measure.run(["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, tmp_path / "log", 60)
    assert cost.status == 3
    assert cost.cpu >= 0.6
    assert cost.memory > 1_000_000
    assert cost.wall < 60


def test_a_command_that_does_not_end_is_ended(tmp_path) -> None:
    cost = measure.run(["sleep", "600"], {"PATH": "/usr/bin:/bin"}, tmp_path / "log", 0.2)
    assert cost.status == -signal.SIGKILL
