"""What a checkpoint holds, read without a broker, a configuration file or a compiled kernel.

A checkpoint describes itself: its manifest carries the learner's specification, from which names and shapes of all
tensors follow. Everything is verified against its digests on the way, as a recovery would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.core.layout import Named
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.codec.told import offsets_of
from streamrnn.job.opening import of_config
from streamrnn.learner import gauges
from streamrnn.learner.lookahead.waiting import waiting, waiting_events
from streamrnn.learner.lowering import layout_of
from streamrnn.learner.one_stream import described, deviation
from streamrnn.learner.skill import skill_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import Vocabularies, open_sets
from streamrnn.storage.listing import Listed, Place, find, newest, store_of
from streamrnn.storage.manifest import Manifest
from streamrnn.storage.snapshot import Checkpoint

__all__ = ["Inspection", "Listed", "Place", "find", "inspect", "newest", "of_config"]


def no_use(place: Place | Path, listed: list[Listed]) -> str:
    """Why nothing that was found at a place can be read."""
    if isinstance(place, Path) and place.is_file():
        return f"{place}: {listed[0].reason}; give a manifest-*.json, or a directory above some"
    reasons = "".join(f"\n  {one.place}: {one.reason}" for one in listed)
    return f"{place}: none of its {len(listed)} checkpoints can be read{reasons}"


@dataclass(frozen=True)
class Inspection:
    """A checkpoint, verified, with what its specification says of the arrays."""

    place: str
    checkpoint: Checkpoint
    layout: Named

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        return self.checkpoint.manifest

    @property
    def spec(self) -> LearnerSpec:
        """The learner's specification."""
        return self.manifest.spec

    def tensors(self) -> list[dict[str, Any]]:
        """Name, shape, norm and largest magnitude of each tensor of the network, under PyTorch's names."""
        weights = self.layout.get_weights(self.checkpoint.model["theta"])
        return [
            {
                "name": name,
                "shape": list(tensor.shape),
                "norm": float(np.sqrt(np.square(tensor, dtype=np.float64).sum())),
                "largest": float(np.abs(tensor).max()),
            }
            for name, tensor in weights.items()
        ]

    def statistics(self) -> list[dict[str, Any]]:
        """Mean and standard deviation of each target over the partition; empty for classes."""
        if self.spec.target.classes is not None:
            return []
        model = self.checkpoint.model
        return [
            {"name": name, "count": int(count), "mean": float(mean), "deviation": deviation(count, m2)}
            for name, count, mean, m2 in zip(
                self.spec.target.fields, model["y_count"], model["y_mean"], model["y_m2"], strict=True
            )
        ]

    def open_sets(self) -> list[dict[str, Any]]:
        """How full each open set of symbols is, and how often one came that got no number."""
        inputs = [
            feature["field"]
            for feature in self.manifest.configuration.get("features", ())
            if feature.get("encoder") == "symbol"
        ]
        found = []
        for first, symbols in open_sets(self.spec).items():
            place = first.removeprefix("vocabulary_symbols").rstrip("_")
            of_inputs = place.isdecimal() and int(place) < len(inputs)
            found.append(
                {
                    "field": inputs[int(place)] if of_inputs else self.spec.target.fields[0],
                    "symbols": len(self.checkpoint.model[first + "ends"]),
                    "most": symbols.max,
                    "beyond": int(self.checkpoint.model[first + "overflowed"][0]),
                }
            )
        return found

    def sequences(self) -> dict[str, Any] | None:
        """What is said of whole sequences, and how they are read; None where records are single steps."""
        spec = self.spec
        if spec.sequence is None:
            return None
        return {
            "kind": spec.target.kind,
            "direction": spec.model.direction,
            "lookahead": spec.model.lookahead,
            **msgspec.to_builtins(spec.sequence),
        }

    def learning(self) -> dict[str, Any]:
        """How it learns: the length of its steps, how far back gradients reach, what the mixture is made of."""
        model = self.checkpoint.model
        norms = gauges.state_gradient_norms(model)
        return {
            "weight_norm": gauges.finite(gauges.weight_norm(model)),
            "update_to_weight_ratio": gauges.finite(gauges.update_to_weight_ratio(model)),
            "gradient_reach_steps": gauges.gradient_reach_steps(norms),
            "state_gradient_norms": {str(steps): gauges.finite(norm) for steps, norm in norms.items()},
            "mixture_shares": gauges.mixture_shares(model),
        }

    def skill(self) -> dict[str, float]:
        """1 - error / error of a naive rival, by rival, over the newest some ten thousand scored predictions."""
        return skill_of(self.spec, self.checkpoint.model["recent_errors"])

    def streams(self) -> int:
        """How many streams have a state."""
        return sum(key is not None for key in self.checkpoint.keys)

    def stream(self, key: bytes) -> dict[str, Any] | None:
        """What is kept of one stream; None when it is not known."""
        if key not in self.checkpoint.keys:
            return None
        slot = self.checkpoint.keys.index(key)
        arrays = {name: array[slot] for name, array in self.checkpoint.streams.items()}
        return {
            "key": key.decode(errors="replace"),
            "slot": slot,
            "last_seen_ms": int(arrays["seen"][0]),
            **described(arrays, self.spec),
            **({"waiting": self._waiting(arrays)} if self.spec.looks_ahead else {}),
        }

    def _waiting(self, row: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
        """The events of a stream that are not predicted yet, the oldest first, with targets as output records say
        them."""
        found, classes = waiting_events(row, self.spec), Vocabularies(self.spec)
        classes.resume(self.checkpoint.model)
        known = np.where(np.isfinite(found.y), found.y, np.nan)
        named = partial(PredictionEncoder(self.spec).named_target, classes=classes.of_classes)
        return [
            {"offset": offset, "timestamp": time_ms, "target": _without_nan(named(target))}
            for offset, time_ms, target in zip(
                offsets_of(found.event).tolist(), found.time_ms.tolist(), known.tolist(), strict=True
            )
        ]

    def waiting(self) -> int | None:
        """How many events wait for those behind them, of all streams; None where each is predicted at once."""
        return int(waiting(self.checkpoint.streams, self.spec).sum()) if self.spec.looks_ahead else None

    def as_data(self) -> dict[str, Any]:
        """Everything shown, as plain data for JSON."""
        manifest = self.manifest
        return {
            "path": self.place,
            "job": manifest.job,
            "topic": manifest.topic,
            "partition": manifest.partition,
            "created": manifest.created,
            **msgspec.to_builtins(manifest.progress),
            "streams": self.streams(),
            "slots": manifest.n_slots,
            "bytes": manifest.bytes,
            "tensors": self.tensors(),
            "targets": self.statistics(),
            "open_sets": self.open_sets(),
            "sequences": self.sequences(),
            "waiting": self.waiting(),
            "skill": self.skill(),
            "learning": self.learning(),
            "configuration": manifest.configuration,
            "configuration_sha256": manifest.configuration_sha256,
            "build": manifest.build,
        }


def inspect(listed: Listed) -> Inspection:
    """Read and verify a checkpoint that was found. Raises CorruptCheckpoint with the reason."""
    store, manifest = store_of(listed)
    checkpoint = store.load(manifest)
    return Inspection(listed.place, checkpoint, layout_of(manifest.spec))


def _without_nan(target: Any) -> Any:
    """A target in which None says that a number is not known, as in JSON."""
    if isinstance(target, dict):
        return {name: _without_nan(value) for name, value in target.items()}
    return None if isinstance(target, float) and target != target else target
