"""Features of every character of a text that a reader can name: position in the line, inside quotation marks, ...

A feature is a function from a text of N characters to numbers (N,), float64: a count, or 0 and 1. It uses only the
text up to and including a character, with two exceptions: the name of a speaker and a word in capitals are marked from
their first letter on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np

from charlm.arrays import Flags, Floats, Ids
from charlm.text.vocabulary import code_points

VOWELS = frozenset("aeiouyæœøıαεηιουωаеиоуыэюяєі")  # Latin, Greek and Cyrillic, without accents
SEMIVOWELS = frozenset("йў")  # decompose into a vowel and an accent, but are none
SENTENCE_ENDS = frozenset(".!?…。！？")
QUOTES, OPENING_QUOTES = '"“”„«»', '"“„«'
SPEAKER = re.compile(r"^[^\W\d_][\w .'’-]{0,38}:", re.MULTILINE)
WORD = re.compile(r"[^\W\d_]{2,}")
BLANK_LINE = re.compile(r"\n[ \t]*(?=\n)")
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


def position_in_line(text: str) -> Floats:
    """Characters since the last line end; 0 for the line end itself."""
    return _since(_where(text, "\n".__eq__))


def position_in_word(text: str) -> Floats:
    """Letters since the word began, counting this one; 0 outside words."""
    return _since(~_where(text, str.isalpha))


def position_in_sentence(text: str) -> Floats:
    """Characters since the last full stop, question mark or exclamation mark."""
    return _since(_where(text, SENTENCE_ENDS.__contains__))


def line_of_paragraph(text: str) -> Floats:
    """Lines since the last blank line, or since the beginning of the text."""
    line = np.cumsum(_where(text, "\n".__eq__))
    blank = np.zeros(len(text), np.int64)
    for match in BLANK_LINE.finditer(text):
        blank[match.end()] = line[match.end()]
    return (line - _running_maximum(blank)).astype(float)


def indentation(text: str) -> Floats:
    """The number of spaces and tabs at the beginning of the line, as far as it has been read."""
    depth = np.zeros(len(text))
    for match in INDENTATION.finditer(text):
        end = text.find("\n", match.end())
        depth[match.end() : len(text) if end < 0 else end] = match.end() - match.start()
        depth[match.start() : match.end()] = np.arange(1, match.end() - match.start() + 1)
    return depth


def capital_letter(text: str) -> Floats:
    """1 for a capital letter."""
    return _where(text, str.isupper).astype(float)


def word_in_capitals(text: str) -> Floats:
    """1 in a word of two or more letters, all of them capitals."""
    return _within(text, (match.span() for match in WORD.finditer(text) if match[0].isupper()))


def name_of_speaker(text: str) -> Floats:
    """1 in a name at the beginning of a line, up to and including its colon, as in a play."""
    return _within(text, (match.span() for match in SPEAKER.finditer(text) if not match[0][0].islower()))


def inside_quotation_marks(text: str) -> Floats:
    """1 between double or angle quotation marks; the end of a paragraph closes those left open."""
    inside, opened = np.zeros(len(text)), -1
    for match in re.finditer(rf"[{QUOTES}]|{BLANK_LINE.pattern}", text):
        if opened >= 0:
            inside[opened : match.end() - (match[0] in QUOTES)] = 1
            opened = -1
        elif match[0] in OPENING_QUOTES:
            opened = match.start()
    if opened >= 0:
        inside[opened:] = 1
    return inside


def inside_brackets(text: str) -> Floats:
    """1 between round, square or curly brackets."""
    steps = _where(text, "([{".__contains__).astype(np.int64) - _where(text, ")]}".__contains__)
    depth = np.cumsum(steps)
    depth += _running_maximum(np.maximum(-depth, 0))  # closing brackets that close nothing are ignored
    return (depth > 0).astype(float)


def vowel(text: str) -> Floats:
    """1 for a vowel of the Latin, Greek or Cyrillic script, with or without an accent."""
    return _where(text, _is_vowel).astype(float)


def space(text: str) -> Floats:
    """1 for a space or a tab."""
    return _where(text, lambda character: character.isspace() and character != "\n").astype(float)


def line_end(text: str) -> Floats:
    """1 for a line end."""
    return _where(text, "\n".__eq__).astype(float)


def digit(text: str) -> Floats:
    """1 for a digit."""
    return _where(text, str.isdigit).astype(float)


def punctuation(text: str) -> Floats:
    """1 for a punctuation mark."""
    return _where(text, lambda character: unicodedata.category(character).startswith("P")).astype(float)


FEATURES: dict[str, Callable[[str], Floats]] = {
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


def _where(text: str, condition: Callable[[str], bool]) -> Flags:
    """Where a condition on single characters holds, (N,). It is evaluated once per distinct character."""
    distinct, indices = np.unique(code_points(text), return_inverse=True)
    return np.array([condition(chr(point)) for point in distinct.tolist()], bool)[indices]


def _since(marks: Flags) -> Floats:
    """Characters since the last mark, 0 at a mark; the position before the first character counts as marked."""
    index = np.arange(len(marks))
    return (index - _running_maximum(np.where(marks, index, -1))).astype(float)


def _running_maximum(numbers: Ids) -> Ids:
    return np.maximum.accumulate(numbers) if len(numbers) else numbers


def _within(text: str, spans: Iterable[tuple[int, int]]) -> Floats:
    inside = np.zeros(len(text))
    for start, end in spans:
        inside[start:end] = 1
    return inside
