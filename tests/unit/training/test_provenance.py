"""Digests, commits and requirements."""

from __future__ import annotations

import importlib.metadata
import re

import numpy as np
import pytest

from tests.models import tiny
from training import provenance


def test_digest_changes_with_values_and_not_with_order() -> None:
    frame = tiny.frame()
    digest = provenance.digest(frame)
    assert re.fullmatch("[0-9a-f]{16}", digest)
    assert provenance.digest(frame.sample(frac=1, random_state=0)[frame.columns[::-1]]) == digest
    changed = frame.copy()
    changed.loc[5, "heat"] += 1e-9
    assert provenance.digest(changed) != digest
    inside = frame.copy()
    inside.at[5, "recent"] = [0.0]
    assert provenance.digest(inside) != digest
    assert provenance.digest(frame.rename(columns={"heat": "warmth"})) != digest


def test_digest_is_the_same_for_lists_and_arrays() -> None:
    frame = tiny.frame()
    assert provenance.digest(frame.assign(recent=frame["recent"].map(np.asarray))) == provenance.digest(frame)


def test_git_sha_is_a_commit_or_unknown() -> None:
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?|unknown", provenance.git_sha())


def test_no_checkout_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.git_sha() == "unknown"


def test_requirements_are_what_the_code_imports() -> None:
    needed = dict(line.split("==") for line in provenance.requirements(["training.metrics", "training.model"]))
    assert {"numpy", "pandas", "scipy", "pydantic"} <= set(needed)
    assert not {"torch", "mlflow", "feast", "prefect"} & set(needed)
    assert needed["numpy"] == importlib.metadata.version("numpy")


def test_requirements_follow_imports_inside_functions() -> None:
    with tiny.plugged_in() as name:
        plain = provenance.requirements([f"training.models.{name}"])
    assert not any(line.startswith("scikit-learn") for line in plain)
    assert any(line.startswith("scikit-learn==") for line in provenance.requirements(["training.learners.linear"]))
