"""One table of texts, good and bad, and the outcome of each.

Every row goes through the library and through `charlm train`, `charlm sample` and `charlm score`, in this process and
in processes under other locales: outcomes and output bytes are the same.
"""

from __future__ import annotations

import codecs
import functools
import gzip
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
from runs import copy_of_trained_run, environment, give_stdin

from charlm.cli import main, progress
from charlm.corpus.corpus import read_corpus
from charlm.errors import CorpusError
from charlm.plotting.loss import plot

pytestmark = pytest.mark.slow

Locale = dict[str, str]
LOCALES: dict[str, Locale] = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "C.UTF-8": {"LC_ALL": "C.UTF-8"},
}
TINY = ("--hidden", "2", "--batch", "1", "--window", "1", "--steps", "1", "--val-fraction", "1e-6", "--quiet")
NOBODY = 65534
MEGABYTE = 2**20


# ----------------------------------------------------------------------------------------------- how a text is made


def file(data: bytes | str, name: str = "x.txt") -> Callable[[], list[str]]:
    """A file that holds `data`; its name is UTF-8 in any locale."""

    def make() -> list[str]:
        path = Path(named(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return [str(path)]

    return make


def files(*makes: Callable[[], list[str]], given: Sequence[str] = ()) -> Callable[[], list[str]]:
    """Several files; `given`: the command-line arguments, if not their names."""

    def make() -> list[str]:
        names = [name for each in makes for name in each()]
        return list(given) or names

    return make


def named(name: str) -> str:
    """A file name whose bytes are UTF-8, decoded as Python does in this locale."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def link(name: str, target: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).symlink_to(target)
        return [name]

    return make


def pipe(name: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(name)
        return [name]

    return make


def folder(name: str, mode: int = 0o755) -> Callable[[], list[str]]:
    def make() -> list[str]:
        Path(name).mkdir(parents=True)
        Path(name).chmod(mode)
        return [name]

    return make


def unreadable(make: Callable[[], list[str]]) -> Callable[[], list[str]]:
    def make_it() -> list[str]:
        names = make()
        Path(names[-1]).chmod(0)
        return names

    return make_it


# -------------------------------------------------------------------------------------- what happens while it is read


@contextmanager
def as_nobody() -> Iterator[None]:
    """Read without the rights of root, who can read everything."""
    root = os.geteuid() == 0
    Path().chmod(0o755)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextmanager
def little_memory() -> Iterator[None]:
    """Limit the memory, so that reading without end fails soon."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 256 * MEGABYTE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def growing() -> Iterator[None]:
    """Append to x.txt as soon as a part of it has been read."""
    done = False

    def watch(frame: Any, event: str, function: Any) -> None:
        nonlocal done
        read = event == "c_return" and getattr(function, "__name__", "").startswith("read")
        if read and not done and str(getattr(getattr(function, "__self__", None), "name", "")) == "x.txt":
            done = True
            with open("x.txt", "ab") as grown:
                grown.write(b"more\n")

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


def filled(name: str, *parts: bytes) -> Callable[[], AbstractContextManager[None]]:
    """Write to a pipe, part after part."""

    def write() -> None:
        with suppress(BrokenPipeError), open(name, "wb", buffering=0) as end:
            for part in parts:
                end.write(part)
                time.sleep(0.02)  # so that the reader waits for the next part

    @contextmanager
    def filling() -> Iterator[None]:
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            yield
        finally:
            end = os.open(name, os.O_RDONLY | os.O_NONBLOCK)  # the writer waits for a reader
            writer.join()
            os.close(end)

    return filling


# ---------------------------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Row:
    """A text, how it is read, and the outcome: the characters that are trained on, or words of the error message."""

    name: str
    make: Callable[[], list[str]]  # in the current folder; returns the command-line arguments
    text: str | None = None
    refused: str | None = None
    notes: tuple[str, ...] = ()  # words of the notes on the clean-up
    scored: int | str | None = None  # characters or error of `charlm score`, if not as in training
    only_trained: tuple[str, ...] = ()  # words of notes that come before these, and that `charlm score` does not give
    stdin: bytes = b""
    meanwhile: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


def good(name: str, make: Callable[[], list[str]] | bytes | str, text: str | None = None, **more: Any) -> Row:
    """A text that is trained on; `text`: after clean-up, if that changes it."""
    if not callable(make):
        text = text if text is not None else make if isinstance(make, str) else make.decode()
        make = file(make)
    return Row(name, make, text=text, **more)


def bad(name: str, make: Callable[[], list[str]] | bytes, refused: str, **more: Any) -> Row:
    """A text that is refused in one line with these words."""
    return Row(name, make if callable(make) else file(make), refused=refused, **more)


MARK = "\ufeff"
LINE = "fire and water, night and day; 火と水 🔥💧 "
LONG = LINE * (10 * MEGABYTE // len(LINE.encode()))
WINDOWS = "a\r\n" * 60_000 + "b"  # a CR at every third byte: some are the last byte of a block that is read
BAD_BYTE = "x.txt, line {}, column {}: byte 0x{} is not UTF-8"
NOT_WHOLE = "x.txt.gz is not a whole gzip file"
CHANGED = "x.txt was changed while it was read"
PACKED = gzip.compress(b"ab\ncd\n", mtime=0)
BOMB = gzip.compress(bytes(range(97, 123)) + b"a" * 8 * MEGABYTE, mtime=0)

TABLE = [
    # length
    good("plain", b"ab\ncd\n"),
    bad("empty", b"", "x.txt is empty", scored="the text is empty"),
    bad("only a byte order mark", MARK.encode(), "x.txt is empty", scored="the text is empty"),
    bad("one character", b"a", "x.txt has only one distinct character, 'a'", scored=1),
    bad("one distinct character", b"aaaa", "x.txt has only one distinct character, 'a'", scored=4),
    bad(
        "only line ends",
        b"\n\r\n\r",
        r"x.txt has only one distinct character, '\n'",
        scored=3,
        notes=("folded 2 CR or CRLF line ends to LF",),
    ),
    bad("two characters", b"ab", "a text of 2 characters is too short", scored=2),
    good("three characters", b"aba"),
    good("no final newline", b"ab\ncd"),
    good("spaces and line ends only", b"  \n \n"),
    good("a line of 10 MB", LONG),
    # clean-up
    good("byte order mark", MARK + "ab\n", "ab\n", notes=("dropped the byte order mark",)),
    good("two byte order marks", MARK * 2 + "ab\n", MARK + "ab\n", notes=("dropped the byte order mark",)),
    good("a byte order mark inside", "ab" + MARK + "c\n"),
    good("CRLF", "ab\r\ncd\r\n", "ab\ncd\n", notes=("folded 2 CR or CRLF line ends to LF",)),
    good("CR", "ab\rcd\r", "ab\ncd\n", notes=("folded 2 CR or CRLF line ends to LF",)),
    good("mixed line ends", "a\r\nb\rc\n\r\r\nd", "a\nb\nc\n\n\nd", notes=("folded 4 CR or CRLF line ends to LF",)),
    good("CRLF, a long text", WINDOWS, "a\n" * 60_000 + "b", notes=("folded 60,000 CR or CRLF line ends to LF",)),
    good("CRLF, shifted", "b" + WINDOWS, "b" + "a\n" * 60_000 + "b", notes=("folded 60,000 CR or CRLF line ends",)),
    good(
        "byte order mark and CRLF",
        MARK + "ab\r\n",
        "ab\n",
        notes=("dropped the byte order mark", "folded 1 CR or CRLF line ends to LF"),
    ),
    # characters that are kept
    good(
        "control characters",
        "".join(map(chr, [*range(1, 13), *range(14, 32), 127, *range(128, 160)])) + "\n",
        notes=("x.txt: 31 C1 control characters",),
    ),
    good("other line ends", "a\x0bb\x0cc\x85d\u2028e\u2029f\n"),
    good("4-byte characters", "👩‍🚀 to the 🌍\n🀄𝔘\n"),
    good("combining marks", "e\u0301 is not é\n\u0301\u0302\n"),
    good("right to left", "שלום עולם\nالسلام عليكم\n\u202eabc\u202c\n"),
    good(
        "not characters",
        "\ufffe\uffff\U0010ffff\ufdd0\ufffd\ue000\n",
        notes=("x.txt: 1 replacement character (U+FFFD)",),
    ),
    # not UTF-8
    bad("Latin-1", "ab\nGrüße\n".encode("latin-1"), BAD_BYTE.format(2, 3, "fc")),
    bad("Windows quotes", "ab “cd”\n".encode("cp1252"), BAD_BYTE.format(1, 4, "93")),
    bad("lone high surrogate", b"ab\xed\xa0\x80", BAD_BYTE.format(1, 3, "ed")),
    bad("lone low surrogate", b"ab\n\xed\xb0\x80", BAD_BYTE.format(2, 1, "ed")),
    bad("surrogates in pairs", b"ab \xed\xa0\xbd\xed\xb4\xa5", BAD_BYTE.format(1, 4, "ed")),
    bad("a NUL in two bytes", b"ab\xc0\x80", BAD_BYTE.format(1, 3, "c0")),
    bad("beyond Unicode", b"ab\xf4\x90\x80\x80", BAD_BYTE.format(1, 3, "f4")),
    bad(
        "cut inside a character",
        "ab\nc€".encode()[:-1],
        "x.txt, line 2, column 2: the text ends in the middle of a character: 2 bytes; the file is cut off",
    ),
    bad("late in a long text", "€\n".encode() * 500_000 + b"ab\xff", BAD_BYTE.format(500_001, 3, "ff")),
    bad("NUL", b"ab\ncd\0ef", "x.txt, line 2: a NUL character"),
    bad("UTF-16 with a mark", "ab\n".encode("utf-16"), "x.txt is UTF-16, not UTF-8"),
    bad("UTF-16, big end first", codecs.BOM_UTF16_BE + "ab\n".encode("utf-16-be"), "x.txt is UTF-16, not UTF-8"),
    bad("UTF-16 without a mark", "ab\n".encode("utf-16-le"), "--encoding utf-16-le reads it"),
    bad("UTF-16 without a mark, big end first", "ab\n".encode("utf-16-be"), "--encoding utf-16-be reads it"),
    bad("UTF-32", "ab\n".encode("utf-32"), "x.txt is UTF-32, not UTF-8"),
    bad("UTF-32, big end first", codecs.BOM_UTF32_BE + "ab\n".encode("utf-32-be"), "x.txt is UTF-32, not UTF-8"),
    # gzip
    good("gzip", file(PACKED, "x.txt.gz"), "ab\ncd\n"),
    good("gzip in two parts", file(PACKED + gzip.compress(b"ef\n"), "x.txt.gz"), "ab\ncd\nef\n"),
    bad("gzip of nothing", file(gzip.compress(b""), "x.txt.gz"), "x.txt.gz is empty", scored="the text is empty"),
    bad("gzip cut short", file(PACKED[:-9], "x.txt.gz"), NOT_WHOLE),
    bad("gzip cut to nothing", file(b"", "x.txt.gz"), NOT_WHOLE),
    bad("gzip with a wrong checksum", file(PACKED[:-8] + b"\0" * 4 + PACKED[-4:], "x.txt.gz"), NOT_WHOLE),
    bad("gzip and then something else", file(PACKED + b"ab\n", "x.txt.gz"), NOT_WHOLE),
    bad("not gzip by content", file(b"ab\ncd\n", "x.txt.gz"), NOT_WHOLE),
    bad("gzip by content only", PACKED, "x.txt is gzip"),
    bad("gzip bomb", file(BOMB, "x.txt.gz"), "x.txt.gz unpacks to more than 200 times its size"),
    # not text
    bad("zip", b"PK\x03\x04\x14\0\0\0ab", "x.txt is a zip archive"),
    bad("PDF", b"%PDF-1.7\nab\xe2\xe3\n\0", "x.txt is a PDF"),
    # kinds of sources
    bad("no file", lambda: ["x.txt"], "no such file: x.txt"),
    bad("a link to nowhere", link("x.txt", "nowhere"), "no such file: x.txt"),
    bad("a link to itself", link("x.txt", "x.txt"), "cannot read x.txt"),
    bad("below a file", files(file(b"ab\n"), given=["x.txt/y.txt"]), "cannot read x.txt/y.txt"),
    bad("a name that is too long", lambda: ["x" * 5000], "cannot read xxx"),
    bad("an unreadable file", unreadable(file(b"ab\n")), "cannot read x.txt: Permission denied", meanwhile=as_nobody),
    bad("changed while it is read", b"ab\n", CHANGED, meanwhile=growing),
    bad("a device without end", lambda: ["/dev/zero"], "/dev/zero is a device", meanwhile=little_memory),
    good("a pipe", pipe("x.txt"), "ab\ncd\n", meanwhile=filled("x.txt", b"ab\n", b"cd\n")),
    good("standard input", lambda: ["-"], "ab\ncd\n", stdin=b"ab\ncd\n"),
    bad("nothing on standard input", lambda: ["-"], "standard input is empty", scored="the text is empty"),
    bad("Latin-1 on standard input", lambda: ["-"], "standard input, line 1, column 2: byte 0xe9", stdin=b"h\xe9"),
    good("a name in Greek", file("ab\ncd\n", "φανάρια.txt"), "ab\ncd\n"),
    bad("a name in Greek, and Latin-1", file(b"h\xe9", "φως.txt"), "φως.txt, line 1, column 2: byte 0xe9"),
    bad("a name that is not UTF-8", file(b"", "caf\udce9.txt"), "caf\udce9.txt is empty", scored="the text is empty"),
    bad("a name of two lines", file(b"", "a\nb.txt"), "a b.txt is empty", scored="the text is empty"),
    # several sources
    good("two files", files(file("ab", "2.txt"), file("cd\n", "1.txt")), "ab\ncd\n", scored=5),
    good(
        "the same file twice",
        files(file("abc"), file("abc")),
        "abc",
        scored=6,
        only_trained=("x.txt has the same text as x.txt: read once",),
    ),
    good("one of two is empty", files(file(""), file("ab\n", "y.txt")), "ab\n"),
    bad("one of two is Latin-1", files(file("ab"), file(b"\xe9", "y.txt")), "y.txt, line 1, column 1: byte 0xe9"),
    bad("two empty ones", files(file(""), file("", "y.txt")), "x.txt, y.txt is empty", scored="the text is empty"),
    # folders
    good(
        "a folder",
        files(
            *(file(f"{name}\n", f"texts/{name}") for name in ("b.txt", "A.TXT", "c/d.txt", "no.md", "no", "no.gz")),
            file(gzip.compress(b"packed\n"), "texts/c.txt.gz"),
            given=["texts"],
        ),
        "A.TXT\nb.txt\nc/d.txt\npacked\n",
        notes=("texts: 4 files read, 3 others passed over (.gz, .md, without an ending)",),
    ),
    good(
        "a folder that holds itself",
        files(file("ab\n", "t/x.txt"), link("t/t", "../t"), given=["t"]),
        "ab\n",
        notes=("t: 1 file read, 1 other passed over (links to folders)",),
    ),
    good(
        "a folder with a pipe",
        files(file("ab\n", "t/x.txt"), pipe("t/y.txt"), given=["t"]),
        "ab\n",
        notes=("t: 1 file read, 1 other passed over (pipes and devices)",),
        meanwhile=filled("t/y.txt", b"not this\n"),
    ),
    good("a folder with a folder x.txt", files(file("ab\n", "t/x.txt/y.txt"), given=["t"]), "ab\n"),
    good("a folder with a link", files(file("ab\n"), link("t/y.txt", "../x.txt"), given=["t"]), "ab\n"),
    bad(
        "a folder without texts", files(file("ab\n", "t/x.md"), given=["t"]), "no .txt or .txt.gz file in the folder t"
    ),
    bad("a folder with a link to nowhere", files(link("t/x.txt", "y"), given=["t"]), "no such file: t/x.txt"),
    bad(
        "a folder with an unreadable one",
        files(file("ab\n", "t/x.txt"), folder("t/z", mode=0), given=["t"]),
        "cannot read the folder t/z",
        meanwhile=as_nobody,
    ),
]
ROWS = {row.name: row for row in TABLE}


# -------------------------------------------------------------------------------------------------------- the outcome


class Done(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str  # UTF-8, other bytes as surrogates
    err: str


class Outcome(NamedTuple):
    """The outcome of a row: the library's corpus or error, and three commands."""

    library: dict[str, Any]
    train: Done
    sample: Done | None  # if there is a run to sample from
    score: Done | None


def outcome(row: Row, long: bool = True) -> Outcome:
    """The outcome of a row in the current, empty folder; `long`: score texts that take seconds, too."""
    sources = row.make()
    copy_of_trained_run(Path("model"))
    library = read(row, sources)
    train = call(row, "train", *sources, *TINY)
    runs = sorted(Path("checkpoints").glob("*"))
    if not runs:
        return Outcome(library, train, None, call(row, "score", "model", *sources))
    (run,) = map(str, runs)
    seed = os.fsdecode((row.text or "")[:1].encode())
    sample = call(row, "sample", run, "--seed", seed, "--length", 20, "--rng-seed", 1, text=False)
    scored = long or len(row.text or "") < MEGABYTE
    return Outcome(library, train, sample, call(row, "score", run, *sources) if scored else None)


def read(row: Row, sources: list[str]) -> dict[str, Any]:
    """The corpus, or the error message, of the library."""
    try:
        with row.meanwhile(), pytest.MonkeyPatch.context() as patch:
            give_stdin(patch, row.stdin)
            corpus = read_corpus(sources)
    except CorpusError as error:
        return {"refused": str(error)}
    text = corpus.vocabulary.decode(corpus.ids)
    return {
        "sha256 of the ids": hashlib.sha256(text.encode()).hexdigest(),
        "sha256": corpus.sha256,
        "characters": corpus.vocabulary.characters,
        "notes": list(corpus.notes),
    }


def call(row: Row, *arguments: object, text: bool = True) -> Done:
    """Call a command as a process does in this locale; `text`: whether it reads the row's text."""
    encoding = sys.__stdout__.encoding if sys.__stdout__ else "ascii"
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    with row.meanwhile() if text else nullcontext(), pytest.MonkeyPatch.context() as patch:
        give_stdin(patch, row.stdin)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(progress, plot.__name__, mock.Mock())  # the picture would take most of the time
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
    written, logged = (stream.buffer.getvalue().decode("utf-8", "surrogateescape") for stream in (out, err))
    return Done(int(stop.value.code or 0), written, logged)


@contextmanager
def empty_folder() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="charlm-tests-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            for path in Path().rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)  # so that it can be removed
            os.chdir(before)


@functools.cache
def outcome_here(name: str) -> Outcome:
    """A row's outcome in this process."""
    with empty_folder():
        return outcome(ROWS[name])


@functools.cache
def outcomes_elsewhere(locale: str) -> dict[str, Outcome]:
    """All rows' outcomes in one process under another locale."""
    command = [sys.executable, "-W", "error", __file__]
    done = subprocess.run(command, env=environment(**LOCALES[locale]), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-3000:]
    found = {}
    for line in done.stdout.splitlines():
        name, library, *commands = json.loads(line)
        found[name] = Outcome(library, *(command and Done(*command) for command in commands))
    return found


if __name__ == "__main__":  # the other process of outcomes_elsewhere
    for each in TABLE:
        with empty_folder():
            print(json.dumps([each.name, *outcome(each, long=False)]), flush=True)  # noqa: T201
    sys.exit()


# ---------------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("name", ROWS)
def test_the_library(name: str) -> None:
    """Law: read_corpus gives the row's characters and notes, or raises CorpusError with its words."""
    row, library = ROWS[name], outcome_here(name).library
    if row.text is None:
        assert row.refused is not None
        if "too short" in row.refused:  # an error of the split
            return
        assert row.refused in library["refused"].replace("\n", " ")
        return
    assert library["characters"] == "".join(sorted(set(row.text)))
    assert library["sha256"] == library["sha256 of the ids"] == hashlib.sha256(row.text.encode()).hexdigest()
    expected = row.only_trained + row.notes
    assert len(library["notes"]) == len(expected)
    assert all(words in note for words, note in zip(expected, library["notes"], strict=True))


@pytest.mark.parametrize("name", ROWS)
def test_train(name: str) -> None:
    """Law: exit code 0 and the notes only, or exit code 1, one line and no run."""
    row, (_, train, sample, _) = ROWS[name], outcome_here(name)
    if row.text is None:
        assert_refused(train, row.refused)
        assert sample is None, "a run was left behind"
        return
    assert train.code == 0, train.err
    assert "nats per character" in train.out
    assert_notes(train, row.only_trained + row.notes)


@pytest.mark.parametrize("name", [row.name for row in TABLE if row.text is not None])
def test_sample(name: str) -> None:
    """Law: the seed text and 20 characters of the vocabulary, in UTF-8."""
    text, sample = ROWS[name].text, outcome_here(name).sample
    assert text and sample and (sample.code, sample.err) == (0, "")
    assert sample.out.startswith(text[0]) and len(sample.out) == 21
    assert set(sample.out) <= set(text)


@pytest.mark.parametrize("name", ROWS)
def test_score(name: str) -> None:
    """Law: every character is scored, or the error is that of training."""
    row, score = ROWS[name], outcome_here(name).score
    expected = row.scored if row.scored is not None else len(row.text) if row.text is not None else row.refused
    if isinstance(expected, str):
        assert_refused(score, expected)
        return
    assert score is not None and score.code == 0, score
    assert score.out.split()[:2] == [f"{expected:,}", "characters"]
    assert_notes(score, row.notes)


@pytest.mark.parametrize("locale", LOCALES)
def test_another_locale(locale: str) -> None:
    """Law: the same outcomes, and the same bytes on stdout and stderr."""
    found = outcomes_elsewhere(locale)
    assert list(found) == list(ROWS)
    for name in ROWS:
        here, there = outcome_here(name), found[name]
        assert (there.train, there.sample) == (here.train, here.sample), name
        assert there.score in (here.score, None), name
        if "characters" in here.library:
            assert there.library == here.library, name


def assert_refused(done: Done | None, words: str | None) -> None:
    assert done is not None and words is not None
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("charlm: ") and done.err.count("\n") == 1 and done.err.endswith("\n")
    assert words in done.err


def assert_notes(done: Done, notes: tuple[str, ...]) -> None:
    lines = done.err.splitlines()
    assert len(lines) == len(notes), done.err
    assert all(words in line for words, line in zip(notes, lines, strict=True))
