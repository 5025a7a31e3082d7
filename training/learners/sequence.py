"""Time to an event from a sequence of reports: an LSTM with a discrete-time hazard, bagged and calibrated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learner import Learner
from training.learners import shapley
from training.learners._odds import logistic
from training.learners.sequences import Encoded, Encoder, Floats, time_to_event

if TYPE_CHECKING:
    from training.learners._lstm import HazardLSTM, Survival

CHUNK = 50_000  # rows encoded at once
EXPLAINED = 200  # rows explained at once; each is scored for every coalition of inputs
RATES = np.concatenate([np.geomspace(1e-4, 0.1, 60), np.linspace(0.1, 1, 40)[1:]])


class SequenceHazard(Learner):
    """Learns when an event comes from rows that say whether it comes 1…`within` days later.

    From an entity's labels the day of its event is known, so every row of the `horizon` days before it teaches, and an
    entity that leaves without the event is censored, not healthy (discrete-time survival: Singer & Willett 1993;
    Gensheimer & Narasimhan, PeerJ 2019). Of the rows without an event a share of `negatives` is drawn, and weighs more.

    `members` networks each leave out one part of the entities. On the part left out they give the scores from which
    the log-odds are calibrated (Platt 1999) and the false-alarm rate of a score is read; together they predict.

    `predict` gives `probability` (event within `within` days), `false_alarm_rate` (share of rows without the event
    that score at least as high), `days`, `days_low`, `days_high` (median and 80 % interval of the time to the event
    should it come within `horizon` days) and `known` (whether training had enough rows of the category).
    """

    FILE = "sequence.json"

    def __init__(
        self,
        sequences: Sequence[str],
        age: str,
        category: str,
        entity: str,
        length: int = 14,
        horizon: int = 14,
        within: int = 2,
        members: int = 5,
        hidden: int = 8,
        dropout: float = 0.4,
        forget: float = 0.3,
        epochs: int = 6,
        rate: float = 3e-3,
        negatives: float = 0.1,
        seed: int = 0,
    ) -> None:
        if not 1 <= within <= horizon or members < 2:
            raise DataError(f"within={within} must be 1 to horizon={horizon}, and members={members} at least 2")
        self.config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.config["sequences"] = list(sequences)
        self.entity, self.horizon, self.within, self.seed = entity, horizon, within, seed
        self.encoder = Encoder(sequences, age, category, length)
        self.networks: list[HazardLSTM] = []
        self.state: dict[str, Any] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        import torch

        random = np.random.default_rng(self.seed)
        frame = frame.reset_index(drop=True)
        event, followed = time_to_event(frame, label, self.entity, self.within)
        ends = event <= self.horizon
        if frame.loc[ends, self.entity].nunique() < self.config["members"]:
            raise DataError(f"{label}: {frame.loc[ends, self.entity].nunique()} entities with the event; "
                            f"at least {self.config['members']} are needed to learn")  # fmt: skip
        kept = np.flatnonzero(ends | ((followed > 0) & (random.random(len(frame)) < self.config["negatives"])))
        self.encoder.fit(frame.iloc[kept])
        rows, truth = self.encoder.encode(frame.iloc[kept]), self._survival(event[kept], followed[kept])
        part = self._parts(frame[self.entity].iloc[kept].to_numpy(), ends[kept], random)
        held_out = np.empty((len(kept), self.horizon), dtype=np.float32)
        with torch.random.fork_rng():
            self.networks = [self._member(member, rows, truth, part, held_out) for member in range(part.max() + 1)]
        self._calibrate(held_out, truth)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        starts = range(0, max(len(frame), 1), CHUNK)
        return pd.concat([self._scores(frame.iloc[start : start + CHUNK]) for start in starts])

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Exact Shapley values of the log-odds against typical sequences and an unknown category, same weekday."""
        names = [*self.encoder.sequences, self.encoder.category]
        parts = [frame.iloc[start : start + EXPLAINED] for start in range(0, len(frame), EXPLAINED)]
        effects = [self._effects(self.encoder.encode(part), len(names)) for part in parts]
        return pd.DataFrame(np.concatenate([np.empty((0, len(names))), *effects]), index=frame.index, columns=names)

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        content = {"config": self.config, "encoder": self.encoder.state, "state": self.state}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))
        for number, network in enumerate(self.networks):
            save_file(network.state_dict(), folder / f"member-{number}.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.torch import load_file

        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.encoder.state, learner.state = content["encoder"], content["state"]
        for path in sorted(folder.glob("member-*.safetensors")):
            network = learner._network()
            network.load_state_dict(load_file(path))
            learner.networks.append(network.eval())
        return learner

    def _network(self, base: float = 0.0) -> HazardLSTM:
        from training.learners._lstm import HazardLSTM

        categories = len(self.encoder.state["categories"])
        hidden, dropout = self.config["hidden"], self.config["dropout"]
        return HazardLSTM(self.encoder.channels, categories, self.horizon, hidden, dropout, base)

    def _survival(self, event: Floats, followed: Floats) -> Survival:
        import torch

        from training.learners._lstm import Survival

        days = np.arange(1, self.horizon + 1)
        ends = event <= self.horizon
        weight = np.where(ends, 1.0, 1 / self.config["negatives"])
        parts = days <= np.where(ends, event - 1, followed)[:, None], days == np.where(ends, event, 0)[:, None], weight
        return Survival(*(torch.tensor(part, dtype=torch.float32) for part in parts))

    def _parts(
        self, entities: npt.NDArray[Any], ends: npt.NDArray[np.bool_], random: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """The part of each row; entities with and without the event are each dealt evenly."""
        dealt: dict[Any, int] = {}
        hit = np.unique(entities[ends])
        for group in (hit, np.setdiff1d(entities, hit)):
            for position, entity in enumerate(random.permutation(group)):
                dealt[entity] = position % self.config["members"]
        return np.array([dealt[entity] for entity in entities])

    def _member(
        self, member: int, rows: Encoded, truth: Survival, part: npt.NDArray[np.int64], held_out: npt.NDArray[Any]
    ) -> HazardLSTM:
        """Train one member and write its logits of the rows that it has not seen into `held_out`."""
        import torch

        from training.learners import _lstm

        learnt, left = np.flatnonzero(part != member), np.flatnonzero(part == member)
        seed = self.seed * 1000 + member
        torch.manual_seed(seed)
        seen = _lstm.Survival(truth.at_risk[learnt], truth.event[learnt], truth.weight[learnt])
        rate = seen.event.sum() / (seen.at_risk * seen.weight[:, None]).sum()
        network = self._network(float(torch.log(rate)))
        epochs, speed, forget = (self.config[name] for name in ("epochs", "rate", "forget"))
        _lstm.train(network, rows.take(learnt), seen, epochs, speed, forget, seed)
        held_out[left] = _lstm.logits(network, rows.take(left))
        return network

    def _calibrate(self, held_out: npt.NDArray[Any], truth: Survival) -> None:
        """Slope and intercept of the log-odds of the first `within` days, and the scores of given false-alarm rates."""
        from scipy.optimize import minimize

        z = held_out[:, : self.within].astype(float)
        safe, event = (part[:, : self.within].numpy().astype(float) for part in (truth.at_risk, truth.event))
        weight = truth.weight.numpy().astype(float)[:, None]

        def loss(line: Floats) -> float:
            scaled = line[0] * z + line[1]
            return float((weight * (safe * np.logaddexp(0, scaled) + event * np.logaddexp(0, -scaled))).sum())

        line = minimize(loss, [1.0, 0.0], method="L-BFGS-B", bounds=[(0.05, 5), (-10, 10)]).x
        self.state = {"slope": float(line[0]), "intercept": float(line[1])}
        decided = (safe.sum(axis=1) == self.within) & (event.sum(axis=1) == 0)
        probability = 1 - np.prod(1 - logistic(line[0] * z[decided] + line[1]), axis=1)
        scores = np.quantile(probability, 1 - RATES, weights=weight[decided, 0], method="inverted_cdf")
        self.state["scores"] = scores.tolist()

    def _scores(self, frame: pd.DataFrame) -> pd.DataFrame:
        rows = self.encoder.encode(frame)
        by_day = 1 - np.cumprod(1 - self._hazard(rows), axis=1)
        probability = by_day[:, self.within - 1]
        alarms = np.interp(probability, self.state["scores"][::-1], RATES[::-1])
        scores = {"probability": probability, "false_alarm_rate": alarms, "known": rows.category > 0}
        share = by_day / by_day[:, -1:]
        for name, quantile in (("days", 0.5), ("days_low", 0.1), ("days_high", 0.9)):
            scores[name] = 1.0 + (share < quantile).sum(axis=1)
        return pd.DataFrame(scores, index=frame.index)

    def _effects(self, rows: Encoded, players: int) -> Floats:
        """Rows × players: the sequences in order, then the category."""

        def score(on: npt.NDArray[np.bool_]) -> Floats:
            x = np.repeat(rows.x[None], len(on), axis=0)
            for player, name in enumerate(self.encoder.sequences):
                x[~on[:, player], :, :, self.encoder.owned(name)] = 0.0
            category = np.where(on[:, -1:], rows.category, 0).ravel()
            shown = Encoded(x.reshape(-1, *rows.x.shape[1:]), category, np.tile(rows.weekday, len(on)))
            survived = np.prod(1 - self._hazard(shown)[:, : self.within], axis=1)
            return np.asarray(np.log(1 - survived) - np.log(survived)).reshape(len(on), -1)

        return shapley.exact(score, players)

    def _hazard(self, rows: Encoded) -> Floats:
        """Rows × horizon: chance of the event on each day, given none before."""
        from training.learners import _lstm

        slope, intercept = self.state["slope"], self.state["intercept"]
        members = [_lstm.logits(network, rows).astype(float) for network in self.networks]
        return np.mean([logistic(slope * member + intercept) for member in members], axis=0)
