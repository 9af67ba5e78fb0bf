"""Write what PyTorch computes, in float64 on the CPU, for the learning semantics that the package implements.

    python tests/data/make_golden.py DIRECTORY [--seed N] [--bidirectional]

The golden data are made with seed 0. PyTorch is needed here only; nobody who runs the tests has to have it.

``online_run`` is the executable specification: predict, score, advance, learn, one record at a time, with nothing but
PyTorch's own modules, losses, optimisers and gradients. One .npz per case, in seven families:

``cells_*``      one forward and backward pass over a whole sequence
``tbptt_*``      an online run over one stream, at several k1 and k2
``log_*``        interleaved streams, missing targets, sequence ends, several windows per optimiser step
``loss_*``       such a log for every other loss, with Adam
``optimizer_*``  such a log for every optimiser, with squared loss and without any default
``symbols_*``    such a log of symbols, whose rows are an embedding's that SparseAdam learns; also of the next symbol
``ctc_*``        the CTC loss of one sequence and its gradient; the blank is output 0

Tensors have PyTorch's names and layouts (LSTM gates i, f, g, o; GRU gates r, z, n); README.md lists the keys of a file.
Dimensions: T records or steps, D inputs, V symbols, H hidden units, Y targets, O outputs, Q quantile levels, L layers.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

Case = dict[str, Any]
State = Tensor | tuple[Tensor, Tensor]

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
OPTIMIZERS: dict[str, tuple[Any, dict[str, str]]] = {  # PyTorch's class, and its names of the spec's parameters
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": "momentum"}),
    "rmsprop": (torch.optim.RMSprop, {"rmsprop_alpha": "alpha", "eps": "eps"}),
    "adam": (torch.optim.Adam, {"betas": "betas", "eps": "eps"}),
    "adamw": (torch.optim.AdamW, {"betas": "betas", "eps": "eps", "weight_decay": "weight_decay"}),
}


class Net(nn.Module):
    """Recurrent trunk and linear readout: y_t = head(h_t)."""

    def __init__(
        self, cell: str, inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.rnn = CELLS[cell](inputs, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * directions, outputs)
        h = torch.zeros(layers * directions, 1, hidden)
        self.zero_state: State = (h, h.clone()) if cell == "lstm" else h

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (1, T, O) and the state after x (1, T, D)."""
        h, state = self.rnn(x, state)
        return self.head(h), state

    def weights(self, prefix: str) -> Case:
        return {f"{prefix}/{name}": w.detach().numpy().copy() for name, w in self.named_parameters()}


class SymbolNet(Net):
    """A Net whose first D inputs are numbers and the others numbers of symbols, -1 = missing.

    The symbols' columns of ``weight_ih_l0`` are the rows of an embedding with sparse gradients. Their sum enters the
    cell through columns that stay the identity matrix, so that PyTorch's own cell adds it to all gates.
    """

    def __init__(self, cell: str, inputs: int, symbols: int, hidden: int, outputs: int, layers: int) -> None:
        gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell] * hidden
        super().__init__(cell, inputs + gates, hidden, outputs, layers)
        self.inputs = inputs
        self.rows = nn.EmbeddingBag(symbols, gates, mode="sum", sparse=True)
        with torch.no_grad():
            self.rows.weight.copy_(torch.empty(symbols, gates).uniform_(-(hidden**-0.5), hidden**-0.5))
            self.rnn.weight_ih_l0[:, inputs:] = torch.eye(gates)
        self.rnn.weight_ih_l0.register_hook(lambda g: torch.cat([g[:, :inputs], torch.zeros(gates, gates)], 1))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        numbers = x[0, :, self.inputs :].long()
        known = numbers >= 0
        before = torch.cat([torch.zeros(1, dtype=torch.long), known.sum(1).cumsum(0)[:-1]])
        looked_up = self.rows(numbers[known], before)
        return super().forward(torch.cat([x[:, :, : self.inputs], looked_up[None]], 2), state)

    def weights(self, prefix: str) -> Case:
        """Under the names and shapes of a cell that symbols are multiplied with, as columns of zeros and a one."""
        named = dict(super().weights(prefix))
        name, rows = f"{prefix}/rnn.weight_ih_l0", named.pop(f"{prefix}/rows.weight")
        return named | {name: np.concatenate([named[name][:, : self.inputs], rows.T], 1)}


