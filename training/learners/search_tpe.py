"""A tree-structured Parzen estimator over the knobs (Bergstra et al., NeurIPS 2011; optuna's sampler)."""

from __future__ import annotations

import numpy as np

from training.learners.search import STARTS, RandomSearch, Search, State


class ParzenSearch(Search):
    """After three random starts: the open candidate nearest to what the sampler asks for."""

    def choose(self, state: State) -> int:
        if len(state.tried) < STARTS:
            return RandomSearch(self.seed).choose(state)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        low, high = state.x.min(axis=0), state.x.max(axis=0)
        ranges = {
            str(knob): optuna.distributions.FloatDistribution(low[knob], high[knob])
            for knob in np.flatnonzero(high > low)
        }
        seed = int(np.random.default_rng([self.seed, state.draw, len(state.tried)]).integers(2**31))
        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTS, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for row, outcome in zip(state.tried, state.outcomes, strict=True):
            params = {knob: float(state.x[row, int(knob)]) for knob in ranges}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(ranges), value=float(outcome)))
        asked = study.ask(dict(ranges)).params
        far = sum((state.x[:, int(knob)] - value) ** 2 for knob, value in asked.items())
        return int(np.where(state.open(), far, np.inf).argmin())
