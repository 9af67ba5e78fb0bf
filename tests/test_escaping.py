"""Text from elsewhere is shown by escapes, cut, and without the passwords of addresses."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.errors import BrokerError, ConfigError
from streamrnn.escaping import MAX_LINE, MAX_LINES, MAX_NAME, lines, name, names, one_line, without_credentials

SECRET = "pa55:w/o@rd"


@given(st.text(st.characters(codec=None)))  # with halves of surrogate pairs
def test_a_line_is_one_line_of_plain_characters(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    shown.encode()
    assert one_line(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("a\r\nb\tc\x00\x7f", r"a\r\nb\tc\x00\x7f"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),
        ("\u2028\u2029\u200b\ufeff", r"\u2028\u2029\u200b\ufeff"),
        ("\ud83d", r"\ud83d"),
        ("größe 大小 😀", "größe 大小 😀"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_what_is_no_plain_character_stands_by_its_escape(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_what_is_too_long_is_cut() -> None:
    assert name("n" * 1_000_000) == "n" * MAX_NAME + "... (999900 more characters)"
    assert len(one_line("\x00" * 1_000_000)) < 4 * MAX_LINE + 50
    assert len(lines("\n" * 1_000_000)) < 10 * MAX_LINES
    assert len(names(["\x1b" * 500] * 1_000)) < 20 * (4 * MAX_NAME + 50)


def test_lines_behind_the_first_are_indented() -> None:
    assert lines("a\nb\n\n  c\x1b") == "a\n  b\n  \n    c\\x1b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"SASL_SSL://me:{SECRET}@broker:9092", "SASL_SSL://***@broker:9092"),
        (f"no answer from me:{SECRET}@broker:9092.", "no answer from ***@broker:9092."),
        (f"['a:1', 'me:{SECRET}@b:2']", "['a:1', ***@b:2']"),
        (f"a:1,me:{SECRET}@b:2,you:{SECRET}@c:3", "***@c:3"),
        (f'{{"url":"s3://me:{SECRET}@bucket"}}', '{"url":"s3://***@bucket"}'),
        ("https://token@host/x", "https://***@host/x"),
        ("me@example.com at 12:30:00", "me@example.com at 12:30:00"),
        ("http://127.0.0.1:9308/metrics", "http://127.0.0.1:9308/metrics"),
    ],
)
def test_passwords_of_addresses_are_left_out(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
    assert one_line(text) == shown
    for error in (ConfigError(text), BrokerError(text)):
        assert str(error) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kafka://alice:p w@host", "kafka://***@host"),
        (
            "no answer from SASL_SSL://me:p w  x@b@broker:9092, try again",
            "no answer from SASL_SSL://***@broker:9092, try again",
        ),
        ("http://127.0.0.1:9308/metrics, ask me@home", "http://127.0.0.1:9308/metrics, ask me@home"),
        ("https://alice:" + "s3cretPW" * 20 + "@host", "https://***@host"),
        ("me:secret@a,SSL://b@c", "***@c"),
        ("me:secret@[::1]:9092", "***@[::1]:9092"),
    ],
)
def test_a_password_is_left_out_whatever_it_holds_and_however_long_it_is(text: str, shown: str) -> None:
    assert without_credentials(text) == name(text) == one_line(text) == shown


def test_a_password_is_left_out_before_anything_is_cut() -> None:
    for length in (MAX_NAME, MAX_LINE, 10 * MAX_LINE, 1_000_000):
        for address in (f"kafka://me:{'pw ' * length}@host:1", f"kafka://me:{'pw' * length}@host:1"):
            for shown in (name(address), one_line(address), lines(f"x\n{address}\ny"), names([address])):
                assert "kafka://***@host:1" in shown
                assert "pw" not in shown


@pytest.mark.parametrize("text", ["urn:order@eu", "sensor:7@plant-a", "a=1:2@x", "12:30@home"])
def test_keys_and_names_that_are_no_addresses_are_shown_as_they_are(text: str) -> None:
    assert name(text) == names([text]) == str(ConfigError(f"--stream: {text}")).removeprefix("--stream: ") == text
    assert "***" in one_line(text)  # where nobody knows what it is


@given(st.text("a:/@1[]*. \n"), st.booleans())
def test_what_is_left_out_once_leaves_nothing_more_to_leave_out(text: str, strict: bool) -> None:
    safe = without_credentials(text, strict=strict)
    assert without_credentials(safe, strict=strict) == safe
    assert one_line(one_line(text)) == one_line(text)
    assert name(name(text)) == name(text) or len(name(text)) > MAX_NAME


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "@" * n, lambda n: ":@" * n, lambda n: "a" * n + "@", lambda n: "://@ " * n, lambda n: "\x1b" * n,
        lambda n: "://a:b" * n, lambda n: "://a:b" * n + "\n@", lambda n: "://a:b@c " * n,
        lambda n: "://a:b" * n + " @",
        lambda n: "://" * n + "@", lambda n: "://aa" * n + ":x@", lambda n: "://a:1 " * n + "@", lambda n: "\n@" * n,
        lambda n: "a:b@" + "c" * n, lambda n: "a:b@[" + "1" * n, lambda n: "a:b@c:1 " * n,
        lambda n: "://a:b@" + "c" * n,
    ],
)  # fmt: skip
def test_it_takes_time_in_proportion_to_the_text(make: Callable[[int], str]) -> None:
    def cpu(n: int) -> float:
        text, best = make(n), float("inf")
        for _ in range(3):
            started = time.thread_time()
            one_line(text, limit=len(text)), without_credentials(text)
            best = min(best, time.thread_time() - started)
        return best

    assert cpu(800_000) < 24 * max(cpu(100_000), 0.002)
