"""The benchmark of inventories has figures of each contender that needs no installation, whatever they are."""

from __future__ import annotations

import pytest

from tests.bench.errors import BenchError
from tests.bench.vsphere import measured, table, turn
from tests.lab import vcenter


def test_contenders_are_counted_side_by_side(vcenter_program: None) -> None:
    costs = measured(["ours", "attributes"], 20, 1)
    ours, attributes = costs["ours"], costs["attributes"]
    # Beside what any number of machines costs: a tag, or its category, of each role.
    assert ours.calls <= 14 + 3
    assert attributes.calls > 20 * 10
    for cost in costs.values():
        assert min(cost.megabytes, cost.wall, cost.cpu, cost.memory) > 0
    lines = table({20: costs}).splitlines()
    assert lines[2].startswith(f"| 20 | ours | {ours.calls} | ")
    assert lines[2].endswith(" | 1.0 |")
    assert len(lines) == 4


def test_who_finds_less_has_no_figures(vcenter_program: None, tmp_path) -> None:
    with vcenter.start(vms=2) as simulator, pytest.raises(BenchError, match="ours found 2 machines of 3"):
        turn("ours", simulator, tmp_path, 3)
