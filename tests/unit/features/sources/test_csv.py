"""Published CSV files: what is wrong is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.sources import _csv
from infra.errors import DataError


def test_the_line_is_told_with_and_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,m\n1,1\nx,1\n")
    [(path, table)] = _csv.matching(tmp_path, ["n", "m"], "a")
    with pytest.raises(DataError, match="line 3, column 'n'"):
        _csv.number(table, "n", path)
    (tmp_path / "a.csv").write_text("1,1\nx,1\n")
    [(path, table)] = _csv.headless(tmp_path, ["n", "m"], "a")
    with pytest.raises(DataError, match="line 2, column 'n'"):
        _csv.number(table, "n", path)
