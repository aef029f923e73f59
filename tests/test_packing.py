"""Packed files are read as gzip files are: several streams, damage, and files out of proportion."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from runs import LANTERNS

from charlm.corpus import corpus as corpus_module
from charlm.corpus.corpus import read_corpus
from charlm.corpus.reader import Text, read_texts
from charlm.errors import CorpusError

MIB = 2**20
MEMORY = 13 * MIB  # the dictionary of xz takes 8 of them
DATA = LANTERNS.read_bytes()


def lzma_alone(data: bytes) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_ALONE, preset=0)


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": partial(lzma.compress, preset=0),  # quickly
    ".lzma": lzma_alone,
}
NAMES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".lzma": "lzma", ".zst": "Zstandard"}
if sys.version_info >= (3, 14):
    from compression import zstd

    PACK[".zst"] = zstd.compress


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CorpusError) as raised:
        for _ in Text(path):
            pass
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


@pytest.mark.parametrize("ending", PACK)
def test_the_same_text(ending: str, tmp_path: Path) -> None:
    """Law: in one stream or several, in capitals, from a folder; the name of the corpus has no ending."""
    path = write(tmp_path / f"a.txt{ending}", PACK[ending](DATA))
    assert "".join(Text(path)).encode() == DATA and read_corpus(path).name == "a"
    assert "".join(Text(write(tmp_path / f"b{ending}".upper(), PACK[ending](DATA)))).encode() == DATA
    write(path, PACK[ending](DATA[:5000]) + PACK[ending](DATA[5000:]))
    assert "".join(Text(path)).encode() == DATA
    assert [text.path for text in read_texts([tmp_path])] == [path]


def test_padding_of_xz(tmp_path: Path) -> None:
    """Law: NULs between and after its streams are allowed."""
    packed = lzma.compress(DATA) + bytes(8) + lzma.compress(DATA) + bytes(4)
    assert "".join(Text(write(tmp_path / "x.xz", packed))).encode() == DATA * 2


@pytest.mark.parametrize("ending", PACK)
def test_damage(ending: str, tmp_path: Path) -> None:
    """Law: cut anywhere, altered, followed by something else, or another file: refused as not whole, and not read."""
    packed, path = PACK[ending](DATA), tmp_path / f"x.txt{ending}"
    words = f"is not a whole {NAMES[ending]} file"
    for length in (0, 1, 5, 20, len(packed) // 2, len(packed) - 1):
        assert words in refusal(write(path, packed[:length]))
    assert words in refusal(write(path, packed + b"The lantern burns, and it is no packed text."))
    assert words in refusal(write(path, DATA))
    if ending != ".lzma":  # it has no checksum
        changed = bytearray(packed)
        changed[len(packed) // 2] ^= 0x55
        assert words in refusal(write(path, bytes(changed)))


@pytest.mark.parametrize("ending", PACK)
def test_a_file_out_of_proportion(ending: str, tmp_path: Path) -> None:
    """Law: refused before all of it is unpacked, at bounded memory."""
    path = write(tmp_path / f"x.txt{ending}", PACK[ending](b"a" * 64 * MIB))
    tracemalloc.start()
    try:
        assert "unpacks to more than 200 times its size" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_an_xz_file_that_needs_much_memory(tmp_path: Path) -> None:
    """Law: refused in one line; the highest usual preset is read."""
    huge = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**28}]
    assert "memory to unpack" in refusal(write(tmp_path / "x.xz", lzma.compress(DATA, filters=huge)))
    assert "".join(Text(write(tmp_path / "y.xz", lzma.compress(DATA, preset=9)))).encode() == DATA


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="its standard library reads Zstandard")
def test_zstandard_before_python_3_14(tmp_path: Path) -> None:
    """Law: one line that says which Python reads it, and what to do; in a folder, too."""
    path = write(tmp_path / "x.txt.zst", b"\x28\xb5\x2f\xfd" + bytes(20))
    assert "Python 3.14" in refusal(path) and "zstd -d" in refusal(path)
    with pytest.raises(CorpusError, match=r"Python 3\.14"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("ending", PACK)
def test_memory_is_bounded(ending: str, tmp_path: Path) -> None:
    """Law: a few chunks, whatever the length of the text."""
    text = random.Random(0).randbytes(MIB // 2).hex() * 16  # repeated, so that packing it takes little time
    path = write(tmp_path / f"x.txt{ending}", PACK[ending](text.encode()))
    tracemalloc.start()
    try:
        assert sum(map(len, Text(path))) == 16 * MIB
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_stored_ids_know_the_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the bytes of one packing are not taken for those of another."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(corpus_module, "IN_MEMORY", 0)
    packed = bz2.compress(DATA)
    first = read_corpus(write(tmp_path / "x.txt.bz2", packed))
    assert read_corpus(tmp_path / "x.txt.bz2").sha256 == first.sha256
    with pytest.raises(CorpusError, match="is not a whole xz file"):
        read_corpus(write(tmp_path / "x.txt.xz", packed))
