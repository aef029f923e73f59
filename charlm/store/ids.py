"""The ids of a text that is read once: written as its pieces come, put in order in place at the end."""

from __future__ import annotations

import hashlib
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from charlm.text.growing import GrowingVocabulary
from charlm.text.vocabulary import Vocabulary

BLOCK = 2**18  # ids at a time


class IdsWriter:
    """Writes the ids of a text into an empty file, from its beginning: in memory, or on the disk.

    While the text comes, a character's number is the order in which it was met, in as few bytes as the characters so
    far need. `finish` makes ids of the numbers. All of it is ordinary reading and writing: pages of a mapped file
    would count as memory of this process. known: characters that have ids whether they come or not.
    """

    def __init__(self, file: BinaryIO, known: str = "") -> None:
        self.characters = 0
        self.sha256 = hashlib.sha256()  # of the text as UTF-8
        self._file = file
        self._alphabet = GrowingVocabulary(known)
        self._dtype = self._alphabet.dtype  # of what is in the file

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.characters * self._dtype.itemsize

    def add(self, piece: str) -> None:
        """Write a piece of the text."""
        self.sha256.update(piece.encode())
        numbers = self._alphabet.encode(piece)
        if numbers.dtype != self._dtype:
            self._widen(numbers.dtype)
        self._file.write(_little_endian(numbers))
        self.characters += len(numbers)

    def move_to(self, file: BinaryIO) -> None:
        """Go on in another empty file."""
        for start in self._blocks():
            file.write(_little_endian(self._read(start)))
        self._file = file

    @property
    def once(self) -> tuple[int, ...]:
        """The ids of the characters that came once."""
        return self._alphabet.once

    def finish(self) -> tuple[Vocabulary, int]:
        """Turn all numbers into ids; gives the vocabulary, and the CRC-32 of the ids. The file stands at its end."""
        order, checksum = self._alphabet.order, 0
        for start in self._blocks():
            ids = _little_endian(np.take(order, self._read(start)))
            self._file.seek(start * self._dtype.itemsize)
            self._file.write(ids)
            checksum = zlib.crc32(ids, checksum)
        return self._alphabet.vocabulary, checksum

    def _widen(self, dtype: np.dtype[np.unsignedinteger]) -> None:
        """Write all numbers anew in more bytes each, from the last to the first: so none is lost."""
        for start in reversed(self._blocks()):
            numbers = self._read(start).astype(dtype)
            self._file.seek(start * dtype.itemsize)
            self._file.write(_little_endian(numbers))
        self._dtype = dtype
        self._file.seek(self.size)

    def _blocks(self) -> range:
        """Where each block of ids starts."""
        return range(0, self.characters, BLOCK)

    def _read(self, start: int) -> NDArray[np.unsignedinteger]:
        """One block of what was written."""
        self._file.seek(start * self._dtype.itemsize)
        count = min(BLOCK, self.characters - start)
        return np.frombuffer(self._file.read(count * self._dtype.itemsize), self._dtype.newbyteorder("<"))


def _little_endian(ids: NDArray[np.unsignedinteger]) -> memoryview:
    """The bytes of some ids as files have them, on every machine."""
    return np.ascontiguousarray(ids, ids.dtype.newbyteorder("<")).data.cast("B")
