"""The pieces in which a text is read change nothing: neither the text, nor the notes, nor the errors."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from runs import few_examples, give_stdin

from charlm.corpus import reader
from charlm.corpus.notes import clean_up_notes
from charlm.corpus.reader import Text, read_texts, total_bytes
from charlm.errors import CorpusError

MIB = 2**20


def read_whole(source: str, data: bytes) -> tuple[str, bool, int] | str:
    """The oracle, from all bytes at once: clean text, whether it had a BOM, line ends folded; or where the error is."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"{source} is UTF-"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode().split("\n")
        return f"{source}, line {len(before)}, column {len(before[-1]) + 1}: "
    if "\0" in text:
        return f"{source}, line {text.split(chr(0))[0].count(chr(10)) + 1}: a NUL character: "
    clean = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return clean, text.startswith("\ufeff"), text.count("\r")


def read_in_pieces(path: Path | str) -> tuple[str, bool, int] | str:
    """The same from charlm."""
    (text,) = read_texts([path])
    try:
        pieces = list(text)
    except CorpusError as error:
        return str(error)
    assert all(pieces)
    return "".join(pieces), text.had_bom, text.folded_line_ends


SNIPPETS = ["\r", "\n", "\r\n", "a", "b c", "é", "\ufeff", "日", "😀", "\u2028", "\0"]
BROKEN = [b"\xff", b"\xfe", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\x80", b"\xc0\xaf", b"\xf5"]
TEXTS = st.lists(st.sampled_from([snippet.encode() for snippet in SNIPPETS[:-1]]), max_size=12).map(b"".join)
ANY = st.lists(st.sampled_from([*(snippet.encode() for snippet in SNIPPETS), *BROKEN]), max_size=12).map(b"".join)
CHUNKS = st.integers(2, 20)


@settings(few_examples, max_examples=150)
@given(data=TEXTS | ANY | st.binary(max_size=30), chunk=CHUNKS)
@example(data=b"\xef\xbb\xbf", chunk=2)
@example(data=b"a\r\r\n\r", chunk=2)
@example(data=b"\xff\xfea\0", chunk=2)
@example(data=b"\0ab\n\xff", chunk=2)
@example(data="a\n€\n€".encode() + b"\xe2\x82", chunk=3)
@example(data="\ufeff\ufeff\r".encode(), chunk=2)
def test_the_size_of_chunks_does_not_matter(data: bytes, chunk: int, tmp_path: Path) -> None:
    """Law: text, notes and errors are those of the whole, from a file, packed files and standard input."""
    packed = {"x.txt": data, "x.gz": gzip.compress(data), "x.bz2": bz2.compress(data), "x.xz": lzma.compress(data)}
    for name, content in packed.items():
        (tmp_path / name).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        for source in (*packed, "-"):
            path = tmp_path / source if source in packed else source
            found = []
            for size in (reader.CHUNK, chunk):
                patch.setattr(reader, "CHUNK", size)
                give_stdin(patch, data)
                found.append(read_in_pieces(path))
            patch.undo()
            shown = "standard input" if source == "-" else str(path)
            expected = read_whole(shown, data)
            assert found[0] == found[1]
            if isinstance(expected, str):
                assert isinstance(found[0], str) and found[0].startswith((expected, f"{shown} is "))
            else:
                assert found[0] == expected


@few_examples
@given(data=TEXTS, chunk=CHUNKS)
def test_size_and_sha256(data: bytes, chunk: int, tmp_path: Path) -> None:
    """Law: size and sha256 are those of the source's bytes, whether the text is decoded or not."""
    packed = gzip.compress(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "CHUNK", chunk)
        for name, content in (("x.txt", data), ("x.txt.gz", packed)):
            (tmp_path / name).write_bytes(content)
            counts: list[int] = []
            read, hashed = Text(tmp_path / name, counts.append), Text(tmp_path / name)
            assert (read.size, read.sha256) == (0, "")
            list(read)
            hashed.read_sha256()
            expected = (len(content), hashlib.sha256(content).hexdigest())
            assert (read.size, read.sha256) == (hashed.size, hashed.sha256) == expected
            assert sum(counts) == len(content) and max(counts) <= max(chunk, 8192)


def test_pieces_are_small(tmp_path: Path) -> None:
    """Law: no piece has more characters than a chunk has bytes, and at most 3 bytes of the chunk before."""
    (tmp_path / "x.txt").write_bytes(b"abc\r\n" * (3 * reader.CHUNK // 5))
    pieces = [len(piece) for piece in Text(tmp_path / "x.txt")]
    assert len(pieces) == 3 and max(pieces) <= reader.CHUNK + 3


def test_a_file_that_grows_meanwhile(tmp_path: Path) -> None:
    """Law: the error says so, even if the content is faulty, too, or is a gzip file cut short for that reason."""
    faulty = {"x.txt": b"a" * MIB, "y.txt": b"a" * MIB + b"\xff", "z.txt.gz": gzip.compress(os.urandom(MIB))[:-9]}
    for name, data in faulty.items():
        path = tmp_path / name
        path.write_bytes(data)

        def write_more(count: int, path: Path = path) -> None:
            with path.open("ab") as file:
                file.write(b"b")

        with pytest.raises(CorpusError, match=f"{name} was changed while it was read"):
            list(Text(path, write_more))


def test_a_damaged_gzip_file_that_holds_no_text(tmp_path: Path) -> None:
    """Law: an error of the whole file takes precedence over one in its content."""
    path = tmp_path / "x.txt.gz"
    for content in (b"\xff", b"\0"):
        path.write_bytes(gzip.compress(content + os.urandom(MIB))[:-3])
        assert "not a whole gzip file" in str(read_in_pieces(path))


def test_pieces_before_a_nul(tmp_path: Path) -> None:
    """Law: no piece with a NUL is given, nor one after it: the caller would raise another error for it."""
    (tmp_path / "x.txt").write_bytes(b"a" * MIB + b"\0" + b"b" * MIB)
    pieces = []
    with pytest.raises(CorpusError, match="NUL"):
        for piece in Text(tmp_path / "x.txt"):
            pieces.append(piece)  # noqa: PERF402 - the pieces before the error count
    assert set("".join(pieces)) == {"a"}


def test_typed_text(tmp_path: Path) -> None:
    """Law: in a terminal one Ctrl-D on a line of its own ends the text."""
    program = "from charlm import read_texts; print([''.join(text) for text in read_texts(['-'])])"
    child = pexpect.spawn(sys.executable, ["-c", program], cwd=str(tmp_path), encoding="utf-8", timeout=30)
    child.sendline("The lantern burns.")
    child.sendeof()
    child.expect_exact("['The lantern burns.\\n']")
    child.expect(pexpect.EOF)
    child.close()


def test_a_gzip_file_out_of_proportion(tmp_path: Path) -> None:
    """Law: refused before all of it is unpacked; up to 1 MiB any ratio is accepted."""
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(b"a" * MIB))
    assert read_in_pieces(path) == ("a" * MIB, False, 0)
    path.write_bytes(gzip.compress(b"a" * (64 * MIB)))
    (text,) = read_texts([path])
    read = 0
    with pytest.raises(CorpusError, match="200 times its size"):
        for piece in text:
            read += len(piece)
    assert read <= MIB + 200 * path.stat().st_size < 32 * MIB


def test_notes_on_several_texts(tmp_path: Path) -> None:
    """Law: a note names the first text that was changed and how many more."""
    for number, data in enumerate([b"a\r\nb\r", b"\xef\xbb\xbfa", b"plain", b"c\r"]):
        (tmp_path / f"{number}.txt").write_bytes(data)
    texts = list(read_texts([tmp_path]))
    for text in texts:
        list(text)
    with_bom, folded = clean_up_notes(texts)
    assert with_bom == f"{tmp_path / '1.txt'}: dropped the byte order mark"
    assert folded == f"{tmp_path / '0.txt'} and 1 more: folded 3 CR or CRLF line ends to LF"


def test_total_bytes(tmp_path: Path) -> None:
    """Law: the bytes on disk; None for a source that is missing or can be read only once."""
    (tmp_path / "a.txt").write_bytes(b"abc")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"abc"))
    packed = (tmp_path / "b.txt.gz").stat().st_size
    assert total_bytes([tmp_path, tmp_path / "a.txt"]) == 3 + packed + 3
    os.mkfifo(tmp_path / "pipe")
    for unknown in ("-", tmp_path / "pipe", tmp_path / "missing"):
        assert total_bytes([tmp_path, unknown]) is None


