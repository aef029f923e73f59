"""A vocabulary that grows while a text is read becomes that of the whole text."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.corpus.growing_vocabulary import GrowingVocabulary
from charlm.text.vocabulary import Vocabulary

PIECES = st.lists(st.text(max_size=20) | st.text("abc\n", max_size=20), min_size=1, max_size=6).filter(any)


@given(PIECES)
def test_numbers_become_ids(pieces: list[str]) -> None:
    """Law: whatever the pieces, the vocabulary is that of the whole text, and the order turns numbers into its ids."""
    growing = GrowingVocabulary()
    numbers = np.concatenate([growing.encode(piece) for piece in pieces])
    text = "".join(pieces)
    vocabulary = Vocabulary.of(text)
    assert growing.vocabulary == vocabulary and len(growing) == len(vocabulary)
    np.testing.assert_array_equal(growing.order[numbers], vocabulary.encode(text))
    assert growing.order.dtype == growing.dtype == vocabulary.dtype


@given(PIECES)
def test_numbers_do_not_change(pieces: list[str]) -> None:
    """Law: a character keeps its number."""
    growing = GrowingVocabulary()
    before = [growing.encode(piece).tolist() for piece in pieces]
    assert [growing.encode(piece).tolist() for piece in pieces] == before


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1, np.uint8), (255, np.uint8), (256, np.uint16), (257, np.uint16), (65_535, np.uint16), (65_537, np.uint32)],
)
def test_numbers_are_as_narrow_as_they_can_be(size: int, dtype: type) -> None:
    """Law: the smallest type that holds all numbers so far, also in a piece with new characters."""
    characters = [chr(point) for point in range(1, 0x11000) if not 0xD800 <= point < 0xE000][:size]
    random.Random(0).shuffle(characters)
    growing = GrowingVocabulary()
    growing.encode("".join(characters[:-1]))
    numbers = growing.encode("".join(characters))
    assert numbers.dtype == growing.dtype == dtype
    assert sorted(numbers.tolist()) == list(range(size))


@given(PIECES, st.text("abcxyz\nЖ", max_size=8))
def test_known_characters(pieces: list[str], known: str) -> None:
    """Law: the vocabulary is that of the text and the known characters, none of which counts as occurring once."""
    growing = GrowingVocabulary(known)
    numbers = np.concatenate([growing.encode(piece) for piece in pieces])
    text = "".join(pieces)
    vocabulary = Vocabulary.of(text + known)
    assert growing.vocabulary == vocabulary
    np.testing.assert_array_equal(growing.order[numbers], vocabulary.encode(text))
    once = {character for character in text if text.count(character) == 1} - set(known)
    assert {vocabulary.characters[id] for id in growing.once} == once


def test_the_empty_text() -> None:
    """Law: an empty piece has no numbers and adds none."""
    growing = GrowingVocabulary()
    assert growing.encode("").shape == (0,) and growing.encode("").dtype == np.uint8
    assert len(growing) == 0
