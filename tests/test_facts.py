"""Every fact, from data: tests/fixtures/facts/<module>.<Fact>/*.yaml."""

from __future__ import annotations

from pathlib import Path

from pyinfra_testing.facts import make_fact_tests

FIXTURES = Path(__file__).parent / "fixtures" / "facts"

for folder in sorted(path for path in FIXTURES.iterdir() if path.is_dir()):
    locals()[f"Test{folder.name}"] = make_fact_tests("facts", folder.name, folder)
