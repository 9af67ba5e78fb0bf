"""JSON: nesting has a fixed limit that nothing around a record changes."""

import pytest

from streamrnn.job.codec.json_parser import MAX_DEPTH
from streamrnn.job.codec.records import RecordCodec
from tests.support.jobs import PLAIN, decode, record


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 900, 1100, 100_000])
@pytest.mark.parametrize("field", ["a", "unused"])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"b":', b"}")])
def test_nesting_is_limited_at_a_fixed_depth(depth: int, field: str, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    inner = depth - 1  # the record itself is one level
    value = b'{"%s":%s1%s}' % (field.encode(), opening * inner, closing * inner)
    decoded = decode(PLAIN, value)
    reasons = [error.reason for _, error in decoded.rejected]
    if depth > MAX_DEPTH:
        assert reasons == ["malformed"]
    else:
        assert reasons == (["wrong_type"] if field == "a" else [])


def test_many_shallow_brackets_and_brackets_in_text_are_no_nesting() -> None:
    flat = {"unused": [[{}] for _ in range(500)], "text": '[{"\\' * 500}
    assert decode(PLAIN, flat).rejected == []


def test_the_outcome_does_not_depend_on_the_depth_of_the_callers_stack() -> None:
    value = b'{"unused":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    codec = RecordCodec(PLAIN)

    def at_depth(depth: int) -> int:
        return at_depth(depth - 1) if depth else len(codec.decode([record(value)]).block)

    assert at_depth(0) == at_depth(700) == 1
