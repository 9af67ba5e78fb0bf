"""Jobs whose records are whole sequences, as tests of codec, daemon and evaluation need them."""

from streamrnn.job.config import Config
from streamrnn.job.job_file import parse

TARGETS = {
    "label": "{fields: [y], kind: label, classes: [low, high]}",
    "number": "{fields: [y], kind: label}",
    "labels": "{fields: [y], kind: labels, classes: [low, high]}",
    "labels of numbers": "{fields: [y], kind: labels}",
    "transcript": "{fields: [y], kind: transcript, unit: character, classes: [a, b, c], max_symbols: 6}",
    "open transcript": "{fields: [y], kind: transcript, classes: {open: true, max: 5}, max_symbols: 6}",
    "sequence": "{fields: [y], kind: sequence, unit: word, classes: [a, b, c], max_symbols: 6}",
    "numbers": "{fields: [y], kind: sequence, horizon: 3}",
}
"""A target of each kind, by what is predicted."""


def sequence_job(
    target: str = TARGETS["label"],
    *,
    frames: str = "columns: [a, b]",
    features: str = "[]",
    source: str = "",
    model: str = "{hidden_size: 4}",
    learning: str = "{}",
    more: str = "",
) -> Config:
    """A job of sequences in the field ``frames``; ``source`` goes with its input, ``frames`` with input.sequence."""
    return parse(
        f"""
job: j
embedded: {{directory: log}}
input: {{topic: in, sequence: {{field: frames, {frames}}}{source and ", " + source}}}
features: {features}
target: {target}
model: {model}
learning: {learning}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: checkpoints}}
{more}
""",
        {},
    )
