"""The unknown characters of a text are counted, whatever the pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.text.unknown import NAMED, Unseen
from charlm.text.vocabulary import Vocabulary, name_of

PIECES = st.lists(st.text("ab\nçé€日\U0001f600", max_size=12) | st.text(max_size=5), max_size=6)
MANY = "".join(map(chr, range(0x400, 0x400 + 1500)))


@given(PIECES)
def test_counts(pieces: list[str]) -> None:
    """Law: all, the distinct ones, and the first few in order of occurrence are those of a plain count."""
    unseen = Unseen(Vocabulary("\nab"))
    for piece in pieces:
        unseen.add(piece)
    unknown = [character for character in "".join(pieces) if character not in "\nab"]
    assert (unseen.characters, unseen.kinds) == (len(unknown), len(set(unknown)))
    assert unseen.first == [name_of(character) for character in dict.fromkeys(unknown)][:NAMED]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("abba\n", ""),
        ("aéba", "never saw 1 of these characters, and they cost much: 'é' (U+00E9)"),
        ("éçé€", "4 of these characters, and they cost much: 'é' (U+00E9), 'ç' (U+00E7), '€' (U+20AC)"),
        ("éç€\x1b", "'€' (U+20AC) and one more kind"),
        (MANY, "saw 1,500 of these characters, and they cost much: "),
        (MANY, "'Ђ' (U+0402) and 1,497 more kinds"),
    ],
)
def test_the_sentence(text: str, sentence: str) -> None:
    """Law: how many, the first kinds by name, and how many more kinds; empty if all characters are known."""
    unseen = Unseen(Vocabulary("\nab"))
    unseen.add(text)
    assert sentence in str(unseen)
    assert bool(sentence) == bool(str(unseen)) and str(unseen).isprintable()