def parts(state: State) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def last_states(state: State) -> Case:
    """``last_h`` and, of an LSTM, ``last_c``: (L, H)."""
    return {f"last_{name}": part.detach().numpy()[:, 0] for name, part in zip("hc", parts(state), strict=False)}


# ---- losses: of raw outputs (T, O) and targets (T, Y), NaN where unknown; the mean over the known elements


@dataclass(frozen=True)
class Loss:
    """How windows are judged, and how raw outputs become what is published."""

    value: Callable[[Tensor, Tensor], Tensor]
    publish: Callable[[Tensor], Tensor] = lambda raw: raw


def squared(raw: Tensor, y: Tensor) -> Tensor:
    known = ~torch.isnan(y)
    return functional.mse_loss(raw[known], y[known])


def absolute(raw: Tensor, y: Tensor) -> Tensor:
    known = ~torch.isnan(y)
    return functional.l1_loss(raw[known], y[known])


def huber(raw: Tensor, y: Tensor, delta: float) -> Tensor:
    known = ~torch.isnan(y)
    return functional.huber_loss(raw[known], y[known], delta=delta)


def quantile(raw: Tensor, y: Tensor, levels: tuple[float, ...]) -> Tensor:
    """PyTorch has no pinball loss. Outputs are levels within targets: (T, Y * Q)."""
    below = y[:, :, None] - raw.reshape(*y.shape, len(levels))  # what a prediction lacks
    q = torch.tensor(levels)
    return torch.maximum(q * below, (q - 1) * below)[~torch.isnan(y)].mean()


def softmax_cross_entropy(raw: Tensor, y: Tensor) -> Tensor:
    known = ~torch.isnan(y[:, 0])
    return functional.cross_entropy(raw[known], y[known, 0].long())


def logistic_cross_entropy(raw: Tensor, y: Tensor) -> Tensor:
    known = ~torch.isnan(y[:, 0])
    return functional.binary_cross_entropy_with_logits(raw[known, 0], y[known, 0])


# ---- the executable specification


@dataclass
class Sequence:
    """What happened in a stream since it began or since its last sequence ended."""

    state: State
    x: list[Tensor] = field(default_factory=list)
    y: list[Tensor] = field(default_factory=list)
    before: list[State] = field(default_factory=list)  # the carried state that a step was predicted from
    learned: int = 0  # steps whose targets were injected


@dataclass(frozen=True)
class Log:
    """Records in order: whose (T,), inputs (T, D), targets (T, Y), and which are the last of their sequence (T,)."""

    stream: np.ndarray
    x: Tensor
    y: Tensor
    end: np.ndarray


