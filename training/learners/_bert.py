"""BERT in PyTorch: a pretrained encoder that stays as it is, and the layers above it that learn. Imported when used."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from infra.errors import DataError

TOKENS = 80  # of a text that are read; nine first messages of ten are shorter
BATCH = 32
KEPT = 4096  # texts whose encodings are remembered
WARMUP = 0.1  # share of the steps in which the rate rises


@dataclass(frozen=True)
class Encoded:
    """A text below the layers that learn: `hidden` tokens × width, `pooled` width (unit length), `spans` of tokens."""

    hidden: Tensor
    pooled: Tensor
    spans: list[tuple[int, int]] = field(repr=False)


class Top(nn.Module):
    """The last layers of the encoder and a linear head, on the first token ([CLS]).

    In the last layer only the first token asks: what the others would say there is read by nobody, so that this is the
    whole BERT at a fraction of the cost.
    """

    def __init__(self, layers: nn.ModuleList, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.layers = copy.deepcopy(layers)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        """`hidden`: texts × tokens × width; `seen`: texts × tokens, which tokens may be looked at → classes."""
        for layer in self.layers[:-1]:
            hidden = _layer(layer, hidden, hidden, seen)
        first = _layer(self.layers[-1], hidden, hidden[:, :1], seen)
        return self.head(self.dropout(first[:, 0]))


class Base:
    """The pretrained checkpoint `name`: an installed package with a folder `model`, or a folder."""

    def __init__(self, name: str, tuned: int) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        folder = _folder(name)
        self.digest = _sha256(folder / "model.safetensors")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval().to(self.device)
        depth = int(self.model.config.num_hidden_layers)
        if not 1 <= tuned <= depth:
            raise DataError(f"{tuned} layers cannot learn: {name} has {depth}")
        self.below, self.width = depth - tuned, int(self.model.config.hidden_size)
        self._known: OrderedDict[str, Encoded] = OrderedDict()

    def top(self, classes: int, dropout: float) -> Top:
        """The layers that learn, as pretrained, with a head that says nothing yet."""
        return Top(self.model.encoder.layer[self.below :], self.width, classes, dropout).to(self.device)

    def encode(self, texts: list[str]) -> list[Encoded]:
        """Each text below the layers that learn; texts seen lately are not computed again."""
        found = {text: known for text in texts if (known := self._known.get(text)) is not None}  # others may pop
        missing = sorted({text for text in texts if text not in found}, key=lambda text: (len(text), text))
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            found |= dict(zip(part, self._encode(part), strict=True))
        self._known |= found
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return [found[text] for text in texts]

    @torch.inference_mode()
    def _encode(self, texts: list[str]) -> list[Encoded]:
        tokens = self.tokenizer(
            texts,
            truncation=True,
            max_length=TOKENS,
            padding=True,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        spans, seen = tokens.pop("offset_mapping").tolist(), tokens["attention_mask"].to(self.device)
        ids = tokens["input_ids"].to(self.device)
        states = self.model(input_ids=ids, attention_mask=seen, output_hidden_states=True).hidden_states
        weight = seen[..., None].float()
        pooled = functional.normalize((states[-1] * weight).sum(1) / weight.sum(1), dim=1).cpu()
        hidden, counts = states[self.below].cpu(), seen.sum(1).tolist()
        return [
            Encoded(hidden[row, :count].clone(), pooled[row].clone(), [(a, b) for a, b in spans[row][:count]])
            for row, count in enumerate(counts)
        ]


@lru_cache(maxsize=2)
def base(name: str, tuned: int) -> Base:
    """The checkpoint, loaded once a process."""
    return Base(name, tuned)


def padded(rows: list[Encoded], device: torch.device) -> tuple[Tensor, Tensor]:
    """Hidden states, padded, and which tokens are there."""
    hidden = nn.utils.rnn.pad_sequence([row.hidden for row in rows], batch_first=True)
    counts = torch.tensor([len(row.hidden) for row in rows])
    return hidden.to(device), (torch.arange(hidden.shape[1]) < counts[:, None]).to(device)


def batches(rows: int) -> int:
    """How many make up an epoch."""
    return -(-rows // BATCH)


def train(
    top: Top, rows: list[Encoded], y: npt.NDArray[np.int64], epochs: int, rate: float, head_rate: float, seed: int
) -> None:
    """Cross-entropy by AdamW with warm-up and linear decay, batches of texts of similar length."""
    random, device = np.random.default_rng(seed), top.head.weight.device
    target = torch.tensor(y, device=device)
    groups = [{"params": top.layers.parameters(), "lr": rate}, {"params": top.head.parameters(), "lr": head_rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = epochs * batches(len(rows))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (WARMUP * steps)) * (1 - step / steps)
    )
    lengths = np.array([len(row.hidden) for row in rows])
    top.train()
    for _ in range(epochs):
        order = np.argsort(lengths + random.uniform(0, 15, len(lengths)))  # similar lengths need little padding
        parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        for part in random.permutation(len(parts)):
            hidden, seen = padded([rows[i] for i in parts[part]], device)
            loss = functional.cross_entropy(top(hidden, seen), target[parts[part]])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(top.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    top.eval()


@torch.inference_mode()
def logits(top: Top, rows: list[Encoded]) -> npt.NDArray[np.float64]:
    """Texts × classes."""
    device, found = top.head.weight.device, [np.empty((0, top.head.out_features))]
    for start in range(0, len(rows), BATCH):
        found.append(top(*padded(rows[start : start + BATCH], device)).cpu().numpy().astype(float))
    return np.concatenate(found)


@torch.inference_mode()
def occluded(top: Top, row: Encoded, hidden_spans: list[list[tuple[int, int]]]) -> npt.NDArray[np.float64]:
    """(1 + cases) × classes: with all tokens, and without those that overlap each case's character spans."""
    device = top.head.weight.device
    seen = torch.ones(1 + len(hidden_spans), len(row.hidden), dtype=torch.bool)
    for case, spans in enumerate(hidden_spans, 1):
        for token, (begin, end) in enumerate(row.spans):
            seen[case, token] = not any(begin < last and first < end for first, last in spans)
    hidden = row.hidden.expand(len(seen), -1, -1)
    return top(hidden.to(device), seen.to(device)).cpu().numpy().astype(float)


def _layer(layer: Any, hidden: Tensor, asking: Tensor, seen: Tensor) -> Tensor:
    """A BERT layer in which only `asking` (texts × tokens × width) asks; all of `hidden` that is `seen` answers."""
    attention = layer.attention.self
    heads = attention.num_attention_heads
    query, key, value = (
        linear(x).unflatten(-1, (heads, -1)).transpose(1, 2)
        for linear, x in ((attention.query, asking), (attention.key, hidden), (attention.value, hidden))
    )
    context = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
    inner = layer.attention.output(context.transpose(1, 2).flatten(2), asking)
    return layer.output(layer.intermediate(inner), inner)


def _folder(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    spec = importlib.util.find_spec(name)
    for place in spec.submodule_search_locations or [] if spec else []:
        if (folder := Path(place) / "model").is_dir():
            return folder
    raise DataError(f"no checkpoint {name!r}: neither a folder nor an installed package with a folder `model`")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
