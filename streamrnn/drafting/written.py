"""Numbers that people wrote for people: 1,234.56, 12,50, $12.30, 7.5 °C. A job reads none of them, and should be told.

A name with a number in it (room 12, A320, v1.2, 192.168.0.1) is none: what stands around the number is a currency, a
percent sign, or a unit that is the same nearly everywhere.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from streamrnn.escaping import one_line

_MOST: Final = 0.95
"""The share of texts that has to be numbers."""
_FEWEST: Final = 5
"""Different numbers; fewer are rather names of sizes or classes."""
_MOST_UNITS: Final = 5
_MOST_WITHIN: Final = 4

_PLAIN = re.compile(r"(?<![\w.])-?[0-9]{1,18}(?:\.[0-9]{1,18})?")

_CURRENCY = r"(?:[$€£¥₹₽₩₺₴฿]|(?:US|CA|AU|NZ|HK|R)\$|(?:USD|EUR|GBP|JPY|CHF|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|CZK|BRL|KRW|TRY|ZAR)\b)"
_SEPARATOR = r"[,.'\u2019_ \u00a0\u202f]"
_DIGITS = (
    rf"[0-9]{{1,3}}(?P<group>{_SEPARATOR})[0-9]{{3}}(?:(?P=group)[0-9]{{3}})*(?:[.,][0-9]+)?"
    r"|[0-9]+(?:[.,][0-9]+)?|[.,][0-9]+"
)
_NUMBER = re.compile(
    rf"\s*(?P<open>\()?(?P<sign>[-+\u2212])?\s*(?:{_CURRENCY}\s*)?(?P<sign2>[-+\u2212])?(?P<digits>{_DIGITS})"
    r"(?P<unit>\s*[^\s0-9.,:;_/()+-][^0-9,:;()]{0,11})?(?P<close>\))?\s*"
)
_GROUPS = re.compile(r"[0-9]{1,3}(?:([,.'\u2019_ \u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*")


def numbers_written(texts: Sequence[str | None]) -> list[float] | None:
    """What these texts say as numbers, NaN for those that say none; None where they are no numbers for people."""
    found = {text: _NUMBER.fullmatch(text) for text in set(texts) if text is not None}
    matches = {text: match for text, match in found.items() if match is not None}
    known = [text for text in texts if text is not None]
    if not known or sum(text in matches for text in known) < _MOST * len(known) or len(matches) < _FEWEST:
        return None
    if not _units_agree([(match["unit"] or "") for match in matches.values()]) or _are_names(matches):
        return None
    comma = _decimal_is_comma(match["digits"] for match in matches.values())
    values = {text: _value(match, comma) for text, match in matches.items()}
    return [values.get(text, math.nan) if text is not None else math.nan for text in texts]


def numbers_within(texts: Sequence[str | None]) -> list[list[float]]:
    """The numbers in texts, those that come first in each, second ...; none where texts have not all as many."""
    if (written := numbers_written(texts)) is not None:
        return [written]
    found = [None if text is None else [float(number) for number in _PLAIN.findall(text)] for text in texts]
    lengths = Counter(len(numbers) for numbers in found if numbers is not None)
    if len(lengths) != 1 or not 1 <= (n := next(iter(lengths))) <= _MOST_WITHIN:
        return []
    return [[math.nan if numbers is None else numbers[place] for numbers in found] for place in range(n)]


def as_written(texts: Iterable[str | None]) -> str:
    """What to say of such a field, with its most frequent number as the example."""
    counts = Counter(text for text in texts if text is not None)
    # The one that looks least like a plain number says best what is meant.
    example = max(counts, key=lambda text: (sum(not c.isdigit() for c in text), counts[text], text))
    match = _NUMBER.fullmatch(example)
    plain = "a plain one"
    if match is not None:
        comma = _decimal_is_comma(m["digits"] for text in counts if (m := _NUMBER.fullmatch(text)))
        value = _value(match, comma)
        plain = f"{value:.15g}"
    return f"a number written as {one_line(example, 24)}, which a job does not read; have the producer write {plain}"


def _are_names(matches: dict[str, re.Match[str]]) -> bool:
    """Whether digits are glued to a letter or two, as in seats and flats (12B), or begin with zeros."""
    digits = [match["digits"] for match in matches.values()]
    if any(re.match(r"0[0-9]", text) for text in digits):
        return True
    units = {match["unit"] or "" for match in matches.values()}
    whole = all(text.isdigit() for text in digits)
    return whole and len(units) > 1 and any(unit[:1].isalpha() for unit in units)


def _units_agree(units: Sequence[str]) -> bool:
    """Whether there are few units, and each of them comes with several numbers."""
    counts = Counter(units)
    return len(counts) <= _MOST_UNITS and len(counts) <= max(1, len(units) // 4)


def _decimal_is_comma(digits: Iterable[str]) -> bool:
    """Whether a comma parts whole from broken: it stands last, or what follows it is no group of three."""
    votes = 0
    for text in digits:
        comma, point = text.rfind(","), text.rfind(".")
        if comma >= 0 and point >= 0:
            votes += 1 if comma > point else -1
        elif comma >= 0:
            votes += 0 if _GROUPS.fullmatch(text) else 1
        elif point >= 0:
            votes -= 0 if _GROUPS.fullmatch(text) else 1
    return votes > 0


def _value(match: re.Match[str], comma: bool) -> float:
    decimal, other = (",", ".") if comma else (".", ",")
    plain = re.sub(r"['\u2019_ \u00a0\u202f]", "", match["digits"]).replace(other, "").replace(decimal, ".")
    try:
        value = float(plain)
    except ValueError:
        return math.nan
    signs = {match["sign"], match["sign2"]} & {"-", "\u2212"}
    return -value if signs or (match["open"] and match["close"]) else value