def online_run(net: Net, log: Log, loss: Loss, optimizers: list[torch.optim.Optimizer], settings: Case) -> Case:
    """Learn a log by one model, each stream with a state of its own.

    Per record: predict from the stream's carried state, then advance it. A stream's window is due at every k1-th step
    of its sequence and at its last record. It replays the newest k2 steps of the sequence (fewer at its start) with the
    current weights, from the carried state before them, and injects the targets of the steps since the stream's
    previous window. A window without a known target is skipped and not counted. After ``batch_size`` windows: gradients
    averaged over them, clipped by global norm, one optimiser step. The end of a sequence resets the stream, after its
    record; a replay never rewrites a carried state. Of a forecast the newest step's target is not known yet.

    Steps behind the newest known target have no part in the gradient. A sparse one would hold their rows, as zeros, and
    so a replay of symbols ends with that target: rows are in use that the loss depends on.
    """
    k1, k2, batch_size = settings["k1"], settings["k2"], settings["batch_size"]
    unknown = 1 if settings.get("known") == "forecast" else 0
    streams = {s: Sequence(net.zero_state) for s in np.unique(log.stream)}
    predictions, norms, losses = [], [], []
    net.zero_grad()
    for s, x, y, end in zip(log.stream, log.x, log.y, log.end, strict=True):
        sequence = streams[s]
        sequence.before.append(sequence.state)
        with torch.no_grad():
            raw, sequence.state = net(x[None, None], sequence.state)
        predictions.append(loss.publish(raw[0, 0]).numpy())
        sequence.x.append(x)
        sequence.y.append(y)
        steps = len(sequence.x)
        if steps % k1 == 0 or end:
            start, new = max(0, steps - k2), sequence.learned
            sequence.learned = steps - unknown
            known = [t for t in range(new, steps - unknown) if not torch.isnan(sequence.y[t]).all()]
            if known:
                last = known[-1] + 1
                x_replayed = torch.stack(sequence.x[start : last if isinstance(net, SymbolNet) else steps])
                replay, _ = net(x_replayed[None], sequence.before[start])
                value = loss.value(replay[0, new - start : last - start], torch.stack(sequence.y[new:last]))
                value.backward()
                losses.append(value.item())
                if len(losses) % batch_size == 0:
                    for p in net.parameters():
                        p.grad /= batch_size
                    norms.append(clip(net, settings["clip_norm"]))
                    for optimizer in optimizers:
                        optimizer.step()
                    net.zero_grad()
        if end:
            streams[s] = Sequence(net.zero_state)
    final = last_states(streams[log.stream[-1]].state)
    return {"pred": np.array(predictions), "grad_norm": np.array(norms), "update_loss": np.array(losses), **final}


def clip(net: Net, clip_norm: float) -> float:
    """``clip_grad_norm_``, which does not take sparse gradients, by the norm of all of them; returns the norm."""
    sparse = [p for p in net.parameters() if p.grad.is_sparse]
    if not sparse:
        return float(nn.utils.clip_grad_norm_(net.parameters(), clip_norm))
    norm = torch.cat([p.grad.to_dense().flatten() for p in net.parameters()]).norm()
    for p in net.parameters():
        p.grad *= min(1.0, clip_norm / (norm + 1e-6))
    return float(norm)


def new_optimizers(net: Net, settings: Case) -> list[torch.optim.Optimizer]:
    """The one that is asked for; rows that are looked up have a SparseAdam of their own."""
    kind, names = OPTIMIZERS[settings["optimizer"]]
    given = {theirs: settings[ours] for ours, theirs in names.items() if ours in settings}
    rows = [net.rows.weight] if isinstance(net, SymbolNet) else []
    others = [p for p in net.parameters() if not any(p is row for row in rows)]
    sparse = [torch.optim.SparseAdam(rows, lr=settings["lr"], **given)] if rows else []
    return [kind(others, lr=settings["lr"], **given), *sparse]


# ---- the families


def cells_case(
    rng: np.random.Generator, cell: str, layers: int, bidirectional: bool, hidden: int, steps: int = 12
) -> Case:
    net = Net(cell, 3, hidden, 2, layers, bidirectional)
    x = torch.tensor(rng.standard_normal((1, steps, 3)), requires_grad=True)
    y = torch.tensor(rng.standard_normal((1, steps, 2)))
    weights = net.weights("w")
    outputs, last = net(x, net.zero_state)
    loss = squared(outputs, y)
    loss.backward()
    gradients = {f"g/{name}": w.grad.numpy().copy() for name, w in net.named_parameters()}
    results = {"pred": outputs.detach().numpy()[0], "loss": loss.item(), "dx": x.grad.numpy()[0]}
    return weights | gradients | {"x": x.detach().numpy()[0], "y": y.numpy()[0]} | results | last_states(last)


