"""Characters to ids and back, and the error message for a character that has no id."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import UnknownCharacterError
from charlm.text.vocabulary import Vocabulary, code_points, name_of

TEXT = st.text(min_size=1, max_size=60)  # any Unicode without surrogates


@given(TEXT)
def test_decode_inverts_encode(text: str) -> None:
    """decode(encode(text)) = text, for any text, one id per character, in the vocabulary's dtype."""
    vocabulary = Vocabulary.of(text)
    ids = vocabulary.encode(text)
    assert ids.shape == (len(text),) and ids.dtype == vocabulary.dtype
    assert vocabulary.decode(ids) == text == vocabulary.decode(ids.tolist())


@given(TEXT)
def test_a_vocabulary_is_the_characters_of_a_text_in_order(text: str) -> None:
    """Each character once, in the order of code points; any text of the same characters gives the same vocabulary."""
    vocabulary = Vocabulary.of(text)
    assert vocabulary.characters == "".join(sorted(set(text)))
    assert len(vocabulary) == len(set(text))
    assert vocabulary == Vocabulary.of(text[::-1] * 2)


@given(st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_place_of_a_character_is_its_id(characters: set[str], random: object) -> None:
    """Ids follow the given order, sorted or not."""
    order = sorted(characters)
    random.shuffle(order)  # type: ignore[attr-defined]
    vocabulary = Vocabulary("".join(order))
    np.testing.assert_array_equal(vocabulary.encode("".join(order)), np.arange(len(order)))
    assert [vocabulary.decode([i]) for i in range(len(order))] == order


def test_ends_of_unicode() -> None:
    """The first and the last code point, and those beyond 16 bits, are ordinary characters."""
    text = "\x00a\n\uffff𝄞\U0010ffff"
    vocabulary = Vocabulary.of(text)
    assert len(vocabulary) == 6
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert Vocabulary("\U0010ffff").encode("\U0010ffff").tolist() == [0]


def test_the_empty_text() -> None:
    """It has no ids, and no ids decode to it."""
    ids = Vocabulary("ab").encode("")
    assert ids.shape == (0,) and ids.dtype == np.uint8
    assert Vocabulary("ab").decode(ids) == ""


@pytest.mark.parametrize(
    ("size", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)]
)
def test_ids_are_as_narrow_as_they_can_be(size: int, dtype: type) -> None:
    """The smallest unsigned type that holds the largest id, which is the unknown character's."""
    vocabulary = Vocabulary("".join(map(chr, range(0x10000, 0x10000 + size))))
    assert vocabulary.dtype == dtype
    last = vocabulary.characters[-1]
    ids = vocabulary.encode(last)
    assert ids.dtype == dtype and ids.tolist() == [size - 1]
    assert vocabulary.decode(ids) == last
    (unknown,) = vocabulary.encode("a", unknown=True)
    assert unknown == vocabulary.unknown == size


@pytest.mark.parametrize("characters", ["", "aa", "abca", "\n\n"])
def test_a_vocabulary_is_one_or_more_characters_each_once(characters: str) -> None:
    """An empty string and a repeated character raise ValueError."""
    with pytest.raises(ValueError):
        Vocabulary(characters)


@pytest.mark.parametrize(("characters", "start"), [("\tab\n", 3), ("\nab", 0), ("ab\n", 2), ("ab", 0), ("x", 0)])
def test_a_text_begins_where_a_line_begins(characters: str, start: int) -> None:
    """The id read before a text is the newline's, or the first character's if there is no newline."""
    assert Vocabulary(characters).start == start


KNOWN = "abcxyz é\n"


@given(
    st.text(KNOWN, max_size=60),
    st.characters(exclude_characters=KNOWN, exclude_categories=["Cs"]),
    st.sampled_from(["", "é\n", "abc " * 10]),
)
def test_the_first_unknown_character_is_named_with_its_position(before: str, unknown: str, after: str) -> None:
    """Line and column in a text of several lines or more than 40 characters; in a shorter one the character only."""
    text = before + unknown + after + "\ufffd"
    with pytest.raises(UnknownCharacterError) as refusal:
        Vocabulary(KNOWN).encode(text)
    message = str(refusal.value)
    assert f"U+{ord(unknown):04X}" in message and repr(unknown) in message
    assert "\n" not in message and "9 characters" in message
    lines = before.split("\n")
    position = f"line {len(lines)}, column {len(lines[-1]) + 1}: "
    assert message.startswith(position) == (len(text) > 40 or "\n" in text)


@pytest.mark.parametrize(
    ("before", "position"),
    [("", "line 1, column 1: "), ("\n", "line 2, column 1: "), ("a\n\nab", "line 3, column 3: ")],
)
def test_lines_and_columns_are_counted_from_one(before: str, position: str) -> None:
    """As editors count them."""
    with pytest.raises(UnknownCharacterError, match=f"^{position}"):
        Vocabulary("ab\n").encode(before + "?" + "a" * 40)


@pytest.mark.parametrize("unknown", ["`", "b", "d", "\x00", "é", "日", "\U0010ffff", "\ud800"])
def test_no_unknown_character_passes_for_a_known_one(unknown: str) -> None:
    """Between the known ones, right beside them, far beyond, and a lone surrogate."""
    with pytest.raises(UnknownCharacterError, match=f"U\\+{ord(unknown):04X}"):
        Vocabulary("ac").encode("ca" + unknown)


@pytest.mark.parametrize(
    ("character", "name"),
    [("a", "'a' (U+0061)"), ("\n", "'\\n' (U+000A)"), ("\u200b", "'\\u200b' (U+200B)"), ("😀", "'😀' (U+1F600)")],
)
def test_names_of_characters_can_be_seen(character: str, name: str) -> None:
    """Quoted, escaped if it is invisible, and with the code point."""
    assert name_of(character) == name


@given(st.text())
def test_code_points_are_those_of_ord(text: str) -> None:
    """One number per character, also beyond 16 bits."""
    assert code_points(text).tolist() == [ord(character) for character in text]


def test_a_vocabulary_is_frozen() -> None:
    """A vocabulary is an immutable value, so ids stay valid."""
    vocabulary = Vocabulary("ab")
    with pytest.raises(dataclasses.FrozenInstanceError):
        vocabulary.characters = "ba"  # type: ignore[misc]
    assert vocabulary == Vocabulary("ab") != Vocabulary("ba")


def test_the_probabilities_of_all_unicode_characters_sum_to_one() -> None:
    """The cost of an unknown character makes them a distribution over all Unicode scalar values."""
    vocabulary = Vocabulary("abc")
    ids = np.arange(len(vocabulary) + 1)
    nats = np.full(len(ids), math.log(len(ids)))  # a uniform predictor over the ids
    assert vocabulary.add_unknown_cost(nats, ids) is nats
    *known, unknown = np.exp(-nats)
    scalar_values = 0x110000 - 0x800
    assert sum(known) + (scalar_values - len(known)) * unknown == pytest.approx(1)
