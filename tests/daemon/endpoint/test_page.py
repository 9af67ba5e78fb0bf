"""The daemon's own page in a browser: what it shows is what the document says, and it asks nobody else."""

from __future__ import annotations

import http.client
import json
import queue
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamrnn.broker.protocol import TopicPartition
from streamrnn.broker.security import Secret
from streamrnn.daemon.endpoint import pages
from streamrnn.daemon.endpoint.http import HttpServer
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.metrics import Delta
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.questions import Questions
from streamrnn.daemon.run import run_worker
from streamrnn.job.http_config import HttpConfig
from tests.support.browser import PATIENCE_S, Browser, Tab, browser
from tests.support.endpoint import Endpoint, endpoint
from tests.support.scenario import Scenario

pytestmark = pytest.mark.slow

TOKEN = "0123456789abcdef"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"></h3><script>alert(1)</script>\u202e\x1b[2J"
UPDATED = "document.getElementById('updated').textContent.startsWith('Updated')"


class Following(Questions):
    """Streams as the loop would leave them."""

    def look(self) -> list[dict[str, Any]]:
        where = {"topic": "departures", "partition": 0}
        points = [[1_700_000_000_000 + 1000.0 * i, 5.0 + i % 7, 6.0 + i % 5, 2.0, 11.0] for i in range(40)]
        forecast = [[point[0], None if i == 39 else point[1], point[2]] for i, point in enumerate(points)]
        return [
            {"stream": HOSTILE, "points": points, "classes": None, **where},
            {"stream": None, "stream_base64": "/wD/", "points": forecast, "classes": None, **where},
            {"stream": "idle", "points": [], "classes": None, **where},
            {"stream": "x" * 200 + "...", "points": [[0.0, 1.0, 0.0]], "classes": ["early", "<b>late</b>"], **where},
        ]


def fill(serving: Endpoint) -> None:
    """A worker of two partitions of which everything is known."""
    for number in (0, 1):
        tp = TopicPartition("departures", number)
        serving.health.assigned(tp)
        serving.health.restored(tp)
        metrics = serving.metrics.partition(tp)
        metrics.add(Delta(counts={"records_consumed": 1234}, dead_letters={"malformed": 2}))
        metrics.add(Delta(error_sum=300.0, error_count=100))
        metrics.show(
            active_streams=7000 + number, capacity=10_000, position=1234, committed=1200, lag=5 + number,
            stream_time_ms=1_700_000_000_000,
        )  # fmt: skip
        metrics.set("streamrnn_input_lag_seconds", 12.5 + number)
        metrics.set("streamrnn_gradient_reach_steps", 8.0 * (1 + number))
        for rival, skill in (("last", 0.312), ("mean", -0.05)):
            metrics.set("streamrnn_skill", skill, rival)
        for steps in (0, 1, 2, 4, 8, 16, 32):
            metrics.set("streamrnn_state_gradient_norm", 3.0 * 0.6**steps, str(steps))
        metrics.checkpoint_written(seconds=0.1, size_bytes=2_000_000, at_s=0.0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(pages, "STEP_S", 0.1)
    with endpoint(questions=Following()) as worker:
        fill(worker)
        yield worker


def document(worker: Endpoint) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=30)
    connection.request("GET", "/status.json")
    read: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return read


def opened(chromium: Browser, worker: Endpoint, width: int = 1280, dark: bool = False) -> Tab:
    tab = chromium.tab(f"http://localhost:{worker.port}/", width, dark)
    tab.wait(UPDATED)
    return tab