def tbptt_case(rng: np.random.Generator, cell: str, layers: int, settings: Case, steps: int = 48) -> Case:
    net = Net(cell, 3, 6, 1, layers)
    x = torch.tensor(rng.standard_normal((1, steps, 3)))[0]
    y = torch.tensor(np.sin(np.cumsum(rng.standard_normal(steps)) * 0.3))
    weights = net.weights("w")
    log = Log(np.zeros(steps, np.int64), x, y[:, None], np.zeros(steps, bool))
    run = online_run(net, log, Loss(squared), new_optimizers(net, settings), {"batch_size": 1, **settings})
    run["pred"] = run["pred"][:, 0]
    return weights | net.weights("v") | {"x": x.numpy(), "y": y.numpy()} | run | settings


def log_case(rng: np.random.Generator, cell: str, layers: int, settings: Case) -> Case:
    net = Net(cell, 3, 6, 2, layers)
    stream = rng.integers(0, 5, 160)
    x, y = torch.tensor(rng.standard_normal((160, 3))), torch.tensor(rng.standard_normal((160, 2)))
    y[torch.tensor(rng.random((160, 2)) < 0.3)] = torch.nan
    log = Log(stream, x, y, rng.random(160) < 0.07)
    weights = net.weights("w")
    run = online_run(net, log, Loss(squared), new_optimizers(net, settings), settings)
    results = {"pred": run["pred"], "grad_norm": run["grad_norm"], "windows": len(run["update_loss"])}
    inputs = {"stream": stream, "x": x.numpy(), "y": y.numpy(), "end": log.end}
    return weights | net.weights("v") | inputs | results | settings


def choice_case(rng: np.random.Generator, cell: str, settings: Case) -> Case:
    """A short log under a chosen loss and optimiser; classes are drawn so that there is something to learn."""
    name, records = settings["loss"], 90
    loss, fields, outputs = {
        "squared": (Loss(squared), 2, 2),
        "absolute": (Loss(absolute), 2, 2),
        "huber": (Loss(lambda raw, y: huber(raw, y, settings["huber_delta"])), 2, 2),
        "quantile": (Loss(lambda raw, y: quantile(raw, y, settings["quantiles"])), 2, 6),
        "softmax": (Loss(softmax_cross_entropy, lambda raw: torch.softmax(raw, 0)), 1, 3),
        "logistic": (Loss(logistic_cross_entropy, torch.sigmoid), 1, 1),
    }[name]
    net = Net(cell, 3, 4, outputs)
    stream = rng.integers(0, 3, records)
    x = rng.standard_normal((records, 3))
    if name in {"softmax", "logistic"}:
        noisy = x @ rng.standard_normal((3, max(2, outputs))) + rng.standard_normal((records, max(2, outputs)))
        y = noisy.argmax(1)[:, None].astype(float)
    else:
        y = 1.5 * rng.standard_normal((records, fields))
    y[rng.random(y.shape) < 0.2] = np.nan
    log = Log(stream, torch.tensor(x), torch.tensor(y), rng.random(records) < 0.07)
    weights = net.weights("w")
    run = online_run(net, log, loss, new_optimizers(net, settings), {"batch_size": 1, **settings})
    run |= {"windows": len(run["update_loss"])}
    inputs = {"stream": stream, "x": x, "y": y, "end": log.end}
    return weights | net.weights("v") | inputs | run | settings


def numbers_looked_up(
    stream: np.ndarray, symbols: np.ndarray, y: np.ndarray, end: np.ndarray, sizes: list[int], known: str
) -> np.ndarray:
    """Of each record the rows of its symbols, of its sequence's newest known class, and of there being one; (T, S+2).

    The sets' rows follow each other, then those of the classes. A class counts as known from the record on that brings
    it, where it is forecast, and otherwise from the one after that.
    """
    firsts, newest, rows = np.cumsum([0, *sizes]), {}, []
    for s, row, label, last in zip(stream, symbols, y, end, strict=True):
        before = newest.get(s, np.nan)
        if not np.isnan(label):
            newest[s] = label
        shown = newest.get(s, np.nan) if known == "forecast" else before
        previous = [-1, -1] if np.isnan(shown) else [firsts[-2] + int(shown), firsts[-1]]
        rows.append([*(np.where(row < 0, -1, firsts[:-2] + row)), *previous])
        if last:
            newest.pop(s, None)
    return np.array(rows)


