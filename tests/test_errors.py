"""Values from files are quoted in messages as one short printable line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import MOST_QUOTED, in_short

ANY_TEXT = st.text(st.characters(), max_size=500)  # lone surrogates, too


@given(ANY_TEXT)
def test_one_short_printable_line(text: str) -> None:
    """Law: any text gives one printable line of bounded length."""
    line = in_short(text)
    assert line.isprintable() and len(line) <= MOST_QUOTED
    line.encode()


@given(st.text(st.sampled_from("ab 'é語"), max_size=MOST_QUOTED))
def test_ordinary_text_is_unchanged(text: str) -> None:
    """Law: short printable text changes in nothing but its white space."""
    assert in_short(text) == " ".join(text.split())


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a\nb\r\nc", "a b c"),
        ("\x1b[2Jx", r"\x1b[2Jx"),
        ("\ud800", r"\ud800"),
        (ValueError("no\nsuch"), "no such"),
        ([1, "a"], "[1, 'a']"),
        ("a" * 10**6, "a" * (MOST_QUOTED - 3) + "..."),
    ],
)
def test_examples(value: object, line: str) -> None:
    """Line ends become spaces, control characters are escaped, long values are cut."""
    assert in_short(value) == line
