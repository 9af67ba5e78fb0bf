"""What validate says of symbols: the sets, what is predicted of them, and what thousands of classes take."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streamrnn.cli.show import job as shown
from streamrnn.cli.show_symbols import remarks_on_memory
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.support.jobs import NEXT, job, text_job, yaml


def said(config: Config) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(shown(config))
    return console.export_text()


def test_sets_are_named_as_features_and_targets() -> None:
    looked_up = job(
        features="[{field: page, encoder: symbol, symbols: {open: true, max: 7}}, "
        "{field: method, encoder: symbol, symbols: {values: [GET, POST]}}]"
    )
    text = said(looked_up)
    assert "page (symbol, an open set of up to 7 and other), method (symbol, GET, POST)" in text
    assert "10 of symbols (looked up)" in text
    assert "page, one of an open set of up to 3 and other: the next value" in said(NEXT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{field: m}",
            "m: the text's next byte, one of the 256 bytes, and its end; each text goes on",
        ),
        (
            "{field: m, unit: word, carry: false, mark_end: false}",
            "next word, one of an open set of up to 5,000",
        ),
        ("{field: m, carry: false}", "each text begins anew"),
    ],
)
def test_a_text_says_what_is_predicted_of_it(text: str, expected: str) -> None:
    assert expected in said(text_job(text))


def test_thousands_of_classes_of_many_streams_are_told_with_what_to_do() -> None:
    target = "{fields: [page], known: forecast, classes: {open: true, max: 5000}}"
    (remark,) = remarks_on_memory(parse(yaml(target=target), {}))
    assert "a stream keeps the probabilities of 5,001 classes until it is known which one came, 40.0 kB" in remark
    assert "100,000 streams 4.0 GB; where that is too much, lower target.classes.max or streams.max_streams," in remark
    assert "warning: target.classes: a stream keeps" in said(parse(yaml(target=target), {}))
    assert list(remarks_on_memory(parse(yaml(target=target, streams="{max_streams: 5000}"), {}))) == []
    assert list(remarks_on_memory(text_job("{field: m, unit: word}"))) == []


def test_a_long_list_costs_as_much_as_an_open_set_and_events_that_wait_for_labels_are_what_to_lower() -> None:
    values = [f"page-{i}" for i in range(5_000)]
    (remark,) = remarks_on_memory(parse(yaml(target=f"{{fields: [page], known: forecast, classes: {values}}}"), {}))
    assert "probabilities of 5,000 classes until it is known which one came, 40.0 kB" in remark
    assert "lower streams.max_streams, or" in remark
    label = "{fields: [page], known: label, event_field: id, label_field: of, classes: {open: true}}"
    (remark,) = remarks_on_memory(parse(yaml(target=label), {}))
    assert "5,001 classes for up to 64 events until" in remark
    assert "lower target.label_memory or target.classes.max or streams.max_streams, or set" in remark


def test_streams_that_do_not_fit_into_the_machine_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamrnn.cli.show_symbols.memory_limit", lambda: 10**8)
    assert "warning: streams: with all of them in use one partition takes 0." in said(job())
    assert "a process have 0.1; lower streams.max_streams" in said(job())
    monkeypatch.setattr("streamrnn.cli.show_symbols.memory_limit", lambda: 10**12)
    assert "with all of them in use" not in said(job())