def number(text: str) -> float:
    return float(re.sub(r"[^0-9.\-]", "", text.replace("\u2212", "-")))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_shows_what_the_document_says_and_fits_and_asks_nobody_else(
    chromium: Browser, serving: Endpoint, width: int, dark: bool, tmp_path: Path
) -> None:
    tab = opened(chromium, serving, width, dark)
    # Errors are counted until the history has steps to draw.
    metrics = serving.metrics.partition(TopicPartition("departures", 0))
    until = time.monotonic() + PATIENCE_S
    while not tab.value("poll().then(() => document.querySelector('#error-chart path.s1') !== null)"):
        assert time.monotonic() < until
        metrics.add(Delta(counts={"records_consumed": 5}, error_sum=20.0, error_count=10))
        metrics.add_sum("streamrnn_rival_error", 30.0, 10, "last")
    doc = document(serving)
    assert tab.text("#state") == f"✓ {doc['state']['sentence']}"
    assert doc["state"]["sentence"] == "Live: 2 of 2 partitions predicting, 11 records behind."
    assert number(tab.text("#skill")) == pytest.approx(100 * min(one["skill"] for one in doc["skill"]))
    assert number(tab.text("#lag-records")) == doc["lag"]["records"] == 11
    assert number(tab.text("#lag-seconds")) == pytest.approx(doc["lag"]["seconds"])
    assert number(tab.text("#reach")) == doc["reach"]["lowest"] == 8
    assert number(tab.text("#streams-count")) == doc["model"]["streams"] == 14_001
    assert "4 MB" in tab.text("#checkpoint-note")
    assert (
        tab.value("[...document.querySelectorAll('#warnings li')].map((line) => line.textContent)") == doc["warnings"]
    )
    rows = tab.value("[...document.querySelectorAll('#partitions tr')].map((row) => row.cells[0].textContent)")
    assert rows == ["departures/0", "departures/1"]
    assert tab.value("document.querySelectorAll('#reach-chart rect').length") == len(doc["reach"]["norms"]) == 7
    assert tab.value("document.querySelectorAll('#streams svg .actual').length") == 40 + 39 + 1
    assert tab.value("document.documentElement.scrollWidth") <= width == tab.value("innerWidth")
    page = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", page))) < 64) is dark
    assert tab.complaints() == []
    base = f"http://localhost:{serving.port}/"
    assert {address for address in tab.addresses() if not address.startswith("data:")} == {base, f"{base}status.json"}
    tab.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


@pytest.mark.parametrize(("rule", "reach"), [("rtrl", "whole sequence"), ("fixed", "nothing")])
def test_of_a_cell_without_a_window_no_reach_is_waited_for(
    chromium: Browser, serving: Endpoint, rule: str, reach: str
) -> None:
    for number in (0, 1):
        metrics = serving.metrics.partition(TopicPartition("departures", number))
        metrics.set("streamrnn_gradient_reach_steps", None)
        for steps in (0, 1, 2, 4, 8, 16, 32):
            metrics.set("streamrnn_state_gradient_norm", None, str(steps))
    serving.metrics.name_job({"job_name": "j", "rule": rule})
    tab = opened(chromium, serving)
    assert tab.text("#reach") == reach
    rows = tab.value("[...document.querySelectorAll('#partitions tr')].map((row) => row.cells[8].textContent)")
    assert rows == [reach, reach]
    assert "not known yet" not in tab.text("#reach-caption").lower()
    assert not tab.value("document.getElementById('reach-chart').checkVisibility()")
    assert tab.complaints() == []


def test_what_records_hold_is_text_on_the_page(chromium: Browser, serving: Endpoint) -> None:
    tab = opened(chromium, serving)
    titles = tab.value("[...document.querySelectorAll('#streams h3')].map((title) => title.textContent)")
    shown = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\u001b")
    assert titles[0] == f"{shown} · departures/0", "what would turn the rest of the line round is shown by its escape"
    isolated = "[...document.querySelectorAll('#streams h3')].map((title) => getComputedStyle(title).unicodeBidi)"
    assert set(tab.value(isolated)) == {"isolate"}
    assert titles[1] == "(no text) /wD/ · departures/0"
    assert tab.value("document.querySelectorAll('#streams :is(img, script, b)').length") == 0
    assert tab.value("document.title").startswith("live")
    assert tab.complaints() == []


def test_a_stream_of_which_nothing_came_meanwhile_and_a_point_alone_are_seen(
    chromium: Browser, serving: Endpoint
) -> None:
    tab = opened(chromium, serving)
    captions = tab.value("[...document.querySelectorAll('#streams figcaption')].map((one) => one.textContent)")
    assert captions[2] == "None since the page was opened."
    dots = (
        "[...document.querySelectorAll('#streams figure')].map((one) => one.querySelectorAll('circle.dot.s0').length)"
    )
    assert tab.value(dots) == [0, 0, 0, 1]
    dot = "document.querySelector('#streams circle.dot')"
    assert tab.value(f"{dot}.getBoundingClientRect().width") >= 5
    assert tab.value(f"getComputedStyle({dot}).fill !== 'none'")


def test_nothing_moves_when_the_page_is_brought_up_to_date(chromium: Browser, serving: Endpoint) -> None:
    tab = opened(chromium, serving)
    moved = """new Promise((done) => { let sum = 0;
        new PerformanceObserver((list) => { for (const one of list.getEntries()) sum += one.value; })
          .observe({ type: 'layout-shift' });
        poll().then(poll).then(() => setTimeout(() => done(sum), 300)); })"""
    assert tab.value(moved) == 0