@pytest.mark.parametrize("name", ["pipe", "pipe.gz"])
def test_a_pipe_with_a_name(name: str, tmp_path: Path) -> None:
    """Law: read like a file until its writer closes it, however slow the writer is."""
    os.mkfifo(tmp_path / name)
    content = b"".join(random.Random(0).randbytes(1).hex().encode() + b"\n" for _ in range(200_000))
    data = gzip.compress(content) if name.endswith(".gz") else content
    (tmp_path / "content").write_bytes(data)
    program = f"""
import time
data = open({str(tmp_path / "content")!r}, "rb").read()
with open({str(tmp_path / name)!r}, "wb", buffering=0) as pipe:
    for start in range(0, len(data), 100_000):
        pipe.write(data[start : start + 100_000])
        time.sleep(0.02)
"""
    with subprocess.Popen([sys.executable, "-c", program]):
        assert read_in_pieces(tmp_path / name) == (content.decode(), False, 0)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_reading_takes_bounded_memory(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Law: a few chunks, whatever the length of the text; an error at its end is found in the same memory."""
    path = tmp_path / ("x.txt" if pack is bytes else "x.txt.gz")
    line = "".join(map(chr, random.Random(0).choices(range(0x400, 0x2000), k=1000))).encode() + b"\r\n"
    path.write_bytes(pack(line * (24 * MIB // len(line)) + b"\xff"))
    tracemalloc.start()
    try:
        with pytest.raises(CorpusError, match="0xff is not UTF-8"):
            for _ in Text(path):
                pass
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
    finally:
        tracemalloc.stop()
