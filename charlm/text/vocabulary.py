"""The frozen, ordered characters of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charlm.arrays import Floats, Ids, UnsignedIds
from charlm.errors import UnknownCharacterError
from charlm.text.position import Position

CODE_POINTS = 0x110000
SURROGATES = 0x800
REPLACEMENT = "\ufffd"  # what stands for the unknown character in a decoded text
SHORT = 40  # characters; in a text of one such line an error message needs no position


def code_points(text: str) -> NDArray[np.uint32]:
    """The Unicode code points of a text, (N,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def name_of(character: str) -> str:
    """A character as an error message shows it: quoted, escaped where it cannot be seen, with its code point."""
    return f"{character!r} (U+{ord(character):04X})"


@dataclass(frozen=True)
class Vocabulary:
    """Distinct characters in a fixed order; the place of a character is its id.

    One id more, `unknown`, stands for every character that the vocabulary does not have.
    """

    characters: str

    def __post_init__(self) -> None:
        if not self.characters or len(set(self.characters)) != len(self.characters):
            raise ValueError("a vocabulary is one or more characters, each once")

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """The distinct characters of a text, in the order of their code points."""
        present = np.zeros(CODE_POINTS, bool)
        present[code_points(text)] = True
        return cls("".join(map(chr, np.flatnonzero(present))))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned integer type that holds every id, the unknown character's too."""
        return np.min_scalar_type(self.unknown)

    @property
    def unknown(self) -> int:
        """The id of the unknown character, which is read for any character outside the vocabulary."""
        return len(self.characters)

    @property
    def others(self) -> int:
        """How many Unicode scalar values there are outside the vocabulary; surrogates are not scalar values."""
        return CODE_POINTS - SURROGATES - len(self.characters)

    @property
    def start(self) -> int:
        """The id that is read before the first character of a text: a newline, because a text begins on a new line.

        For a vocabulary without a newline it is the first character.
        """
        return max(self.characters.find("\n"), 0)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        table = np.full(int(code_points(self.characters).max()) + 2, -1, np.int32)
        table[code_points(self.characters)] = np.arange(len(self))
        return table

    def encode(self, text: str, *, unknown: bool = False) -> UnsignedIds:
        """The ids of a text, (N,); with `unknown`, that id for every character outside the vocabulary.

        Raises UnknownCharacterError otherwise, which names the first such character and its position.
        """
        ids = self._ids_or_minus_one(text)
        if ids.size and ids.min() < 0:
            if not unknown:
                index = int(np.argmin(ids))
                position = Position().after(text[:index]) if len(text) > SHORT or "\n" in text else None
                raise self._unknown_character(text[index], position)
            ids[ids < 0] = self.unknown
        return ids.astype(self.dtype)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; U+FFFD for the unknown character."""
        places = ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.intp)
        points = code_points(self.characters + REPLACEMENT)[places]
        return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def add_unknown_cost(self, nats: Floats, ids: Ids) -> Floats:
        """Add to nats (N,), in place, what it costs to say which character each unknown one is; returns nats.

        A predictor gives one probability to all characters outside the vocabulary together. Each of them is taken to
        be equally likely, which costs ln(others) nats more: so the probabilities of all characters sum to 1.
        """
        return add_unknown_cost(nats, ids, self.unknown)

    def _ids_or_minus_one(self, text: str) -> NDArray[np.int32]:
        # Every code point beyond the table falls on its last entry, which is -1.
        return np.take(self._table, code_points(text), mode="clip")

    def _unknown_character(self, character: str, position: Position | None) -> UnknownCharacterError:
        return UnknownCharacterError(
            f"{f'{position}: ' if position else ''}the model never saw {name_of(character)}; it knows {len(self)} "
            "characters (charlm info lists them): use only those, or train on a text that has this one"
        )


def add_unknown_cost(nats: Floats, ids: Ids, unknown: int) -> Floats:
    """`Vocabulary.add_unknown_cost` for a vocabulary of `unknown` characters."""
    nats[ids == unknown] += math.log(CODE_POINTS - SURROGATES - unknown)
    return nats
