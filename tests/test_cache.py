"""Stored ids: the same as those in memory, found again, never used when damaged, and no files left over."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import Faults, environment, few_examples, give_stdin

from charlm.arrays import UnsignedIds
from charlm.corpus import cache, corpus, ids, reader
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.corpus.growing_vocabulary import GrowingVocabulary
from charlm.errors import CorpusError, StorageError
from charlm.files.lock import LOCK

TEXT = b"The lantern burns.\r\nIt burns all night.\r\n" * 3
DAY = 86400


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test, in which every text is stored, however short."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(corpus, "IN_MEMORY", 0)
    return tmp_path / "cache"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that every encoded piece of text is added to."""
    pieces: list[str] = []
    encode = GrowingVocabulary.encode

    def listed(self: GrowingVocabulary, text: str) -> UnsignedIds:
        pieces.append(text)
        return encode(self, text)

    monkeypatch.setattr(GrowingVocabulary, encode.__name__, listed)
    return pieces


def text_file(folder: Path, data: bytes = TEXT, name: str = "x.txt") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def entries(folder: Path) -> list[Path]:
    """The files in the cache, without its lock."""
    return sorted(path for path in folder.iterdir() if path.name != LOCK)


def only_entry(folder: Path) -> Path:
    (entry,) = entries(folder)
    return entry


def facts(corpus: Corpus) -> dict[str, Any]:
    """All of a corpus, its ids as a list."""
    return vars(corpus) | {"ids": (corpus.ids.dtype, corpus.ids.tolist())}


@settings(few_examples, max_examples=40)
@given(
    contents=st.lists(st.text("ab\r\né\ufeff日", max_size=12), min_size=1, max_size=3),
    more=st.integers(0, 300),
    chunk=st.integers(2, 9),
    block=st.integers(1, 9),
    in_memory=st.integers(0, 30),
    known=st.text("abxyz€", max_size=3),
)
def test_stored_ids_are_those_in_memory(
    contents: list[str], more: int, chunk: int, block: int, in_memory: int, known: str, tmp_path: Path
) -> None:
    """Law: name, sources, sha256, vocabulary, ids, notes and errors are the same, encoded now or found again."""
    many = "".join(map(chr, range(0x100, 0x100 + more)))
    paths = [text_file(tmp_path, text.encode(), f"{n}.txt") for n, text in enumerate([*contents, many])]
    paths[0].with_suffix(".txt.gz").write_bytes(gzip.compress(paths[0].read_bytes()))
    sources = [paths[0].with_suffix(".txt.gz"), *paths[1:]]

    def outcome() -> dict[str, Any] | str:
        try:
            return facts(read_corpus(sources, known=known))
        except CorpusError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "IN_MEMORY", 2**24)
        in_one_piece = outcome()
        for module, name, value in (
            (corpus, "IN_MEMORY", in_memory),
            (reader, "CHUNK", chunk),
            (ids, "BLOCK", block),
            (cache, "CHUNK", chunk),
        ):
            patch.setattr(module, name, value)
        assert outcome() == in_one_piece
        assert outcome() == in_one_piece


def test_ids_are_mapped_from_a_private_folder(tmp_path: Path, folder: Path) -> None:
    """Law: the ids are mapped, read-only, and other users cannot read them."""
    ids = read_corpus(text_file(tmp_path)).ids
    assert type(ids) is np.ndarray and isinstance(ids.base, np.memmap)
    with pytest.raises(ValueError):
        ids[0] = 0
    assert folder.stat().st_mode & 0o077 == 0


