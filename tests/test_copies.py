"""The same text twice is read once: packed, linked, copied, with other line ends or in another place."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, few_examples, give_stdin

from charlm.corpus import copies, reader
from charlm.corpus.corpus import read_corpus
from charlm.corpus.reader import read_texts
from charlm.errors import CorpusError

DATA = LANTERNS.read_bytes()
MIB = 2**20


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("in_memory", [2**24, 0])
def test_all_kinds_of_copies(in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the first is read, the others are named in a note; a text that differs in its last character is read."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("charlm.corpus.corpus.IN_MEMORY", in_memory)
    folder = tmp_path / "t"
    write(folder / "a.txt", DATA)
    write(folder / "a.txt.gz", gzip.compress(DATA))
    write(folder / "b.txt.bz2", bz2.compress(DATA))
    (folder / "c.txt").symlink_to("a.txt")
    (folder / "d.txt").hardlink_to(folder / "a.txt")
    write(folder / "deep" / "e.txt", b"\xef\xbb\xbf" + DATA.replace(b"\n", b"\r\n"))
    write(folder / "f.txt", DATA[:-1] + b"!")
    for _ in range(2):
        corpus = read_corpus(folder)
        assert corpus.vocabulary.decode(corpus.ids).encode() == DATA + DATA[:-1] + b"!"
        (note,) = corpus.notes
        assert note == (
            f"{folder / 'a.txt.gz'} has the same text as {folder / 'a.txt'}, and 4 more are copies, too: read once; "
            "--duplicates reads each"
        )
        both = read_corpus([folder / "f.txt", folder / "a.txt.gz"], duplicates=True)
        assert both.notes == () and len(both.ids) == 2 * len(DATA) + 1
        assert len(read_corpus(folder, duplicates=True).ids) == 7 * len(DATA) + 1 - (DATA[-1:] == b"\n")


@few_examples
@given(
    texts=st.lists(st.text("ab\n", max_size=4), min_size=1, max_size=6),
    beginning=st.integers(1, 3),
    chunk=st.integers(2, 4),
)
def test_the_first_of_equal_texts(texts: list[str], beginning: int, chunk: int, tmp_path: Path) -> None:
    """Law: exactly the first of every text is kept, in order, and every empty one."""
    paths = [write(tmp_path / f"{number}.txt", text.encode()) for number, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "BEGINNING", beginning)
        patch.setattr(reader, "CHUNK", chunk)
        kept = copies.without_copies(list(read_texts(paths)))
    expected = [number for number, text in enumerate(texts) if not text or texts.index(text) == number]
    assert [text.path for text in kept] == [paths[number] for number in expected]
    for text, number in zip(kept, expected, strict=True):
        others = [n for n in range(number + 1, len(texts)) if texts[n] == texts[number] and texts[n]]
        assert text.copies == tuple(str(paths[n]) for n in others)


def test_a_text_with_an_error(tmp_path: Path) -> None:
    """Law: its error is that of reading it, whatever is beside it."""
    good, bad = write(tmp_path / "a.txt", DATA), write(tmp_path / "b.txt", DATA + b"\xff")
    for sources, words in (([good, bad, bad], "b.txt"), ([good, tmp_path / "missing", good], "no such file")):
        with pytest.raises(CorpusError, match=words):
            read_corpus(sources)


def test_what_can_be_read_once_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: standard input is not looked at before it is read."""
    give_stdin(monkeypatch, DATA)
    corpus = read_corpus(["-", write(tmp_path / "a.txt", DATA)])
    assert len(corpus.ids) >= 2 * len(DATA) and corpus.notes == ()


def test_long_copies_at_bounded_memory(tmp_path: Path) -> None:
    """Law: two long texts that differ only at the end are told apart, and equal ones found, in little memory."""
    line = b"The lantern burns all night.\n"
    for name, last in (("a.txt", b"a"), ("b.txt", b"b"), ("c.txt", b"a")):
        write(tmp_path / name, line * (8 * MIB // len(line)) + last)
    tracemalloc.start()
    try:
        kept = copies.without_copies(list(read_texts([tmp_path])))
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
    finally:
        tracemalloc.stop()
    assert [(Path(text.source).name, len(text.copies)) for text in kept] == [("a.txt", 1), ("b.txt", 0)]
