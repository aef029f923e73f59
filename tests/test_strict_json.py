"""The parser accepts JSON as the standard defines it, and nothing else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.files.strict_json import MOST_DEPTH, MOST_VALUES, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
DEEP = 200_000


@given(value=VALUES, ascii_only=st.booleans(), indent=st.none() | st.integers(0, 3))
def test_ordinary_json_is_parsed_as_by_json_loads(value: Any, ascii_only: bool, indent: int | None) -> None:
    """Law: the same values and types, from str, and from bytes in UTF-8."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    parsed = parse_json(text)
    assert repr(parsed) == repr(json.loads(text)) == repr(value)
    if ascii_only:
        assert repr(parse_json(text.encode())) == repr(parsed)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("around", ["{}", " {} ", "[1, {}]", '{{"nats": {}}}', '[[{{"a": [{}]}}]]'])
def test_nan_and_infinity_are_refused(word: str, around: str) -> None:
    """Law: at any depth, although json.loads accepts them; as strings they are ordinary text."""
    assert not math.isfinite(float(word))
    json.loads(around.format(word))
    with pytest.raises(ValueError, match=word):
        parse_json(around.format(word))
    assert parse_json(around.format(f'"{word}"')) == json.loads(around.format(f'"{word}"'))


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"a":', "[[],"])
@pytest.mark.parametrize("closed", [False, True])
def test_deep_nesting_is_refused(unit: str, closed: bool) -> None:
    """Law: a ValueError of one line, never a RecursionError."""
    ends = "".join(
        {"[": "]", "{": "}"}[character] for character in reversed(unit.replace("[]", "")) if character in "[{"
    )
    text = unit * DEEP + "1" + ends * DEEP if closed else unit * DEEP
    for given_text in (text, text.encode()):
        with pytest.raises(ValueError) as raised:
            parse_json(given_text)
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("depth", [1, 50, MOST_DEPTH])
def test_ordinary_nesting_is_read(depth: int) -> None:
    """Law: the bound is exact, in lists, in objects and in both."""
    for start, end in (("[", "]"), ('{"a":', "}"), ('[{"a":[', "]}]")):
        levels = depth // len(end)
        value = parse_json(start * levels + "1" + end * levels)
        assert repr(value) == repr(json.loads(start * levels + "1" + end * levels))
        with pytest.raises(ValueError, match="nested"):
            parse_json(start * (MOST_DEPTH + 1) + "1" + end * (MOST_DEPTH + 1))


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '{"a": 1, "b": 2, "a": 3}', '[{"x": {"": 1, "": 2}}]', '{"é": 1, "\\u00e9": 1}']
)
def test_a_key_twice_is_refused(text: str) -> None:
    """Law: it is ambiguous which of the two counts; json.loads takes the last."""
    json.loads(text)
    with pytest.raises(ValueError, match="more than once"):
        parse_json(text)


@pytest.mark.parametrize("unit", ["[],", "{},", "0,", '"",', '{"a":0},'])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_flood_of_values_is_refused(unit: str, as_bytes: bool) -> None:
    """Law: a text that would take many times its size of memory is refused before it is parsed."""
    for times, refused in ((2, True), (0.25, False)):
        text = "[" + unit * int(times * MOST_VALUES) + "0]"
        given_text = text.encode() if as_bytes else text
        if refused:
            with pytest.raises(ValueError, match="values"):
                parse_json(given_text)
        else:
            assert len(parse_json(given_text)) == times * MOST_VALUES + 1


LONG = "a" * 10**6


@pytest.mark.parametrize(
    "text", ["1" * 10**6, "-" + "9" * 10**6 + ".0", "1e400", f'{{"{LONG}": 1, "{LONG}": 1}}'], ids=lambda text: text[:9]
)
def test_long_values_are_quoted_in_short(text: str) -> None:
    """Law: the message is one short line, however long the number or the key."""
    with pytest.raises(ValueError) as raised:
        parse_json(text)
    assert len(str(raised.value)) < 400 and str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", '{"a": 1,}', "{'a': 1}", "nan", "True", "01", "+1", ".5", "1."])
def test_what_is_not_json_is_refused(text: str) -> None:
    """Law: the mistakes of hand-written files."""
    with pytest.raises(ValueError):
        parse_json(text)


@given(value=VALUES, garbage=st.sampled_from(["x", "{}", "[]", "null", '"', ",", "\0", "]", "}"]))
def test_trailing_garbage_is_refused(value: Any, garbage: str) -> None:
    """Law: only white space may follow the value."""
    text = json.dumps(value)
    assert repr(parse_json(text + " \n\t\r")) == repr(value)
    with pytest.raises(ValueError):
        parse_json(f"{text} {garbage}")


@given(data=st.binary(max_size=60))
def test_any_bytes_at_all(data: bytes) -> None:
    """Law: the value of json.loads, or ValueError."""
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert repr(value) == repr(json.loads(data))


@pytest.mark.parametrize("data", [b"\xff", b'"\xc3"', b'"\xed\xa0\x80"'[:4], b'{"a": "\xe9"}'])
def test_bytes_that_are_not_text(data: bytes) -> None:
    """Law: a ValueError, too."""
    with pytest.raises(ValueError):
        parse_json(data)
