"""A made-up fleet of drives with three ways to fail, as labelled rows of `DriveHistory`; for tests only."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.transforms.drive_health import DAYS, HORIZON

START = pd.Timestamp("2024-01-01", tz="UTC")
COUNTERS = ("read_errors", "reallocated_sectors", "power_on_hours", "temperature", "pending_sectors")


def fleet(drives: int = 300, days: int = 24, failing: float = 0.2, seed: int = 0) -> pd.DataFrame:
    """One row per drive and day before its failure; failing drives hang, lose sectors or get hot for six days."""
    random = np.random.default_rng(seed)
    parts = [_drive(f"drive-{number:04d}", days, random.random() < failing, random) for number in range(drives)]
    return pd.concat(parts, ignore_index=True).sort_values(["time", "drive"], kind="stable").reset_index(drop=True)


def _drive(name: str, days: int, fails: bool, random: np.random.Generator) -> pd.DataFrame:
    model = ("ALPHA-1", "BETA-2")[random.integers(2)]
    end = int(random.integers(8, days)) if fails else days
    sick = np.clip(np.arange(end) - (end - 6), 0, None) if fails else np.zeros(end)
    kind = random.integers(3) if fails else -1
    hours = random.integers(1000, 30_000) + 24 * np.arange(end)
    values = {
        "read_errors": random.integers(0, 10**6, end) * (1000 if model == "BETA-2" else 1),
        "reallocated_sectors": 5 * random.integers(0, 2) + (kind == 1) * 60 * sick,
        "power_on_hours": hours - (kind == 0) * 24 * sick,
        "temperature": 25 + random.integers(-1, 2, end) + (kind == 2) * 3 * sick,
        "pending_sectors": (kind == 1) * 4 * sick,
    }
    return pd.DataFrame([_row(name, model, day, end if fails else None, days, values) for day in range(end)])


def _row(
    name: str, model: str, day: int, end: int | None, days: int, values: dict[str, np.ndarray]
) -> dict[str, object]:
    first = max(0, day - DAYS + 1)
    ahead = None if end is None else end - day
    followed = days - 1 - day
    label = ahead <= 2 if ahead is not None else (False if followed >= 2 else None)
    arrays = {counter: np.asarray(values[counter][first : day + 1], dtype=float) for counter in COUNTERS}
    return {
        "dataset": "fleet",
        "time": START + pd.Timedelta(days=day),
        "drive": name,
        "drive_model": model,
        "kind": "drive",
        "days_ago": np.arange(day - first, -1, -1.0),
        **arrays,
        "node_age_days": np.nan,
        "failures_days_ago": None,
        "failure_causes": None,
        HORIZON: label,
        "failed_after_days": np.nan if ahead is None else float(ahead),
        "followed_days": float(followed if ahead is None else ahead),
        "failed_component": None,
    }