def test_a_short_text_is_not_stored(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: up to the limit nothing is written, not even a folder; beyond it, one file."""
    characters = len(TEXT.replace(b"\r", b""))
    monkeypatch.setattr(corpus, "IN_MEMORY", characters)
    read_corpus(text_file(tmp_path))
    assert not folder.exists()
    monkeypatch.setattr(corpus, "IN_MEMORY", characters - 1)
    read_corpus(text_file(tmp_path))
    assert only_entry(folder).name.startswith(f"{len(TEXT)}-")


def test_the_same_content_is_encoded_once(tmp_path: Path, folder: Path, encoded: list[str]) -> None:
    """Law: found by content, under any name; the notes name the file that was read now."""
    first = read_corpus(text_file(tmp_path))
    assert encoded
    stored = only_entry(folder).stat().st_ino
    encoded.clear()
    again, copy = read_corpus(tmp_path / "x.txt"), read_corpus(text_file(tmp_path, TEXT, "copy.txt"))
    assert not encoded and only_entry(folder).stat().st_ino == stored
    assert facts(again) == facts(first)
    assert copy.ids.tolist() == first.ids.tolist()
    assert copy.notes == (f"{tmp_path / 'copy.txt'}: folded 6 CR or CRLF line ends to LF",)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(TEXT.replace(b"night", b"NIGHT")),
        lambda path: path.write_bytes(TEXT + b"\n"),
        lambda path: path.rename(path.with_name("x.txt.gz")),
    ],
    ids=["other content", "more content", "other kind"],
)
def test_other_content_is_encoded(change: Any, tmp_path: Path, folder: Path, encoded: list[str]) -> None:
    """Law: other content of the same size, more content, and the same bytes as gzip are all encoded anew."""
    path = text_file(tmp_path)
    read_corpus(path)
    encoded.clear()
    change(path)
    if path.exists():
        assert read_corpus(path).sha256 and encoded
        assert len(entries(folder)) == 2
    else:
        with pytest.raises(CorpusError, match="gzip"):
            read_corpus(path.with_name("x.txt.gz"))


def test_file_boundaries_count(tmp_path: Path, folder: Path) -> None:
    """Law: the same bytes, divided into files in another way, are another text."""
    whole = read_corpus(text_file(tmp_path, b"abcd"))
    parts = [text_file(tmp_path, data, f"{n}.txt") for n, data in enumerate([b"ab", b"cd"])]
    assert read_corpus(parts).ids.tolist() != whole.ids.tolist()
    assert len(entries(folder)) == 2
    assert read_corpus(parts[::-1]).ids.tolist() == [3, 4, 0, 1, 2]


def test_known_characters_have_files_of_their_own(tmp_path: Path, folder: Path) -> None:
    """Law: the ids depend on the known characters, so there is one file for each set of them."""
    path = text_file(tmp_path)
    text = TEXT.decode().replace("\r\n", "\n")
    for known in ("", "!", "~", "!~", ""):
        found = read_corpus(path, known=known)
        assert found.vocabulary.characters == "".join(sorted(set(text + known)))
        assert found.vocabulary.decode(found.ids) == text
    assert len(entries(folder)) == 4


def test_standard_input_is_found_as_a_file(
    tmp_path: Path, folder: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: a text from standard input is found again when it is read from a file."""
    give_stdin(monkeypatch, TEXT)
    first = read_corpus("-")
    encoded.clear()
    assert read_corpus(text_file(tmp_path)).ids.tolist() == first.ids.tolist() and not encoded
    give_stdin(monkeypatch, TEXT)
    assert read_corpus("-").ids.tolist() == first.ids.tolist() and encoded
    assert only_entry(folder)


def damages(data: bytes) -> list[bytes]:
    """The bytes of a file, damaged in many ways."""
    flipped = [data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :] for at in range(0, len(data), 3)]
    cut = [data[:length] for length in (0, 1, 3, 4, 20, len(data) // 2, len(data) - 4, len(data) - 1)]
    return [*flipped, *cut, data + b"\0", data[1:], bytes(len(data)), data[:-20] + bytes(20), b"\xff" * 8 + data[-20:]]


def test_a_damaged_file_is_replaced(tmp_path: Path, folder: Path, encoded: list[str]) -> None:
    """Law: any change of the file is noticed; the ids are encoded from the text, and the file is whole again."""
    path = text_file(tmp_path)
    first = facts(read_corpus(path))
    entry = only_entry(folder)
    whole = entry.read_bytes()
    for damaged in damages(whole):
        entry.write_bytes(damaged)
        encoded.clear()
        assert facts(read_corpus(path)) == first and encoded
        assert only_entry(folder) == entry and entry.read_bytes() == whole


def test_other_metadata_with_a_right_checksum(tmp_path: Path, folder: Path, encoded: list[str]) -> None:
    """Law: a file of another kind is replaced, too, even if its checksum is right."""
    path = text_file(tmp_path)
    first = facts(read_corpus(path))
    entry = only_entry(folder)
    for head in (b"{}", b"[]", b"x", b"\xff", b'{"sha256": "", "characters": 9, "vocabulary": "ab", "changes": []}'):
        data = b"\0" * 5 + head + len(head).to_bytes(8, "little") + cache.MAGIC
        entry.write_bytes(data + zlib.crc32(data).to_bytes(4, "little"))
        encoded.clear()
        assert facts(read_corpus(path)) == first and encoded


def test_ids_outlive_their_file(tmp_path: Path, folder: Path) -> None:
    """Law: a corpus stays valid when its file is replaced or removed."""
    corpus = read_corpus(text_file(tmp_path))
    before = corpus.ids.tolist()
    only_entry(folder).unlink()
    read_corpus(tmp_path / "x.txt")
    only_entry(folder).unlink()
    assert corpus.ids.tolist() == before


def test_a_failed_system_call_leaves_no_file(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: one line that says what to do, no unfinished file, and the next attempt succeeds."""
    monkeypatch.setattr(ids, "BLOCK", 50)
    path = text_file(tmp_path)
    expected = facts(read_corpus(path))
    only_entry(folder).unlink()
    reached = set()
    for nth in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, nth)
            try:
                read_corpus(path)
                error = None
            except StorageError as raised:
                error = raised
        left = entries(folder)
        if not faults.happened:
            assert error is None and len(left) == 1
            break
        reached.add(faults.failed_call)
        assert error is not None and "CHARLM_CACHE" in str(error) and "\n" not in str(error)
        if "os.replace" in faults.calls[: nth - 1]:
            only_entry(folder).unlink()  # it is whole, but its name may not be on disk
        else:
            assert not left
        assert facts(read_corpus(path)) == expected
        only_entry(folder).unlink()
    else:
        pytest.fail("every call failed")
    assert reached >= {"open", "write", "flush", "os.fsync", "os.replace", "os.open"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_no_file(stop: type[BaseException], tmp_path: Path, folder: Path) -> None:
    """Law: nor after Ctrl-C or SIGTERM."""
    paths = [text_file(tmp_path, TEXT + b"%d" % n, f"{n}.txt") for n in range(3)]

    def progress(read: int, in_all: int | None) -> None:
        if read > len(TEXT) + 1:  # more than the first
            assert entries(folder)  # the unfinished file
            raise stop

    with pytest.raises(stop):
        read_corpus(paths, progress=progress)
    assert not entries(folder)


def test_a_faulty_text_leaves_no_file(tmp_path: Path, folder: Path) -> None:
    """Law: it is refused, wherever the fault is."""
    good = text_file(tmp_path, TEXT, "good.txt")
    for sources in ([good, text_file(tmp_path, TEXT + b"\xff")], [text_file(tmp_path, b"aaaa", "aaaa.txt")]):
        with pytest.raises(CorpusError):
            read_corpus(sources)
        assert not entries(folder)


def test_progress(tmp_path: Path) -> None:
    """Law: the bytes read grow up to all bytes, both when ids are encoded and when they are found."""
    paths = [text_file(tmp_path, TEXT, "a.txt"), text_file(tmp_path, gzip.compress(TEXT * 2), "b.txt.gz")]
    total = sum(path.stat().st_size for path in paths)
    reported: list[tuple[int, int | None]] = []
    for _ in range(2):
        reported.clear()
        read_corpus(paths, progress=lambda read, in_all: reported.append((read, in_all)))
        assert [read for read, _ in reported] == sorted(read for read, _ in reported)
        assert reported[-1] == (total, total) and {in_all for _, in_all in reported} == {total}


def test_progress_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the number of all bytes is not known."""
    reported: list[tuple[int, int | None]] = []
    give_stdin(monkeypatch, TEXT)
    read_corpus("-", progress=lambda read, in_all: reported.append((read, in_all)))
    assert reported[-1] == (len(TEXT), None)


# ------------------------------------------------------------------------------------------------- several at once

BUILD = """
import sys, time
from pathlib import Path
from charlm.corpus import corpus
corpus.IN_MEMORY = 0
here, name = Path(sys.argv[1]), sys.argv[2]
def progress(read, in_all):
    if read == in_all:
        (here / f"{name} reads").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
made = corpus.read_corpus(sorted(here.glob("*.txt")), progress=progress)
print(made.sha256, made.ids.sum(), len(made.ids))
"""


def wait_for(*paths: Path) -> None:
    end = time.monotonic() + 30
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, paths
        time.sleep(0.01)


def test_two_processes_build_the_same(tmp_path: Path, folder: Path) -> None:
    """Law: both succeed and leave one file; a third process does not remove their unfinished files."""
    paths = [text_file(tmp_path, TEXT + b"%d" % n, f"{n}.txt") for n in range(2)]
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, tmp_path, str(n)], env=environment(), stdout=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]
    try:
        wait_for(*(tmp_path / f"{n} reads" for n in range(2)))
        assert len(entries(folder)) == 2
        read_corpus(text_file(tmp_path, TEXT, "another"))
        assert len(entries(folder)) == 3
    finally:
        (tmp_path / "go").touch()
        reported = [builder.communicate(timeout=30)[0] for builder in builders]
    mine = read_corpus(paths)
    assert reported == [f"{mine.sha256} {mine.ids.sum()} {len(mine.ids)}\n"] * 2
    assert [entry.suffix for entry in entries(folder)] == [".ids"] * 2


def test_the_file_of_a_killed_process_is_removed(tmp_path: Path, folder: Path) -> None:
    """Law: the next process that stores ids removes it."""
    for n in range(2):
        text_file(tmp_path, TEXT + b"%d" % n, f"{n}.txt")
    with subprocess.Popen([sys.executable, "-c", BUILD, tmp_path, "x"], env=environment()) as builder:
        wait_for(tmp_path / "x reads")
        builder.kill()
    (left,) = entries(folder)
    read_corpus(text_file(tmp_path))
    assert not left.exists() and only_entry(folder).suffix == ".ids"


def test_threads_of_one_process(tmp_path: Path, folder: Path) -> None:
    """Law: each writes to a file of its own."""
    path, barrier = text_file(tmp_path), threading.Barrier(3, timeout=30)
    made: list[Corpus] = []

    def build() -> None:
        first = True

        def progress(read: int, in_all: int | None) -> None:
            nonlocal first
            if first:
                first = False
                barrier.wait()

        made.append(read_corpus(path, progress=progress))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [facts(one) for one in made] == [facts(read_corpus(path))] * 3
    assert only_entry(folder)


# ------------------------------------------------------------------------------------------------- where, how long


def test_files_unused_for_a_month_are_removed(tmp_path: Path, folder: Path) -> None:
    """Law: when other ids are stored; a file that was used meanwhile stays."""
    for name in ("old.txt", "used.txt", "young.txt"):
        read_corpus(text_file(tmp_path, TEXT + name.encode(), name))
    by_size = {int(path.name.split("-")[0]): path for path in entries(folder)}
    old, used, young = (by_size[len(TEXT) + len(name)] for name in ("old.txt", "used.txt", "young.txt"))
    for path, days in ((old, 31), (used, 31), (young, 29)):
        os.utime(path, (time.time() - days * DAY,) * 2)
    read_corpus(tmp_path / "used.txt")
    assert old.exists()
    read_corpus(text_file(tmp_path, TEXT, "new.txt"))
    assert not old.exists() and used.exists() and young.exists() and len(entries(folder)) == 3


def test_other_files_stay(tmp_path: Path, folder: Path) -> None:
    """Law: other files in the folder are never removed, however old and whatever their names."""
    folder.mkdir()
    for name in (".x.tmp", "my.ids", "12-34.ids", "text.txt"):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (0, 0))
    before = entries(folder)
    read_corpus(text_file(tmp_path))
    assert len(entries(folder)) == 5 and set(entries(folder)) > set(before)


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Law: CHARLM_CACHE, else XDG_CACHE_HOME/charlm where that is absolute, else ~/.cache/charlm."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHARLM_CACHE", "here")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache.cache_folder() == tmp_path / "here"
    monkeypatch.setenv("CHARLM_CACHE", "")
    assert cache.cache_folder() == Path("/xdg/charlm")
    monkeypatch.delenv("CHARLM_CACHE")
    assert cache.cache_folder() == Path("/xdg/charlm")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache.cache_folder() == tmp_path / ".cache" / "charlm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == tmp_path / ".cache" / "charlm"
    read_corpus(text_file(tmp_path))
    assert only_entry(tmp_path / ".cache" / "charlm")


