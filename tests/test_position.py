"""Lines and columns of a text that is read piece by piece are those of the whole text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charlm.text.position import Position


@given(st.lists(st.text("a\n\r\u2028é", max_size=8)))
def test_pieces_add_up(pieces: list[str]) -> None:
    """Law: the line is 1 plus the LFs before it, the column 1 plus the characters after the last LF."""
    position = Position()
    for piece in pieces:
        position = position.after(piece)
    lines = "".join(pieces).split("\n")
    assert (position.line, position.column) == (len(lines), len(lines[-1]) + 1)
    assert str(position) == f"line {position.line}, column {position.column}"
