"""Ids written while a text is read are those of the whole text, in memory and on disk."""

from __future__ import annotations

import hashlib
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import few_examples

from charlm.corpus import ids as ids_module
from charlm.corpus.ids import IdsWriter
from charlm.text.vocabulary import Vocabulary

ALL = [chr(point) for point in range(1, 0x11800) if not 0xD800 <= point < 0xE000]
LETTERS = st.text("abc\n", max_size=9)
RANGES = st.tuples(st.integers(0, 300), st.integers(1, 300)).map(lambda ends: "".join(ALL[ends[0] : sum(ends)][::-1]))


def little_endian(text: str) -> bytes:
    vocabulary = Vocabulary.of(text)
    return vocabulary.encode(text).astype(vocabulary.dtype.newbyteorder("<")).tobytes()


@settings(few_examples, max_examples=60)
@given(
    pieces=st.lists(LETTERS | RANGES, min_size=1, max_size=8).filter(any),
    block=st.integers(1, 50),
    moves=st.integers(0, 8),
)
def test_the_file_holds_the_ids_of_the_whole_text(pieces: list[str], block: int, moves: int, tmp_path: Path) -> None:
    """Law: whatever the pieces, the blocks, and the piece at which the ids move from memory to disk."""
    text = "".join(pieces)
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "ids").open("w+b") as file:
        patch.setattr(ids_module, "BLOCK", block)
        memory = BytesIO()
        writer = IdsWriter(memory)
        for number, piece in enumerate(pieces):
            if number == moves:
                writer.move_to(file)
            writer.add(piece)
        assert writer.sha256.hexdigest() == hashlib.sha256(text.encode()).hexdigest()
        vocabulary, checksum = writer.finish()
        target = file if moves < len(pieces) else memory
        assert target.tell() == writer.size
        target.seek(0)
        written = target.read()
    assert vocabulary == Vocabulary.of(text)
    assert written == little_endian(text) and checksum == zlib.crc32(written)
    assert (writer.characters, writer.size) == (len(text), len(written))


@pytest.mark.parametrize("on_disk", [False, True])
def test_ids_grow_from_one_byte_to_two_and_to_four(on_disk: bool, tmp_path: Path) -> None:
    """Law: all ids are rewritten with more bytes as soon as the characters need them."""
    text = "".join(ALL[:66_000]) + "ends with letters"
    with (tmp_path / "ids").open("w+b") as file:
        writer = IdsWriter(file if on_disk else BytesIO())
        sizes = []
        for start in range(0, len(text), 100):
            writer.add(text[start : start + 100])
            sizes.append(writer.size // writer.characters)
        assert sorted(set(sizes)) == [1, 2, 4] and sizes == sorted(sizes)
        vocabulary, checksum = writer.finish()
        assert vocabulary.characters == "".join(ALL[:66_000])
        assert checksum == zlib.crc32(little_endian(text))
        if on_disk:
            file.seek(0)
            assert np.frombuffer(file.read(), "<u4").tolist() == vocabulary.encode(text).tolist()
