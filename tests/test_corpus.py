"""The same text gives the same ids from any kind of source, and anything else is refused in one line."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, few_examples, give_stdin

from charlm.config import TrainSpec
from charlm.corpus import corpus as corpus_module
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.corpus.reader import read_texts
from charlm.errors import CorpusError


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refusal(*sources: str | Path) -> str:
    with pytest.raises(CorpusError) as raised:
        read_corpus(sources)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_a_file() -> None:
    """Law: its text, its sha256, its ids and its source; nothing is changed or noted."""
    corpus = read_corpus(LANTERNS)
    text = LANTERNS.read_text(encoding="utf-8")
    assert text_of(corpus) == text
    assert corpus.sha256 == hashlib.sha256(LANTERNS.read_bytes()).hexdigest()
    assert corpus.vocabulary.characters == "".join(sorted(set(text)))
    assert (corpus.name, corpus.sources, corpus.notes) == ("lanterns", (str(LANTERNS),), ())


text_strategy = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), min_size=2).filter(
    lambda text: len(set(text)) > 1
)


@few_examples
@given(text=text_strategy)
def test_one_text_from_many_sources(tmp_path: Path, text: str) -> None:
    """Law: plain, gz, stdin, with BOM, with CRLF, from a folder: the same text and sha256."""
    data = text.encode()
    crlf = text.replace("\n", "\r\n").encode()
    sources: list[str | Path] = [
        write(tmp_path / "plain.txt", data),
        write(tmp_path / "packed.txt.gz", gzip.compress(data)),
        write(tmp_path / "marked.txt", b"\xef\xbb\xbf" + data),
        write(tmp_path / "windows.txt", crlf),
        write(tmp_path / "mac.txt", text.replace("\n", "\r").encode()),
        write(tmp_path / "folder" / "only.txt", data).parent,
        write(tmp_path / "no ending", data),
        "-",
    ]
    for source in sources:
        with pytest.MonkeyPatch.context() as patch:
            give_stdin(patch, data)
            corpus = read_corpus(source)
        assert text_of(corpus) == text
        assert corpus.sha256 == hashlib.sha256(data).hexdigest()


def test_folders_are_read_in_sorted_order(tmp_path: Path) -> None:
    """Law: every .txt and .txt.gz below, nested ones too, sorted by path; other files are ignored."""
    write(tmp_path / "b.txt", "second\n")
    write(tmp_path / "a" / "z" / "deep.txt.gz", gzip.compress(b"first\n"))
    write(tmp_path / "c.txt", "third\n")
    write(tmp_path / "readme.md", "not this\n")
    write(tmp_path / "c.gz", gzip.compress(b"nor this\n"))
    assert text_of(read_corpus(tmp_path)) == "first\nsecond\nthird\n"
    assert [Path(t.source).name for t in read_texts([tmp_path])] == ["deep.txt.gz", "b.txt", "c.txt"]


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (["ab\n", "cd\n"], "ab\ncd\n"),
        (["ab", "cd"], "ab\ncd"),
        (["ab\n\n", "cd"], "ab\n\ncd"),
        (["ab", "\ncd", "ef\n"], "ab\n\ncd\nef\n"),
        (["ab\r\n", "cd\r\n"], "ab\ncd\n"),
    ],
)
def test_every_text_starts_on_a_new_line(parts: list[str], joined: str, tmp_path: Path) -> None:
    """Law: no character is lost, and a line end is added only if one is missing; the order is the given one."""
    paths = [write(tmp_path / f"{9 - number}.txt", part) for number, part in enumerate(parts)]
    assert text_of(read_corpus(paths)) == joined


def test_the_name_and_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: named after the first source, or as asked; sources are absolute, so that a resume finds them."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a b.txt.gz", gzip.compress(b"ab"))
    write(tmp_path / "two.txt", b"cd")
    corpus = read_corpus(["a b.txt.gz", "two.txt"])
    assert corpus.name == "a b"
    assert corpus.sources == (str(tmp_path / "a b.txt.gz"), str(tmp_path / "two.txt"))
    assert read_corpus("two.txt", name="mine").name == "mine"
    assert read_corpus(".").name == tmp_path.name
    give_stdin(monkeypatch, b"ab")
    corpus = read_corpus("-")
    assert (corpus.name, corpus.sources) == ("stdin", ("-",))


def test_too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: an empty text and one distinct character have different messages."""
    empty = write(tmp_path / "empty.txt", b"")
    assert "is empty" in refusal(empty)
    assert "is empty" in refusal(write(tmp_path / "mark.txt", b"\xef\xbb\xbf"))
    assert "is empty" in refusal(write(tmp_path / "empty.txt.gz", gzip.compress(b"")))
    for data in (b"a", b"aaaa", b"\n\n\r\n"):
        assert "one distinct character" in refusal(write(tmp_path / "one.txt", data))
    assert "is empty" in refusal(empty, write(tmp_path / "empty2.txt", b""))
    give_stdin(monkeypatch, b"")
    assert "standard input" in refusal("-")


def test_missing_sources(tmp_path: Path) -> None:
    """Law: missing files, folders without texts and dangling links are refused by name."""
    assert "no such file" in refusal(tmp_path / "missing.txt")
    (tmp_path / "folder").mkdir()
    assert "folder" in refusal(tmp_path / "folder")
    (tmp_path / "folder" / "x.txt").symlink_to(tmp_path / "nowhere")
    assert "x.txt" in refusal(tmp_path / "folder")
    file = write(tmp_path / "file", b"ab")
    refusal(file / "below.txt")


def test_gzip_that_is_not_whole(tmp_path: Path) -> None:
    """Law: cut anywhere, altered, or not gzip at all: refused."""
    data = gzip.compress(LANTERNS.read_bytes())
    for length in (1, 2, 9, 10, 11, 100, len(data) - 9, len(data) - 8, len(data) - 1):
        assert "gzip" in refusal(write(tmp_path / "x.txt.gz", data[:length]))
    for position in (0, 2, 500, len(data) - 5, len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 0x55
        refusal(write(tmp_path / "x.txt.gz", bytes(changed)))
    assert "gzip" in refusal(write(tmp_path / "x.txt.gz", b"plain text"))


def test_the_usual_start_looks_at_the_beginning_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the character that most often begins a line, the first line included; of a long text, in its beginning."""
    text = "a\n\n\nb\nac\n" + "b\n" * 50
    corpus = read_corpus(write(tmp_path / "x.txt", text))
    assert corpus.usual_start == "b"
    monkeypatch.setattr(corpus_module, "BEGINNING", 10)
    assert corpus.usual_start == "a"


@few_examples
@given(
    text=st.text("ab\n", max_size=60).map("ab".__add__),
    fraction=st.floats(0.01, 0.99),
    limit=st.integers(1, 30),
)
def test_the_split(text: str, fraction: float, limit: int, tmp_path: Path) -> None:
    """Law: the validation part is that fraction at the end, within the limit and never empty; the rest is training."""
    corpus = read_corpus(write(tmp_path / "x.txt", text))
    spec = TrainSpec(val_fraction=fraction, val_limit=limit)
    length = min(max(1, round(len(text) * fraction)), limit)
    if len(text) - length < 2:
        with pytest.raises(CorpusError, match="too short"):
            corpus.split(spec)
        return
    training, validation = corpus.split(spec)
    assert isinstance(training, np.ndarray) and isinstance(validation, np.ndarray)
    assert corpus.vocabulary.decode(training) + corpus.vocabulary.decode(validation) == text
    assert len(validation) == length
    assert np.shares_memory(training, corpus.ids) and np.shares_memory(validation, corpus.ids)