def test_without_scripts_the_state_is_there_in_words(chromium: Browser, serving: Endpoint) -> None:
    tab = chromium.tab("about:blank", 400)
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.go(f"http://localhost:{serving.port}/")
    assert tab.text("#state") == "Live: 2 of 2 partitions predicting, 11 records behind."


def test_a_worker_that_is_gone_is_said_to_be_gone(chromium: Browser, serving: Endpoint) -> None:
    tab = opened(chromium, serving)
    serving.server.close()
    lost = tab.wait("document.getElementById('lost').textContent")
    assert lost.startswith("The worker has not answered since ")
    assert tab.value("document.getElementById('state').dataset.good") == "no"


def test_with_a_token_the_page_asks_for_it_and_keeps_it_in_memory_alone(chromium: Browser) -> None:
    with endpoint(token=Secret(TOKEN), questions=Following()) as worker:
        fill(worker)
        tab = chromium.tab(f"http://localhost:{worker.port}/", 400)
        assert "departures" not in tab.text()
        assert tab.complaints() == [], "nothing is asked for that would be refused"
        tab.value("document.getElementById('token').focus()")
        tab.type("wrong")
        tab.key("Enter", 13, "\r")
        tab.wait("document.getElementById('token-note').textContent === 'That is not the token of this worker.'")
        tab.type(TOKEN)
        tab.key("Enter", 13, "\r")
        tab.wait(UPDATED)
        assert tab.text("#state").startswith("✓ Live")
        kept = "JSON.stringify([localStorage.length, sessionStorage.length, document.cookie, location.href])"
        assert json.loads(tab.value(kept)) == [0, 0, "", f"http://localhost:{worker.port}/"]
        assert TOKEN not in tab.value("document.documentElement.outerHTML")


def test_a_stream_of_a_running_worker_is_found_with_the_keyboard_alone(chromium: Browser, tmp_path: Path) -> None:
    scenario = Scenario(tmp_path / "job")
    scenario.fill(200)
    stop, ports = threading.Event(), queue.SimpleQueue[int]()

    def begun(_: Loop, server: HttpServer | None) -> None:
        assert server is not None
        ports.put(server.port)

    config = msgspec.structs.replace(scenario.config(), http=HttpConfig(port=0))
    worker = threading.Thread(target=run_worker, args=(config, open_broker(config), stop), kwargs={"started": begun})
    worker.start()
    try:
        tab = chromium.tab(f"http://localhost:{ports.get(timeout=PATIENCE_S)}/", 400)
        tab.wait(f"{UPDATED} && document.getElementById('state').textContent.includes('Live: 1 of 1')")
        # Through the page by Tab, up to the field for the key.
        for _ in range(30):
            tab.key("Tab", 9)
            if tab.value("document.activeElement.id") == "key":
                break
        stream = json.loads(next(reversed(scenario.predictions().values())))
        tab.type(stream["stream"])
        tab.key("Enter", 13, "\r")
        told = json.loads(tab.wait("document.querySelector('#answer pre')?.textContent"))
        assert (told["stream"], told["partitions"][0]["prediction"]) == (stream["stream"], stream["prediction"])
        assert f"{stream['stream']} in in/0" in tab.text("#answer")
        tab.type("/?#%&never")
        tab.key("Enter", 13, "\r")
        tab.wait("document.getElementById('answer').textContent.startsWith('no stream of this key')")
        asked = [address.rpartition("/")[2] for address in tab.addresses() if "/streams/" in address]
        assert asked == [stream["stream"], f"{stream['stream']}%2F%3F%23%25%26never"]
    finally:
        stop.set()
        worker.join(PATIENCE_S)
    assert not worker.is_alive()


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("dark", "number"), [(False, 0), (True, 1)], ids=["light", "dark"])
def test_text_and_lines_have_the_contrast_that_readers_need(dark: bool, number: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (Path(pages.__file__).parent / "page.html").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", blocks[number]))
    assert (luminance(colours["page"]) < 0.5) is dark

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for ground in ("page", "card"):
        for ink in ("text", "quiet", "own", "bad"):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
        for line in ("own", "rival-0", "rival-1", "rival-2"):
            assert contrast(line, ground) >= 3.0, (line, ground)
    assert contrast("text", "good-page") >= 4.5
    assert contrast("text", "bad-page") >= 4.5
