"""The tables of measurements: one line for each figure, with its goal, its day and its commit."""

from __future__ import annotations

import importlib
import pkgutil
import re

from tests import benchmarks
from tests.conftest import REPOSITORY


def test_every_figure_has_its_day_and_its_commit() -> None:
    text = (REPOSITORY / "tests" / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert tables
    for table in tables:
        columns, _, *rows = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        )
        assert columns[0] == "figure" and {"date", "commit"} <= set(columns), columns
        for row in rows:
            cells = dict(zip(columns, row, strict=True))
            assert re.fullmatch(r"20\d\d-\d\d-\d\d", cells["date"]), row
            assert re.fullmatch(r"[0-9a-f]{7,}|-", cells["commit"]), row


def test_what_measures_them_can_still_be_imported() -> None:
    """Nothing else would tell that a benchmark was left behind when the code moved."""
    for module in pkgutil.iter_modules(benchmarks.__path__):
        importlib.import_module(f"{benchmarks.__name__}.{module.name}")