def next_classes(stream: np.ndarray, y: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Of each record the class of its sequence's next one; NaN where there is none."""
    following, waiting = np.full(len(y), np.nan), {}
    for n, (s, label, last) in enumerate(zip(stream, y, end, strict=True)):
        if s in waiting:
            following[waiting[s]] = label
        waiting[s] = n
        if last:
            del waiting[s]
    return following


def symbols_case(rng: np.random.Generator, cell: str, layers: int, settings: Case) -> Case:
    """Two numbers and two symbols, some of them rare or missing, of which classes depend, also on the one before."""
    records, sizes, classes = 120, [6, 3], 4
    net = SymbolNet(cell, 2, sum(sizes) + classes + 1, 4, classes, layers)
    stream, end, x = rng.integers(0, 3, records), rng.random(records) < 0.07, rng.standard_normal((records, 2))
    symbols = np.array([rng.choice(size, records, p=np.arange(size, 0, -1) / sum(range(size + 1))) for size in sizes]).T
    y = ((symbols[:, 0] + (rng.random(records) < 0.3) * rng.integers(0, classes, records)) % classes).astype(float)
    symbols[rng.random(symbols.shape) < 0.1] = -1
    y[rng.random(records) < 0.1] = np.nan
    numbers = numbers_looked_up(stream, symbols, y, end, [*sizes, classes], settings["known"])
    targets = next_classes(stream, y, end) if settings["known"] == "forecast" else y
    weights = net.weights("w")
    log = Log(stream, torch.tensor(np.concatenate([x, numbers], 1)), torch.tensor(targets[:, None]), end)
    loss = Loss(softmax_cross_entropy, lambda raw: torch.softmax(raw, 0))
    run = online_run(net, log, loss, new_optimizers(net, settings), settings)
    run |= {"windows": len(run["update_loss"])}
    inputs = {"stream": stream, "x": x, "symbols": symbols, "sizes": sizes, "y": y[:, None], "end": end}
    return weights | net.weights("v") | inputs | run | settings


RUNS = {"k1": 3, "k2": 7, "clip_norm": 0.5}
ADAM = {"optimizer": "adam", "lr": 0.02}
LOSSES: dict[str, Case] = {
    "absolute": {},
    "huber": {"huber_delta": 0.7},
    "quantile": {"quantiles": (0.1, 0.5, 0.8)},
    "softmax": {},
    "logistic": {},
}
PARAMETERS: dict[str, Case] = {  # none of them a default
    "sgd": {"lr": 0.1},
    "momentum": {"lr": 0.05, "momentum": 0.8},
    "rmsprop": {"lr": 0.01, "rmsprop_alpha": 0.9, "eps": 1e-4},
    "adam": {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-4},
    "adamw": {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.3},
}
SPARSE: Case = ADAM | {"loss": "softmax", "betas": (0.8, 0.95), "eps": 1e-30}
"""SparseAdam adds ``eps`` before it corrects the second moment's start, Adam after that: it must be next to nothing."""


TRANSCRIPTS: dict[str, tuple[int, list[int], float]] = {  # steps, labels from 1 on, how large logits are
    "short": (6, [2, 4], 1.0),
    "repeats": (14, [1, 1, 1, 3, 3, 2], 2.0),
    "empty": (8, [], 1.0),
    "tight": (7, [4, 4, 1, 2, 2], 1.0),  # as many steps as are needed
    "long": (300, [1, 3, 3, 2, 4, 1, 1, 4] * 10, 3.0),
    "saturated": (20, [3, 1, 1, 4], 60.0),
}


def ctc_case(rng: np.random.Generator, steps: int, labels: list[int], scale: float, outputs: int = 5) -> Case:
    """-log p of the labels by the logits (T, O), and the gradient of the logits."""
    logits = torch.tensor(rng.normal(0, scale, (steps, outputs)), requires_grad=True)
    loss = functional.ctc_loss(
        logits.log_softmax(1)[:, None],
        torch.tensor([labels], dtype=torch.long),
        torch.tensor([steps]),
        torch.tensor([len(labels)]),
        reduction="sum",
    )
    loss.backward()
    case = {"logits": logits, "loss": loss, "dlogits": logits.grad}
    return {key: tensor.detach().numpy() for key, tensor in case.items()} | {"labels": np.array(labels, np.int64)}


def cases(seed: int, bidirectional: bool) -> Iterator[tuple[str, Case]]:
    """Names and contents of all files."""

    def seeded(offset: int) -> np.random.Generator:
        torch.manual_seed(seed + offset)
        return np.random.default_rng(seed + offset)

    for cell, layers, both in itertools.product(CELLS, (1, 2), (False, True) if bidirectional else (False,)):
        yield f"cells_{cell}_l{layers}{'_bi' if both else ''}", cells_case(seeded(0), cell, layers, both, 5 + seed % 3)
    windows = ((1, 1), (1, 6), (4, 8), (8, 8))
    for cell, (k1, k2), optimizer in itertools.product(CELLS, windows, ("sgd", "adam", "rmsprop")):
        settings: Case = {"k1": k1, "k2": k2, "clip_norm": 0.5, "optimizer": optimizer}
        settings["lr"] = 0.05 if optimizer == "sgd" else 0.01
        yield f"tbptt_{cell}_{k1}_{k2}_{optimizer}", tbptt_case(seeded(1), cell, 1 + seed % 2, settings)
    batches = ((1, 5, 1), (4, 10, 1), (3, 7, 4), (8, 8, 2))
    for cell, layers, (k1, k2, batch_size) in itertools.product(CELLS, (1, 2), batches):
        settings = {"k1": k1, "k2": k2, "batch_size": batch_size, "clip_norm": 0.5, "optimizer": "adam", "lr": 0.01}
        yield f"log_{cell}_l{layers}_{k1}_{k2}_b{batch_size}", log_case(seeded(2), cell, layers, settings)
    for cell, loss in [*(("lstm", loss) for loss in LOSSES), ("gru", "quantile"), ("rnn", "softmax")]:
        yield f"loss_{cell}_{loss}", choice_case(seeded(3), cell, RUNS | ADAM | {"loss": loss, **LOSSES[loss]})
    for cell, optimizer in [*(("lstm", name) for name in PARAMETERS), ("gru", "adamw"), ("rnn", "momentum")]:
        settings = RUNS | {"clip_norm": 2.0, "loss": "squared", "optimizer": optimizer, **PARAMETERS[optimizer]}
        yield f"optimizer_{cell}_{optimizer}", choice_case(seeded(4), cell, settings)
    for cell, (known, layers, batch_size) in itertools.product(CELLS, (("record", 2, 3), ("forecast", 1, 1))):
        settings = RUNS | SPARSE | {"known": known, "batch_size": batch_size}
        yield f"symbols_{cell}_{known}", symbols_case(seeded(5), cell, layers, settings)
    for name, transcript in TRANSCRIPTS.items():
        yield f"ctc_{name}", ctc_case(seeded(6), *transcript)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the golden data.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="other numbers, for a check beyond the golden data")
    parser.add_argument("--bidirectional", action="store_true", help="also cells in both directions")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    for name, case in cases(options.seed, options.bidirectional):
        np.savez(options.directory / f"{name}.npz", **case)


if __name__ == "__main__":
    main()
