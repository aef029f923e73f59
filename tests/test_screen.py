"""What is printed to a terminal has no control sequences and fits."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.cli.screen import columns_of, cut, cut_left, harmless

ANY = st.text(max_size=30) | st.text("ab漢字e\u0301\u200d\U0001f600", max_size=30)
PRINTABLE = ANY.map(harmless)


@given(ANY)
def test_harmless(text: str) -> None:
    """Law: all is printable; printable characters stay, and others are escaped as in a Python string."""
    shown = harmless(text)
    assert shown.isprintable()
    assert shown == "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b2J", "\x1b]0;x\x07", "\r", "\t", "\x08", "\u202e", "\u2028", "\x85"])
def test_control_sequences(evil: str) -> None:
    """Law: no escape sequence, no movement of the cursor, no change of direction is left."""
    assert not any(unicodedata.category(c).startswith(("C", "Z")) for c in harmless(evil))


def width(text: str) -> int:
    """The columns of a text."""
    return sum(map(columns_of, text))


@given(PRINTABLE, st.integers(0, 40))
def test_cut(text: str, columns: int) -> None:
    """Law: the longest beginning that fits."""
    part = cut(text, columns)
    assert text.startswith(part) and width(part) <= columns
    assert part == text or width(text[: len(part) + 1]) > columns


@given(PRINTABLE, st.integers(1, 40))
def test_cut_left(text: str, columns: int) -> None:
    """Law: the whole text, or "…" and the longest end that fits after it."""
    part = cut_left(text, columns)
    assert width(part) <= columns
    if width(text) <= columns:
        assert part == text
    else:
        assert part[0] == "…" and text.endswith(part[1:])
        assert width(text[len(text) - len(part) :]) >= columns


@pytest.mark.parametrize(("character", "columns"), [("a", 1), ("é", 1), ("漢", 2), ("ｆ", 2), ("\u0301", 0), ("😀", 2)])
def test_columns(character: str, columns: int) -> None:
    """Law: wide characters take two columns, combining marks none."""
    assert columns_of(character) == columns
