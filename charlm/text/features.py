"""What a reader could say about every character of a text: where in its line it stands, whether it is inside quotes.

A feature is a function from a text to one number a character, (N,): a count, or 0 and 1. It tells what is known once
that character has been read; only the name of a speaker and a word in capitals are known from their first letter on,
because that is when a reader who knows the text knows them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from charlm.text.vocabulary import code_points

Numbers: TypeAlias = NDArray[np.floating[Any]]
Marks: TypeAlias = NDArray[np.bool_]

VOWELS = frozenset("aeiouyæœøıαεηιουωаеиоуыэюяєі")  # of Latin, Greek and Cyrillic, without their accents
SEMIVOWELS = frozenset("йў")  # look like a vowel with an accent
SENTENCE_ENDS = frozenset(".!?…。！？")
QUOTES, OPENING_QUOTES = '"“”„«»', '"“„«'
SPEAKER = re.compile(r"^[^\W\d_][\w .'’-]{0,38}:", re.MULTILINE)
WORD = re.compile(r"[^\W\d_]{2,}")
BLANK_LINE = re.compile(r"\n[ \t]*(?=\n)")
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


def position_in_line(text: str) -> Numbers:
    """Characters since the last line end; 0 for a line end itself."""
    return _since(_where(text, "\n".__eq__))


def position_in_word(text: str) -> Numbers:
    """Letters since the word began; 0 for what is no letter."""
    return _since(~_where(text, str.isalpha))


def position_in_sentence(text: str) -> Numbers:
    """Characters since the last full stop, question mark or exclamation mark."""
    return _since(_where(text, SENTENCE_ENDS.__contains__))


def line_of_paragraph(text: str) -> Numbers:
    """Lines since the last empty one."""
    line = np.cumsum(_where(text, "\n".__eq__))
    empty = np.zeros(len(text), np.int64)
    for found in BLANK_LINE.finditer(text):
        empty[found.end()] = line[found.end()]
    return (line - _largest_so_far(empty)).astype(float)


def indentation(text: str) -> Numbers:
    """Spaces and tabs with which the line began."""
    deep = np.zeros(len(text))
    for found in INDENTATION.finditer(text):
        end = text.find("\n", found.end())
        deep[found.end() : len(text) if end < 0 else end] = found.end() - found.start()
        deep[found.start() : found.end()] = np.arange(1, found.end() - found.start() + 1)
    return deep


def capital_letter(text: str) -> Numbers:
    """1 for a capital letter."""
    return _where(text, str.isupper).astype(float)


def word_in_capitals(text: str) -> Numbers:
    """1 in a word of two letters or more that are all capitals."""
    return _within(text, (word.span() for word in WORD.finditer(text) if word[0].isupper()))


def name_of_speaker(text: str) -> Numbers:
    """1 in the name with which a line of a play begins, up to its colon."""
    return _within(text, (name.span() for name in SPEAKER.finditer(text) if not name[0][0].islower()))


def inside_quotation_marks(text: str) -> Numbers:
    """1 between double quotation marks, or angled ones; a paragraph's end closes those left open."""
    inside, opened = np.zeros(len(text)), -1
    for mark in re.finditer(rf"[{QUOTES}]|{BLANK_LINE.pattern}", text):
        if opened >= 0:
            inside[opened : mark.end() - (mark[0] in QUOTES)] = 1
            opened = -1
        elif mark[0] in OPENING_QUOTES:
            opened = mark.start()
    if opened >= 0:
        inside[opened:] = 1
    return inside


def inside_brackets(text: str) -> Numbers:
    """1 between round, square or curly brackets."""
    steps = _where(text, "([{".__contains__).astype(np.int64) - _where(text, ")]}".__contains__)
    depth = np.cumsum(steps)
    depth += _largest_so_far(np.maximum(-depth, 0))  # what closes nothing counts for nothing
    return (depth > 0).astype(float)


def vowel(text: str) -> Numbers:
    """1 for a vowel of the Latin, Greek or Cyrillic script, with or without an accent."""
    return _where(text, _is_vowel).astype(float)


def space(text: str) -> Numbers:
    """1 for a space or a tab."""
    return _where(text, lambda character: character.isspace() and character != "\n").astype(float)


def line_end(text: str) -> Numbers:
    """1 for a line end."""
    return _where(text, "\n".__eq__).astype(float)


def digit(text: str) -> Numbers:
    """1 for a digit."""
    return _where(text, str.isdigit).astype(float)


def punctuation(text: str) -> Numbers:
    """1 for a punctuation mark."""
    return _where(text, lambda character: unicodedata.category(character).startswith("P")).astype(float)


FEATURES: dict[str, Callable[[str], Numbers]] = {
    feature.__name__.replace("_", " "): feature
    for feature in (
        position_in_line,
        position_in_word,
        position_in_sentence,
        line_of_paragraph,
        indentation,
        capital_letter,
        word_in_capitals,
        name_of_speaker,
        inside_quotation_marks,
        inside_brackets,
        vowel,
        space,
        line_end,
        digit,
        punctuation,
    )
}


def _is_vowel(character: str) -> bool:
    lower = character.lower()
    return lower not in SEMIVOWELS and unicodedata.normalize("NFD", lower)[0] in VOWELS


def _where(text: str, holds: Callable[[str], bool]) -> Marks:
    """Which characters of a text something holds for; it is asked once for each distinct one."""
    distinct, which = np.unique(code_points(text), return_inverse=True)
    return np.array([holds(chr(point)) for point in distinct.tolist()], bool)[which]


def _since(marks: Marks) -> Numbers:
    """Characters since the last mark, 0 at a mark; the text's beginning counts as one just before it."""
    index = np.arange(len(marks))
    return (index - _largest_so_far(np.where(marks, index, -1))).astype(float)


def _largest_so_far(numbers: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    return np.maximum.accumulate(numbers) if len(numbers) else numbers


def _within(text: str, spans: Iterable[tuple[int, int]]) -> Numbers:
    inside = np.zeros(len(text))
    for start, end in spans:
        inside[start:end] = 1
    return inside
