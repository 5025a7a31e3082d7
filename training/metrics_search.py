"""How well a search did on measured tables: gains over the baseline, regret to the best, margin over chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.learner import Learner
from training.learners.search import Search, gains

Floats = npt.NDArray[np.float64]
TRIALS = 10
SEARCHES = 5  # of each task: chance in the first picks is averaged out
NOISES = 1.0  # a gain below so many standard deviations of a repeated measurement is none


def play(learner: Learner, rows: pd.DataFrame, truth: pd.Series) -> pd.DataFrame:
    """Search every task of `rows` `SEARCHES` times with `TRIALS` trials; `truth` is revealed one outcome at a time.

    Columns `trial_0`, ...: when a row was measured (from 1; NaN: never); `gain`: its log gain, 0 within the noise, NaN
    where no search measured it. Same index as `rows`.
    """
    assert isinstance(learner, Search)  # noqa: S101 - the contenders of one model
    trial = pd.DataFrame(np.nan, index=rows.index, columns=[f"trial_{number}" for number in range(SEARCHES)])
    gain = pd.Series(np.nan, index=rows.index)
    for place, (_, task) in enumerate(rows.groupby("task", sort=True)):
        outcome = gains(task.assign(truth=truth[task.index]), "truth")
        begin = learner.start(task, TRIALS)
        for number, name in enumerate(map(str, trial)):
            state = replace(begin, draw=SEARCHES * place + number)
            while state.left and state.open().any():
                choice = learner.choose(state)
                state = state.after(choice, float(outcome[choice]))
            at = task.index[state.tried]
            trial.loc[at, name] = np.arange(1.0, len(state.tried) + 1)
            gain[at] = np.where(state.outcomes > NOISES * state.noise, state.outcomes, 0.0)
    return trial.assign(gain=gain)


def search(test: pd.DataFrame, trials: pd.DataFrame, label: str) -> dict[str, float]:
    """Means over tasks and searches; a task in which no gain above the noise was measured keeps its baseline, gain 0.

    `gain`: of the best measured (0.3 is 30 %, run time counts as speed); `regret`: share of the best row's performance
    that is missed; `share_of_best`: of the best row's gain, reached (tasks that have one); `margin_over_random`:
    `gain` less what as many random rows give on average (exact); `gain_exists`: share of tasks whose best row beats
    the noise; `verdict_right`: gain claimed where one exists, and "none" where none does; `gain_30`: share of the tasks
    with 30 % to be had in which 30 % were found.
    """
    known = test[label].notna().to_numpy()
    rows = test[known]
    gain, noise, tried = gains(rows, label), rows["noise"].to_numpy("float64"), trials[known].notna().to_numpy()
    tasks = [
        found
        for at in rows.groupby("task", sort=True).indices.values()
        for found in _task(gain[at], tried[at], float(noise[at[0]]))
    ]
    frame = pd.DataFrame(tasks)
    able = frame[frame["best"] >= np.log(1.3)]
    return {
        "gain": float(np.expm1(frame["found"]).mean()),
        "regret": float(-np.expm1(frame["found"] - frame["best"]).mean()),
        "share_of_best": float((frame["found"] / frame["best"])[frame["best"] > 0].mean()),
        "margin_over_random": float((np.expm1(frame["found"]) - np.expm1(frame["random"])).mean()),
        "gain_exists": float(frame["exists"].mean()),
        "verdict_right": float((frame["exists"] == frame["claimed"]).mean()),
        "gain_30": float((able["found"] >= np.log(1.3)).mean()) if len(able) else np.nan,
    }


def _task(gain: Floats, tried: npt.NDArray[np.bool_], noise: float) -> list[dict[str, float]]:
    """One entry a search; `tried`: rows × searches."""
    floor = NOISES * noise
    best, claimable = float(gain.max(initial=0.0)), np.where(gain > floor, gain, 0.0)
    chance = {count: _expected_best(claimable, count) for count in set(tried.sum(axis=0).tolist())}
    entries = []
    for search in tried.T:
        found = float(gain[search].max(initial=0.0))
        claimed = found > floor
        entries.append(
            {
                "found": found if claimed else 0.0,
                "best": best,
                "random": chance[int(search.sum())],
                "exists": float(best > floor),
                "claimed": float(claimed),
            }
        )
    return entries


def _expected_best(gain: Floats, trials: int) -> float:
    """Mean of the largest of `trials` rows drawn without replacement."""
    ordered = np.sort(gain)
    count = len(ordered)
    if not trials:
        return 0.0
    lowest, draw = np.arange(count + 1)[:, None], np.arange(trials)
    below = np.prod(np.maximum(lowest - draw, 0) / (count - draw), axis=1)  # P(all draws are among the lowest k)
    return float((ordered * np.diff(below)).sum())
