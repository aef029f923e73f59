"""The frozen, ordered characters of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from charlm.errors import UnknownCharacterError
from charlm.text.place import Place

CODE_POINTS = 0x110000
SURROGATES = 0x800
SHORT = 40  # characters; in a text of one such line nobody needs to be told the place


def code_points(text: str) -> NDArray[np.uint32]:
    """The Unicode code points of a text, (N,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def name_of(character: str) -> str:
    """A character as an error message shows it: quoted, escaped where it cannot be seen, with its code point."""
    return f"{character!r} (U+{ord(character):04X})"


@dataclass(frozen=True)
class Vocabulary:
    """Distinct characters in a fixed order; the place of a character is its id.

    One id more, `escape`, stands for every other character there is.
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
        """The smallest unsigned integer type that holds every id, the escape's too."""
        return np.min_scalar_type(self.escape)

    @property
    def escape(self) -> int:
        """The id that is read for any character outside the vocabulary."""
        return len(self.characters)

    @property
    def others(self) -> int:
        """How many Unicode scalar values there are outside the vocabulary; a surrogate is none."""
        return CODE_POINTS - SURROGATES - len(self.characters)

    @property
    def start(self) -> int:
        """The id that is read before a text's first character: a newline, since a text begins where a line begins.

        A vocabulary without a newline begins with its first character instead.
        """
        return max(self.characters.find("\n"), 0)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        table = np.full(int(code_points(self.characters).max()) + 2, -1, np.int32)
        table[code_points(self.characters)] = np.arange(len(self))
        return table

    def encode(self, text: str, *, escape: bool = False) -> NDArray[np.unsignedinteger]:
        """The ids of a text, (N,); with `escape`, that id for every character outside the vocabulary.

        Raises UnknownCharacterError otherwise, which names the first such character and its place.
        """
        ids = self._numbers(text)
        if ids.size and ids.min() < 0:
            if not escape:
                position = int(np.argmin(ids))
                place = Place().after(text[:position]) if len(text) > SHORT or "\n" in text else None
                raise self._unknown(text[position], place)
            ids[ids < 0] = self.escape
        return ids.astype(self.dtype)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids."""
        return "".join(self.characters[i] for i in ids)

    def _numbers(self, text: str) -> NDArray[np.int32]:
        """The ids of a text, -1 for what is unknown."""
        # Every code point beyond the table falls on its last entry, which is -1.
        return np.take(self._table, code_points(text), mode="clip")

    def _unknown(self, character: str, place: Place | None) -> UnknownCharacterError:
        return UnknownCharacterError(
            f"{f'{place}: ' if place else ''}the model never saw {name_of(character)}; it knows {len(self)} characters "
            "(charlm info lists them): use only those, or train on a text that has this one"
        )
