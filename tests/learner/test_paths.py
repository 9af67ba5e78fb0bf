"""Paths: every name can be written, every refusal says where, and the schema's pattern is the parser's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.learner.paths import FIELD_PATH, parse_path, path_text


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ('["cpu.load"].avg', ("cpu.load", "avg")),
        ("['cpu.load']['avg']", ("cpu.load", "avg")),
        ("readings[0]", ("readings", 0)),
        ("a[-1][12].b", ("a", -1, 12, "b")),
        ('[""]', ("",)),
        (r'["a\"b\\c"]', ('a"b\\c',)),
        (r"['it\'s']", ("it's",)),
        ('["$"]', ("$",)),
        ("price.$numberDecimal", ("price", "$numberDecimal")),
        ("a b", ("a b",)),
        ("a]b", ("a]b",)),
        ('a"b\\', ('a"b\\',)),
        ("größe", ("größe",)),
    ],
)
def test_a_path_is_read(text: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1 expected a name"),
        (".a", "at character 1 expected a name"),
        ("a..b", "at character 3 expected a name"),
        ("a.", "at character 3 expected a name"),
        ("a.[0]", "at character 3 expected a name"),
        ("a[x]", "at character 2 expected a place as in [0], or a name in quotes"),
        ("a[*]", "at character 2 expected a place"),
        ("a[]", "at character 2 expected a place"),
        ("ab[0", "at character 3 expected a place"),
        ('["a]', "at character 1 expected a place"),
        (r'["a\n"]', "at character 1 expected a place"),
        ("a[0]b", "at character 5 expected a dot or a bracket"),
        ("[0]", "at character 1 expected a name: a record has fields"),
        ("$.a.b", "$ at character 1 is not part of a path here; leave it out: a.b"),
        ("$['a']", "leave it out: ['a']"),
        ("$", 'a field of that name is ["$"]'),
    ],
)
def test_a_refusal_says_where_and_what_instead(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_path(text)


texts = st.text(alphabet=st.sampled_from(list("ab0.[]\"'\\$-* \n")), max_size=8) | st.text(max_size=5)


@given(texts)
def test_the_pattern_of_the_schema_accepts_what_the_parser_accepts(text: str) -> None:
    try:
        parse_path(text)
    except ValueError:
        assert not re.search(FIELD_PATH, text)
    else:
        assert re.search(FIELD_PATH, text)


@given(st.text(max_size=4), st.lists(texts | st.integers(-10, 10), max_size=3))
def test_every_path_can_be_written_down(first: str, more: list[str | int]) -> None:
    steps = (first, *more)
    assert parse_path(path_text(steps)) == steps