def test_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: one line that says what to set; short texts need no cache."""

    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("CHARLM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(StorageError, match="CHARLM_CACHE"):
        read_corpus(text_file(tmp_path))
    monkeypatch.setattr(corpus, "IN_MEMORY", 1000)
    assert len(read_corpus(tmp_path / "x.txt").ids)


def test_a_folder_that_cannot_be_made(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: one line that names it and says what to set; short texts need no cache."""
    folder.write_bytes(b"a file")
    with pytest.raises(StorageError, match="CHARLM_CACHE") as raised:
        read_corpus(text_file(tmp_path))
    assert str(folder) in str(raised.value) and len(str(raised.value).splitlines()) == 1
    monkeypatch.setattr(corpus, "IN_MEMORY", 1000)
    assert len(read_corpus(tmp_path / "x.txt").ids)


def test_a_read_only_folder(tmp_path: Path, folder: Path) -> None:
    """Law: stored ids are found; storing others raises one line."""
    first = facts(read_corpus(text_file(tmp_path)))
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user can write everywhere")
        assert facts(read_corpus(tmp_path / "x.txt")) == first
        with pytest.raises(StorageError, match="CHARLM_CACHE"):
            read_corpus(text_file(tmp_path, b"another text"))
    finally:
        folder.chmod(0o700)
