"""Lines and columns of a text that is read piece by piece are those of the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charlm.text.place import Place


@given(st.lists(st.text("a\n\r\u2028é", max_size=8)))
def test_pieces_add_up(pieces: list[str]) -> None:
    """Law: the line is one more than the LFs before it, the column one more than the characters after the last."""
    place = Place()
    for piece in pieces:
        place = place.after(piece)
    lines = "".join(pieces).split("\n")
    assert (place.line, place.column) == (len(lines), len(lines[-1]) + 1)
    assert str(place) == f"line {place.line}, column {place.column}"
