"""Who is told what."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
import re
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from streamrnn.broker.protocol import TopicPartition
from streamrnn.broker.security import Secret
from streamrnn.daemon.questions import Found, Questions
from tests.support.endpoint import Endpoint, body, endpoint, headers, status

TOKEN = "0123456789abcdef~+/=="


@pytest.fixture
def guarded() -> Iterator[Endpoint]:
    with endpoint(token=Secret(TOKEN)) as serving:
        yield serving


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_metrics_are_given_to_those_with_the_token(guarded: Endpoint, scheme: str) -> None:
    answer = guarded.get("/metrics", f"Authorization: {scheme} {TOKEN}")
    assert status(answer) == 200
    assert "streamrnn_ready 0.0" in body(answer)


@pytest.mark.parametrize(
    "sent",
    [
        (),
        ("Authorization: Bearer",),
        ("Authorization: Bearer ",),
        (f"Authorization: Bearer {TOKEN[:-1]}",),
        (f"Authorization: Bearer {TOKEN}x",),
        (f"Authorization: Basic {TOKEN}",),
        (f"Authorization: {TOKEN}",),
        (f"Authorization: Bearer \xe9{TOKEN}",),
        (f"X-Authorization: Bearer {TOKEN}",),
        ("Authorization: Bearer wrong", f"Authorization: Bearer {TOKEN}"),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=streamrnn_ready", f"/metrics?token={TOKEN}"])
def test_metrics_without_the_token_are_401(guarded: Endpoint, path: str, sent: tuple[str, ...]) -> None:
    answer = guarded.get(path, *sent)
    assert status(answer) == 401
    assert headers(answer)["WWW-Authenticate"] == 'Bearer realm="streamrnn"'
    assert "streamrnn_ready" not in body(answer)
    assert TOKEN not in answer.decode()


@pytest.mark.parametrize(("path", "said"), [("/healthz", {"healthy": True}), ("/readyz", {"ready": True})])
def test_with_a_token_probes_without_it_are_told_only_yes_or_no(guarded: Endpoint, path: str, said: object) -> None:
    answer = guarded.get(path)
    assert (status(answer), json.loads(body(answer))) == (200, said)
    known = json.loads(body(guarded.get(path, f"Authorization: Bearer {TOKEN}")))
    assert known["partitions"][0]["topic"] == "departures"


def test_a_token_is_never_logged_and_its_absence_once_in_a_while(
    guarded: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for _ in range(3):
        guarded.get("/metrics", "Authorization: Bearer wrong-one")
        guarded.get("/metrics", f"Authorization: Bearer {TOKEN}")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    asked = "/metrics is asked for without the token of http.token, as by 127.0.0.1; 1 times since the last such line"
    assert warnings == [asked]
    assert TOKEN not in caplog.text
    assert "wrong-one" not in caplog.text


def test_without_a_token_everything_is_told_to_everybody() -> None:
    with endpoint() as serving:
        assert status(serving.get("/metrics")) == 200
        assert "partitions" in json.loads(body(serving.get("/healthz")))


# ---- the daemon's own page


class Answering(Questions):
    """Answers as a loop would that knows the streams in ``known``; silent where that is None."""

    def __init__(self, known: set[bytes] | None, restoring: tuple[TopicPartition, ...] = ()) -> None:
        super().__init__(deadline_s=0.05 if known is None else 30.0)
        self.asked: list[bytes] = []
        self._known, self._restoring = known, list(restoring)

    def enqueue(self, key: bytes) -> Future[Found]:
        self.asked.append(key)
        answer = super().enqueue(key)
        if self._known is not None:
            found = [{"topic": "departures", "partition": 0, "prediction": math.nan}] if key in self._known else []
            answer.set_result(Found(found, [TopicPartition("departures", 0)], self._restoring))
        return answer


PAGE = ("/", "/status.json", "/streams/a")


@pytest.mark.parametrize("path", PAGE)
def test_the_page_and_what_fills_it_are_served_to_head_too(path: str) -> None:
    with endpoint(questions=Answering({b"a"})) as serving:
        whole = serving.get(path)
        head = serving.say(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert status(whole) == status(head) == 200
        assert body(head) == ""
        assert headers(head)["Content-Type"] == headers(whole)["Content-Type"]
        assert int(headers(head)["Content-Length"]) > 0
        assert status(serving.say(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())) == 405


def test_a_browser_may_run_the_page_s_own_script_and_style_and_ask_this_server_alone() -> None:
    with endpoint() as serving:
        answer = serving.get("/")
    policy = headers(answer)["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    text = body(answer)
    for name in ("script", "style"):
        (inline,) = re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert "innerHTML" not in text
    with endpoint() as serving:
        assert headers(serving.get("/status.json"))["Content-Security-Policy"].startswith("default-src 'none'; frame")


def test_the_page_says_in_words_how_the_worker_is() -> None:
    with endpoint() as serving:
        assert "Live: 1 of 1 partition predicting." in body(serving.get("/"))
        document = json.loads(body(serving.get("/status.json")))
        assert document["state"] == {
            "word": "live", "sentence": "Live: 1 of 1 partition predicting.", "good": True,
        }  # fmt: skip
        assert document["skill"] == []
        assert document["lag"] == {"records": None, "seconds": None}


@pytest.mark.parametrize("path", ["/status.json", "/streams/a", "/streams/%FF"])
def test_what_fills_the_page_takes_the_token_and_its_shell_does_not(guarded: Endpoint, path: str) -> None:
    refused = guarded.get(path)
    assert (status(refused), "departures" in body(refused)) == (401, False)
    shell = body(guarded.get("/"))
    assert "data-locked" in shell
    assert "partition predicting" not in shell
    assert "Live: 1 of 1 partition predicting." in body(guarded.get("/", f"Authorization: Bearer {TOKEN}"))
    assert status(guarded.get("/status.json", f"Authorization: Bearer {TOKEN}")) == 200


def test_the_key_of_a_stream_is_not_in_the_warning_of_a_missing_token(
    guarded: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    guarded.get("/streams/alice%40example.org")
    (line,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert line.startswith("/streams is asked for without the token")


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("UA%7CEWR", b"UA|EWR"),
        ("a%2Fb", b"a/b"),
        ("a/b", b"a/b"),
        ("a+b", b"a+b"),
        ("", b""),
        ("%00%ff%0A", b"\x00\xff\n"),
        ("%3Cimg%20src=x%3E", b"<img src=x>"),
        ("%E2%80%AE", "\u202e".encode()),
        ("%25", b"%"),
        ("..%2F..%2Fetc", b"../../etc"),
        ("a?b=c#d", b"a"),
        ("x" * 8000, b"x" * 8000),
    ],
)
def test_any_bytes_are_a_key(encoded: str, key: bytes) -> None:
    questions = Answering({key})
    with endpoint(questions=questions) as serving:
        answer = serving.get(f"/streams/{encoded}")
    assert questions.asked == [key]
    assert (status(answer), headers(answer)["Content-Type"]) == (200, "application/json")
    told = json.loads(body(answer))
    if told["stream"] is None:
        assert base64.b64decode(told["stream_base64"]) == key
    else:
        assert told["stream"].encode() == key
    assert told["partitions"] == [{"topic": "departures", "partition": 0, "prediction": None}], "NaN is null"


@pytest.mark.parametrize("encoded", ["%", "%4", "%zz", "a%2", "%u0041", "100%", "%%41"])
def test_percent_signs_without_two_digits_are_400(encoded: str) -> None:
    questions = Answering(set())
    with endpoint(questions=questions) as serving:
        answer = serving.get(f"/streams/{encoded}")
    assert status(answer) == 400
    assert "expected two hex digits after each %" in body(answer)
    assert questions.asked == []


def test_a_key_larger_than_a_request_may_be_is_refused_unasked() -> None:
    questions = Answering(set())
    with endpoint(questions=questions) as serving:
        assert status(serving.get(f"/streams/{'x' * 20_000}")) == 431
    assert questions.asked == []


def test_an_unknown_key_is_404_in_words_that_do_not_repeat_it() -> None:
    with endpoint(questions=Answering({b"a"})) as serving:
        answer = serving.get("/streams/%3Cscript%3E")
    assert (status(answer), headers(answer)["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert body(answer) == (
        "no stream of this key in the partitions of this worker, departures/0: it has not been seen, was forgotten "
        "(streams.ttl_s, streams.max_streams), or is in a partition of another worker\n"
    )


def test_while_a_partition_is_restored_an_unknown_key_is_503() -> None:
    with endpoint(questions=Answering({b"a"}, (TopicPartition("departures", 7),))) as serving:
        assert status(serving.get("/streams/a")) == 200
        answer = serving.get("/streams/b")
    assert (status(answer), headers(answer)["Retry-After"]) == (503, "1")
    assert "still being restored: departures/7" in body(answer)


def test_a_loop_that_is_busy_makes_503_and_nobody_else_waits() -> None:
    with endpoint(questions=Answering(None)) as serving:
        answer = serving.get("/streams/a")
        assert (status(answer), headers(answer)["Retry-After"]) == (503, "1")
        assert body(answer) == "the worker is busy or has not begun; ask again\n"
        assert status(serving.get("/healthz")) == 200


def test_keys_and_values_are_told_to_this_machine_or_those_with_a_token_alone() -> None:
    questions = Answering({b"a"})
    with endpoint("0.0.0.0", questions=questions) as serving:
        answer = serving.get("/streams/a")
        assert status(answer) == 403
        assert "http.token" in body(answer)
        document = json.loads(body(serving.get("/status.json")))
        assert (document["streams"], document["tells_values"]) == (None, False)
    assert questions.asked == []
    with endpoint("0.0.0.0", questions=questions, token=Secret(TOKEN)) as serving:
        assert status(serving.get("/streams/a", f"Authorization: Bearer {TOKEN}")) == 200


def test_other_names_of_this_machine_are_not_answered_with_the_page_either() -> None:
    with endpoint(questions=Answering({b"a"})) as serving:
        for path in PAGE:
            answer = serving.say(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
            assert status(answer) == 421
