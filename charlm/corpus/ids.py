"""Write the ids of a text while it is read once, and put them in the vocabulary's order at the end."""

from __future__ import annotations

import hashlib
import zlib
from typing import BinaryIO

import numpy as np

from charlm.arrays import UnsignedIds
from charlm.corpus.growing_vocabulary import GrowingVocabulary
from charlm.text.vocabulary import Vocabulary

BLOCK = 2**18  # ids processed at a time


class IdsWriter:
    """Writes the ids of a text into an empty file, in memory or on disk.

    While the text is read, the file holds each character's number, in order of first occurrence, with as few bytes as
    the characters so far need. `finish` replaces the numbers by ids. The file is read and written, not mapped: pages
    of a mapped file would count as memory of this process. known: characters that get an id whether they occur or not.
    """

    def __init__(self, file: BinaryIO, known: str = "") -> None:
        self.characters = 0
        self.sha256 = hashlib.sha256()  # of the text as UTF-8
        self._file = file
        self._vocabulary = GrowingVocabulary(known)
        self._dtype = self._vocabulary.dtype  # of the numbers in the file

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.characters * self._dtype.itemsize

    def add(self, piece: str) -> None:
        """Write the next piece of the text."""
        self.sha256.update(piece.encode())
        numbers = self._vocabulary.encode(piece)
        if numbers.dtype != self._dtype:
            self._widen(numbers.dtype)
        self._file.write(_little_endian(numbers))
        self.characters += len(numbers)

    def move_to(self, file: BinaryIO) -> None:
        """Copy everything to another empty file, and continue there."""
        for start in self._blocks():
            file.write(_little_endian(self._read(start)))
        self._file = file

    @property
    def once(self) -> tuple[int, ...]:
        """The ids of the characters that occur once."""
        return self._vocabulary.once

    def finish(self) -> tuple[Vocabulary, int]:
        """Replace all numbers by ids. Returns the vocabulary and the CRC-32 of the ids; the file is at its end."""
        order, checksum = self._vocabulary.order, 0
        for start in self._blocks():
            ids = _little_endian(np.take(order, self._read(start)))
            self._file.seek(start * self._dtype.itemsize)
            self._file.write(ids)
            checksum = zlib.crc32(ids, checksum)
        return self._vocabulary.vocabulary, checksum

    def _widen(self, dtype: np.dtype[np.unsignedinteger]) -> None:
        """Rewrite all numbers with more bytes each, the last block first, so that none is overwritten unread."""
        for start in reversed(self._blocks()):
            numbers = self._read(start).astype(dtype)
            self._file.seek(start * dtype.itemsize)
            self._file.write(_little_endian(numbers))
        self._dtype = dtype
        self._file.seek(self.size)

    def _blocks(self) -> range:
        """The start of each block."""
        return range(0, self.characters, BLOCK)

    def _read(self, start: int) -> UnsignedIds:
        """The block that starts there."""
        self._file.seek(start * self._dtype.itemsize)
        count = min(BLOCK, self.characters - start)
        return np.frombuffer(self._file.read(count * self._dtype.itemsize), self._dtype.newbyteorder("<"))


def _little_endian(ids: UnsignedIds) -> memoryview:
    """The bytes of ids as they are in a file, on every machine."""
    return np.ascontiguousarray(ids, ids.dtype.newbyteorder("<")).data.cast("B")
