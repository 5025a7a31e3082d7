"""Unified diffs over the files of a folder, whether they are applied there or not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from features.iac import FileChange, diff
from infra.errors import DataError

OLD = "".join(f"line {number}\n" for number in range(30))
NEW = OLD.replace("line 3\n", "line three\nand a half\n").replace("line 20\n", "")


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    """`change.diff` of a changed, a new and a deleted file, as git makes it."""
    if not shutil.which("git"):
        pytest.skip("git is not on this machine")
    for side, files in {"a": {"x.tf": OLD, "gone.tf": "x\n"}, "b": {"x.tf": NEW, "new/y.tf": "one\ntwo\n"}}.items():
        for name, text in files.items():
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / side / name).write_text(text)
    made = subprocess.run(["git", "diff", "--no-index", "a", "b"], cwd=tmp_path, capture_output=True, text=True)
    file = tmp_path / "change.diff"
    file.write_text(made.stdout.replace("a/a/", "a/").replace("b/b/", "b/"))
    return file


@pytest.mark.parametrize("side", ["a", "b"])
def test_both_sides_are_found_from_either(patch: Path, side: str) -> None:
    found = diff.read(patch, patch.parent / side)
    assert sorted(found, key=lambda change: change.path) == [
        FileChange("new/y.tf", None, "one\ntwo\n"),
        FileChange("x.tf", OLD, NEW),
    ]


def test_what_does_not_fit_is_named(patch: Path) -> None:
    (patch.parent / "a" / "x.tf").write_text("something else\n")
    with pytest.raises(DataError, match="neither the old nor the new content"):
        diff.read(patch, patch.parent / "a")
    (patch.parent / "a" / "x.tf").unlink()
    with pytest.raises(DataError, match=r"x\.tf, which is not below"):
        diff.read(patch, patch.parent / "a")
    patch.write_text("--- a/../b/x.tf\n+++ b/../b/x.tf\n@@ -1 +1 @@\n-line 0\n+line\n")
    with pytest.raises(DataError, match="is not below"):
        diff.read(patch, patch.parent / "a")
    patch.write_text("nothing")
    with pytest.raises(DataError, match="holds no unified diff"):
        diff.read(patch, patch.parent)
    with pytest.raises(DataError, match="cannot be read"):
        diff.read(patch.parent / "none.diff", patch.parent)


def test_a_folder_or_a_file_is_new(patch: Path) -> None:
    assert diff.read(patch.parent / "a", patch.parent) == [
        FileChange("gone.tf", None, "x\n"),
        FileChange("x.tf", None, OLD),
    ]
    assert diff.read(patch.parent / "a" / "gone.tf", patch.parent) == [FileChange("gone.tf", None, "x\n")]
    assert [diff.readable(Path(name)) for name in ("x.diff", "x.tf", "x.json", "x.csv")] == [True, True, False, False]


def test_a_file_too_large_to_be_judged_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "small.tf").write_text("# small\n")
    (tmp_path / "large.tf").write_text("#" * 200_001)
    with pytest.raises(DataError, match=r"larger than 200000 bytes.*large\.tf"):
        diff.read(tmp_path, tmp_path)
