"""Write what PyTorch computes, in float64 on the CPU, of one pass through an encoder and its decoder.

    python tests/data/make_decoder_golden.py DIRECTORY [--seed N]

The golden data are made with seed 0. The model is made of PyTorch's own modules alone, and its gradients are PyTorch's:
an encoder, a decoder of the same cell that begins with the encoder's final states, its directions joined, attention as
Luong et al. (2015) have it ("dot", tanh(W [context, h])), and a linear head. In what it is shown the decoder is a step
behind the answer. README.md lists the keys of a file. Dimensions: T steps of the encoder, n of the decoder, D inputs, V
symbols, H hidden units of each direction, Hd of the decoder, L layers.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

Case = dict[str, Any]
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
T, D, H, V, END, HORIZON = 7, 3, 4, 6, 1, 5


class EncoderDecoder(nn.Module):
    """From x (1, T, D) and what the decoder is shown (1, n, V or 1) to raw outputs (n, O)."""

    def __init__(self, cell: str, layers: int, both: bool, shown: int, outputs: int, attention: bool) -> None:
        super().__init__()
        units = H * (2 if both else 1)
        self.rnn = CELLS[cell](D, H, layers, batch_first=True, bidirectional=both)
        self.decoder = CELLS[cell](shown, units, layers, batch_first=True)
        self.attention = nn.Linear(2 * units, units, bias=False) if attention else None
        self.head = nn.Linear(units, outputs)
        self.layers = layers

    def forward(self, x: Tensor, shown: Tensor) -> Tensor:
        encoded, final = self.rnn(x)
        h, _ = self.decoder(shown, self.joined(final))
        if self.attention is not None:
            context = torch.softmax(h @ encoded.transpose(1, 2), 2) @ encoded
            h = torch.tanh(self.attention(torch.cat([context, h], 2)))
        return self.head(h)[0]

    def joined(self, final: Any) -> Any:
        """The final states of a layer's directions, side by side: (L, 1, Hd)."""
        if isinstance(final, tuple):
            return tuple(self.joined(part) for part in final)
        return final.reshape(self.layers, -1, 1, H).transpose(1, 2).reshape(self.layers, 1, -1).contiguous()


def case_of(cell: str, layers: int, both: bool, attention: bool, numbers: bool, seed: int) -> Case:
    torch.manual_seed(seed)
    x = torch.randn(1, T, D)
    if numbers:
        net = EncoderDecoder(cell, layers, both, 1, 1, attention)
        answer = torch.randn(HORIZON)
        raw = net(x, torch.cat([torch.zeros(1), answer[:-1]])[None, :, None])
        loss = functional.mse_loss(raw[:, 0], answer)
    else:
        net = EncoderDecoder(cell, layers, both, V, V, attention)
        answer = torch.tensor([3, 0, 0, 5, 2])
        raw = net(x, functional.one_hot(torch.cat([torch.tensor([END]), answer]), V).double()[None])
        loss = functional.cross_entropy(raw, torch.cat([answer, torch.tensor([END])]))
    loss.backward()
    weights = {f"w/{name}": w.detach().numpy() for name, w in net.named_parameters()}
    gradients = {f"g/{name}": w.grad.numpy() for name, w in net.named_parameters() if w.grad is not None}
    results = {"raw": raw.detach().numpy(), "loss": loss.item()}
    return weights | gradients | results | {"x": x[0].numpy(), "answer": answer.numpy(), "end": END}


def cases(seed: int) -> Iterator[tuple[str, Case]]:
    """Names and contents of all files."""
    kinds = ((1, True, True, False), (2, True, False, False), (2, False, True, True), (1, True, True, True))
    for cell, (layers, both, attention, numbers) in itertools.product(CELLS, kinds):
        name = f"decoder_{cell}_l{layers}{'_bi' if both else ''}{'' if attention else '_plain'}"
        case = case_of(cell, layers, both, attention, numbers, seed)
        yield f"{name}_{'numbers' if numbers else 'symbols'}", case


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the golden data of decoders.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="other numbers, for a check beyond the golden data")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    for name, case in cases(options.seed):
        np.savez(options.directory / f"{name}.npz", **case)


if __name__ == "__main__":
    main()
