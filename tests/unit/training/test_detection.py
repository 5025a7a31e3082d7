"""Figures of instances and of systems, on scores whose figures are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training import detection, intervals
from training.model import Fold
from training.models.anomaly_detector import AnomalyDetector

MINUTES, SERVICES = 120, ("a", "b", "c", "d")


def _system() -> pd.DataFrame:
    """`a` breaks in minutes 30-32, `b` in 60-62 and 90-92; the clocks of the services are some seconds apart."""
    minute = np.arange(MINUTES)
    parts = []
    for number, name in enumerate(SERVICES):
        time = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(60 * minute + number, unit="s")
        part = pd.DataFrame({"time": time, "instance": name, "service": name, "step": 60.0, "minute": minute})
        broken = {"a": (30,), "b": (60, 90)}.get(name, ())
        part["anomalous"] = sum((part["minute"].between(m, m + 2) for m in broken), np.zeros(MINUTES)) > 0
        part["user_latency"] = np.where(minute < 60, 1.0, 2.0) + minute / 1000 if name == "a" else np.nan
        part["user_failures"] = 0.0 if name == "a" else np.nan
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(dataset="s", blamed=pd.Series([[]] * len(frame)))


def _scores(frame: pd.DataFrame, score: pd.Series) -> pd.DataFrame:
    lists = {"metrics": [["PodServerLatencyP90(s)"]] * len(frame), "effects": [np.array([s]) for s in score]}
    return pd.DataFrame({"score": score, "threshold": 1.0, **lists}, index=frame.index)


def test_a_perfect_detector_finds_the_broken_service() -> None:
    frame = _system()
    scores = _scores(frame, frame["anomalous"].astype(float) * 2)
    found = detection.of_system(frame, scores, scores["score"].tolist())
    assert (found["service_hit_1"], found["service_hit_3"]) == (1, 1)
    figures = detection.of_instances(frame, scores)
    assert figures["event_recall"] == figures["f1"] == 1  # of the services that had an event
    assert figures["false_alarms_per_day"] == 0


def test_one_score_for_all_finds_no_service() -> None:
    frame = _system()
    found = detection.of_system(frame, _scores(frame, pd.Series(1.0, frame.index)), [0.0] * len(frame))
    assert (found["service_hit_1"], found["service_hit_3"]) == (0, 0)
    assert np.isnan(found["impact_vs_latency"])


def test_a_service_behind_another_is_found_in_the_third_place() -> None:
    frame = _system()
    score = frame["anomalous"].astype(float) + 5 * (frame["instance"] == "d")
    found = detection.of_system(frame, _scores(frame, score), [0.0] * len(frame))
    assert (found["service_hit_1"], found["service_hit_3"]) == (0, 1)


def test_impact_is_held_against_what_users_felt_minute_by_minute() -> None:
    frame = _system()
    scores = _scores(frame, pd.Series(0.0, frame.index))
    for sign in (1, -1):
        found = detection.of_system(frame, scores, (sign * frame["minute"]).tolist())
        assert found["impact_vs_latency"] == pytest.approx(sign)
        assert found["impact_vs_degradation"] == pytest.approx(sign)


def test_requests_that_fail_at_once_are_a_degradation() -> None:
    frame = _system()
    failing = (frame["instance"] == "a") & frame["minute"].between(10, 14)
    frame.loc[failing, ["user_latency", "user_failures"]] = [0.01, 0.9]
    impact = frame["minute"].between(10, 14).astype(float) * 1000 + frame["minute"]
    found = detection.of_system(frame, _scores(frame, pd.Series(0.0, frame.index)), impact.tolist())
    assert found["impact_vs_degradation"] > 0.99 > found["impact_vs_latency"]


def test_a_systems_services_stay_together_when_time_is_drawn() -> None:
    frame = _system()
    scores = _scores(frame, frame["anomalous"].astype(float) * 2)
    lists = dict.fromkeys(("metrics", "values", "off_season", "off_50", "off_17", "off_5", "off_2"), 0)
    fold = Fold("s", frame, frame.assign(**lists), together=True)
    found = intervals.drawn(AnomalyDetector(), fold, {"model": scores}, draws=10, seed=0)
    hits = found.loc[found["metric"] == "service_hit_1", "value"]
    assert len(hits) and hits.eq(1).all()
    assert found.loc[found["metric"] == "accuracy", "value"].eq(1).all()
