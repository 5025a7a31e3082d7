"""The graph network of `scorers.GraphNetwork`, in PyTorch Geometric; imported only when it is fitted or scored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import scatter, softmax

from training.learners.graphs import Encoded, Floats, Ints

HIDDEN, LAYERS, DROPOUT = 32, 2, 0.3
EPOCHS, STEPS, BATCH = 40, 400, 24  # as many passes over the rows, or steps if those are fewer
RATE, DECAY = 3e-3, 1e-2
HIDE = 0.1  # share of the inputs that is hidden at random in training
CLIP = 5.0  # spreads from the mean; further away says nothing more
CHUNK = 2000  # rows scored at once


class CauseNetwork(nn.Module):
    """Node features → a score per node.

    Each layer adds to a node's state what its callers, those it calls, and all nodes of its row on average say: mean
    aggregation in both directions with weights of their own (GraphSAGE; Hamilton et al., NeurIPS 2017). A linear path
    beside it keeps what a node says of itself. Nothing depends on the order or number of nodes.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.read = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT))
        self.down = nn.ModuleList(SAGEConv(HIDDEN, HIDDEN, root_weight=False) for _ in range(LAYERS))
        self.up = nn.ModuleList(SAGEConv(HIDDEN, HIDDEN, root_weight=False) for _ in range(LAYERS))
        self.own = nn.ModuleList(nn.Linear(2 * HIDDEN, HIDDEN) for _ in range(LAYERS))
        self.norm = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(LAYERS))
        self.drop = nn.Dropout(DROPOUT)
        self.deep, self.plain = nn.Linear(HIDDEN, 1), nn.Linear(features, 1)

    def forward(self, x: Tensor, edges: Tensor, row: Tensor) -> Tensor:
        """Nodes × features, 2 × edges (caller, callee), and the row of each node → a score per node."""
        x = ((x - self.mean) / self.spread).clamp(-CLIP, CLIP)
        if self.training:
            x = x * (torch.rand_like(x) >= HIDE)
        state = self.read(x)
        for down, up, own, norm in zip(self.down, self.up, self.own, self.norm, strict=True):
            everybody = scatter(state, row, dim=0, reduce="mean")[row]
            told = down(state, edges) + up(state, edges.flip(0)) + own(torch.cat([state, everybody], dim=1))
            state = state + self.drop(torch.relu(norm(told)))
        return (self.deep(state) + self.plain(x)).squeeze(1)


def train(rows: Encoded, roots: Ints, seed: int) -> CauseNetwork:
    """Fit a network to the node at `roots` of each row; returned on the CPU and in evaluation mode."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        network = CauseNetwork(rows.x.shape[1])
        spread = rows.x.std(axis=0)
        network.mean.copy_(torch.from_numpy(rows.x.mean(axis=0)))
        network.spread.copy_(torch.from_numpy(np.where(spread > 1e-6, spread, 1.0)))
        network.to(device)
        steps = min(STEPS, EPOCHS * -(-len(roots) // BATCH))
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
        for batch in _batches(len(roots), steps, random):
            _step(network, optimizer, rows.take(batch), roots[batch])
            schedule.step()
    return network.cpu().eval()


def scores(network: CauseNetwork, rows: Encoded) -> Floats:
    """A score per node."""
    count = len(rows.starts) - 1
    parts = [np.empty(0)]
    for start in range(0, count, CHUNK):
        part = rows.take(np.arange(start, min(start + CHUNK, count)))
        if len(part.x):
            with torch.inference_mode():
                parts.append(network(*_tensors(part, torch.device("cpu"))).double().numpy())
    return np.concatenate(parts)


def empty(state: dict[str, Tensor]) -> CauseNetwork:
    """The network whose weights are `state`."""
    network = CauseNetwork(len(state["mean"]))
    network.load_state_dict(state)
    return network.eval()


def _batches(count: int, steps: int, random: np.random.Generator) -> Iterator[Ints]:
    """`steps` batches of rows; every row is drawn as often as every other, give or take one."""
    waiting = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(waiting) < min(BATCH, count):
            waiting = np.concatenate([waiting, random.permutation(count)])
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        yield np.unique(batch)


def _step(network: CauseNetwork, optimizer: torch.optim.Optimizer, part: Encoded, roots: Ints) -> None:
    x, edges, row = _tensors(part, network.mean.device)
    probability = softmax(network(x, edges, row), row)
    wanted = torch.from_numpy(part.starts[:-1] + roots).to(x.device)
    loss = -(probability[wanted] + 1e-9).log().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _tensors(part: Encoded, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    row = np.repeat(np.arange(len(part.starts) - 1), np.diff(part.starts))
    return tuple(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (part.x, part.graphs.edges, row))  # type: ignore[return-value]
