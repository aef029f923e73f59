"""JSON as the standard has it: all of it, and nothing else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.store.strict_json import parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
DEEP = 200_000


@given(value=VALUES, ascii_only=st.booleans(), indent=st.none() | st.integers(0, 3))
def test_ordinary_json_is_what_pythons_reader_makes_of_it(value: Any, ascii_only: bool, indent: int | None) -> None:
    """Law: the same value and types as json.loads, from str, and from bytes where it is UTF-8."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    parsed = parse_json(text)
    assert repr(parsed) == repr(json.loads(text)) == repr(value)
    if ascii_only:
        assert repr(parse_json(text.encode())) == repr(parsed)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("around", ["{}", " {} ", "[1, {}]", '{{"nats": {}}}', '[[{{"a": [{}]}}]]'])
def test_numbers_that_are_none_are_refused(word: str, around: str) -> None:
    """Law: wherever they stand, though json.loads takes them; as strings they are only text."""
    assert not math.isfinite(float(word))
    json.loads(around.format(word))
    with pytest.raises(ValueError, match=word):
        parse_json(around.format(word))
    assert parse_json(around.format(f'"{word}"')) == json.loads(around.format(f'"{word}"'))


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"a":', "[[],"])
@pytest.mark.parametrize("closed", [False, True])
def test_deep_nesting_is_refused(unit: str, closed: bool) -> None:
    """Law: a ValueError of one line, never an end of the stack."""
    ends = "".join(
        {"[": "]", "{": "}"}[character] for character in reversed(unit.replace("[]", "")) if character in "[{"
    )
    text = unit * DEEP + "1" + ends * DEEP if closed else unit * DEEP
    for given_text in (text, text.encode()):
        with pytest.raises(ValueError) as raised:
            parse_json(given_text)
        assert len(str(raised.value).splitlines()) == 1


def test_ordinary_nesting_is_read() -> None:
    """Law: what people nest is not deep."""
    assert repr(parse_json("[" * 50 + "]" * 50)) == "[" * 50 + "]" * 50


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", '{"a": 1,}', "{'a': 1}", "nan", "True", "01", "+1", ".5", "1."])
def test_what_is_not_json_is_refused(text: str) -> None:
    """Law: the mistakes of hand-written files."""
    with pytest.raises(ValueError):
        parse_json(text)


@given(value=VALUES, garbage=st.sampled_from(["x", "{}", "[]", "null", '"', ",", "\0", "]", "}"]))
def test_trailing_garbage_is_refused(value: Any, garbage: str) -> None:
    """Law: one value and then white space is all; two joined records are not one."""
    text = json.dumps(value)
    assert repr(parse_json(text + " \n\t\r")) == repr(value)
    with pytest.raises(ValueError):
        parse_json(f"{text} {garbage}")


@given(data=st.binary(max_size=60))
def test_any_bytes_at_all(data: bytes) -> None:
    """Law: a value, or ValueError; nothing else comes out of damaged bytes."""
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert repr(value) == repr(json.loads(data))


@pytest.mark.parametrize("data", [b"\xff", b'"\xc3"', b'"\xed\xa0\x80"'[:4], b'{"a": "\xe9"}'])
def test_bytes_that_are_not_text(data: bytes) -> None:
    """Law: refused as a ValueError like the rest."""
    with pytest.raises(ValueError):
        parse_json(data)
