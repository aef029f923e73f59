"""Nothing of a folder is dropped silently: what was passed over is said, and --glob chooses."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, charlm, few_examples, give_stdin

from charlm.corpus.corpus import read_corpus
from charlm.corpus.notes import clean_up_notes
from charlm.corpus.reader import read_texts
from charlm.errors import CorpusError
from charlm.runs.run import Run

Capture = pytest.CaptureFixture[str]
TINY = ("--hidden", "4", "--batch", "2", "--window", "5", "--steps", "2", "--quiet")
NOVEL = LANTERNS.read_text(encoding="utf-8")


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def names(folder: Path, **choice: Any) -> list[str]:
    return [str(Path(text.path).relative_to(folder)) for text in read_texts([folder], **choice)]


def refusal(folder: Path, **choice: Any) -> str:
    with pytest.raises(CorpusError) as raised:
        read_corpus(folder, **choice)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ----------------------------------------------------------------------------------------------------- what is read


def test_a_small_part_is_not_taken_for_the_text(tmp_path: Path) -> None:
    """Law: a README beside a novel, or one file of a C project, is not trained on: the choice is asked for."""
    write(tmp_path / "n" / "novel.md", NOVEL)
    write(tmp_path / "n" / "README.txt", "This is about the novel beside it.")
    message = refusal(tmp_path / "n")
    assert "34 of" in message and "(.md 2" in message and "--glob '*.md'" in message and "--glob '*.txt'" in message
    for name in ("main.c", "lib/a.c", "lib/a.h"):
        write(tmp_path / "c" / name, NOVEL[:3000] + name)
    write(tmp_path / "c" / "CMakeLists.txt", "project(x)\n")
    assert "--glob '*.c'" in refusal(tmp_path / "c")
    corpus = read_corpus(tmp_path / "c", glob=["*.c", "*.h"])
    assert corpus.vocabulary.decode(corpus.ids).count("c") and corpus.glob == ("*.c", "*.h")
    (note,) = corpus.notes
    assert note == f"{tmp_path / 'c'}: 3 files read, 1 other passed over (.txt)"


def test_what_is_no_text_does_not_count(tmp_path: Path) -> None:
    """Law: pictures, programs, hidden files and folders do not make the texts a small part."""
    write(tmp_path / "a.txt", "The lantern burns.\n")
    write(tmp_path / "cover.jpg", b"\xff\xd8\xff\xe0" + bytes(9) + os.urandom(5000))
    write(tmp_path / "data.bin", os.urandom(5000))
    write(tmp_path / ".git" / "config", NOVEL)
    write(tmp_path / ".git" / "x.txt", NOVEL)
    write(tmp_path / ".hidden.txt", NOVEL)
    corpus = read_corpus(tmp_path)
    assert corpus.vocabulary.decode(corpus.ids) == "The lantern burns.\n"
    assert corpus.notes == (f"{tmp_path}: 1 file read, 2 others passed over (.bin, .jpg): choose with --glob '*.bin'",)


def test_a_packed_text_counts_for_more(tmp_path: Path) -> None:
    """Law: it is not taken for a small part because it is packed."""
    write(tmp_path / "novel.txt.gz", gzip.compress(NOVEL.encode()))
    write(tmp_path / "notes.md", NOVEL)
    assert names(tmp_path) == ["novel.txt.gz"]


def test_patterns(tmp_path: Path) -> None:
    """Law: a pattern is compared with the name, one with a slash with the path; capitals do not matter."""
    for name in ("a.MD", "b.md", "notes/c.md", "notes/deep/d.md", "e.rst", "f.md.gz", "notes/g.TXT"):
        write(tmp_path / name, "The lantern burns.\n")
    assert names(tmp_path, glob=["*.md"]) == ["a.MD", "b.md", "notes/c.md", "notes/deep/d.md"]
    assert names(tmp_path, glob=["notes/*.md"]) == ["notes/c.md", "notes/deep/d.md"]
    assert names(tmp_path, glob=["*.rst", "[bc].md"]) == ["b.md", "e.rst", "notes/c.md"]
    assert "matches --glob '*.tex': it has 7 others (.md, .gz, .rst, .txt)" in refusal(tmp_path, glob=["*.tex"])
    assert "choose with --glob '*.md'" in refusal(write(tmp_path / "m" / "a.md", "x").parent)
    (tmp_path / "empty").mkdir()
    assert "name the files, or put texts there" in refusal(tmp_path / "empty")


@few_examples
@given(pattern=st.text(max_size=20) | st.text("*?[]!-/.a", max_size=40))
def test_any_pattern(pattern: str, tmp_path: Path) -> None:
    """Law: texts, or one line that says there are none."""
    write(tmp_path / "f" / "a.txt", "The lantern burns.\n")
    try:
        assert names(tmp_path / "f", glob=[pattern]) == ["a.txt"]
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1 and "no file in the folder" in str(error)


def test_the_note_is_given_once(tmp_path: Path) -> None:
    """Law: one note for each folder that files were passed over in, whatever the number of texts; kinds are few."""
    for number in range(3):
        write(tmp_path / "a" / f"{number}.txt", NOVEL)
        write(tmp_path / "b" / f"{number}.txt", NOVEL)
    for number in range(9):
        write(tmp_path / "a" / f"x.k{number}", "x")
    texts = list(read_texts([tmp_path / "a", tmp_path / "b"]))
    (note,) = clean_up_notes(texts)
    assert note.startswith(f"{tmp_path / 'a'}: 3 files read, 9 others passed over (.k0, .k1, .k2, .k3, .k4, ...)")


# ------------------------------------------------------------------------------------------------- the command line


def test_train_and_resume(here: Path, capsys: Capture) -> None:
    """Law: a run reads its texts again as it read them first: chosen files, encoding, and copies once."""
    write(here / "t" / "novel.md", NOVEL.encode("utf-16"))
    write(here / "t" / "copy.md", NOVEL.encode("utf-16"))
    write(here / "t" / "README.txt", "About the novel.".encode("utf-16"))
    assert "small part" in charlm(capsys, "train", "t", "--out", "r", *TINY).err
    done = charlm(capsys, "train", "t", "--out", "r", "--glob", "*.md", "--encoding", "utf-16", *TINY)
    first, second = done.err.splitlines()
    assert done.code == 0 and first == "t: 2 files read, 1 other passed over (.txt)"
    assert second.startswith("t/novel.md has the same text as t/copy.md: read once")
    corpus = json.loads((here / "r" / "config.json").read_text())["corpus"]
    assert (corpus["glob"], corpus["encoding"], corpus["duplicates"]) == (["*.md"], "utf-16", False)
    assert corpus["characters"] == len(NOVEL)
    run = Run.open(here / "r")
    assert run.corpus().sha256 == run.config["corpus"]["sha256"]
    assert charlm(capsys, "train", "--resume", "r", "--steps", 4, "--quiet").code == 0
    assert charlm(capsys, "sample", "r", "--novelty", "-n", 9, "--rng-seed", 1).code == 0
    assert charlm(capsys, "train", "t", "--glob", "*.md", "--encoding", "utf-16", "--from", "r", *TINY[6:]).code == 0
    write(here / "new.txt", NOVEL)
    assert charlm(capsys, "train", "new.txt", "--resume", "r", "--encoding", "utf-8", "--steps", 5, "--quiet").code == 0


def test_duplicates(here: Path, capsys: Capture) -> None:
    """Law: --duplicates reads copies each time, and so does the run when it goes on."""
    for name in ("a.txt", "b.txt"):
        write(here / "t" / name, NOVEL)
    trained = charlm(capsys, "train", "t", "--out", "r", "--duplicates", "--validation", "tail", *TINY)
    assert "read once" not in trained.err and "trained on, too" in trained.err  # the copies are told, and stay
    assert Run.open(here / "r").config["corpus"]["characters"] == 2 * len(NOVEL)
    assert charlm(capsys, "train", "--resume", "r", "--steps", 4, "--quiet").code == 0


def test_a_run_that_does_not_say_how_it_read(here: Path, capsys: Capture) -> None:
    """Law: a run of an older version read .txt and .txt.gz, copies too, and asked nothing; it goes on with that."""
    for name in ("a.txt", "b.txt"):
        write(here / "t" / name, NOVEL[:300])
    charlm(capsys, "train", "t", "--out", "r", "--duplicates", *TINY)
    write(here / "t" / "c.txt.bz2", "not read before")
    write(here / "t" / "large.md", NOVEL)
    path = here / "r" / "config.json"
    config = json.loads(path.read_text())
    for key in ("glob", "encoding", "duplicates"):
        del config["corpus"][key]
    path.write_text(json.dumps(config))
    assert charlm(capsys, "train", "--resume", "r", "--steps", 4, "--quiet").code == 0


@pytest.mark.parametrize("change", [{"glob": "*.md"}, {"glob": [1]}, {"encoding": None}, {"duplicates": "no"}])
def test_a_damaged_configuration(change: dict[str, Any], here: Path, capsys: Capture) -> None:
    """Law: refused in one line."""
    write(here / "x.txt", NOVEL)
    charlm(capsys, "train", "x.txt", "--out", "r", *TINY)
    path = here / "r" / "config.json"
    config = json.loads(path.read_text())
    config["corpus"] |= change
    path.write_text(json.dumps(config))
    assert charlm(capsys, "train", "--resume", "r").is_clear_error(1)


def test_score_and_inspect(here: Path, capsys: Capture) -> None:
    """Law: they choose and decode as train does, and say the same."""
    write(here / "x.txt", NOVEL)
    write(here / "t" / "novel.md", NOVEL.encode("utf-16-be"))
    write(here / "t" / "x.rst", "x")
    charlm(capsys, "train", "x.txt", "--out", "r", *TINY)
    for command in ("score", "inspect"):
        asked = charlm(capsys, command, "r", "t")
        assert asked.is_clear_error(1) and "choose with --glob" in asked.err
        wide = charlm(capsys, command, "r", "t", "--glob", "*.md")
        assert wide.is_clear_error(1) and "--encoding utf-16-be reads it" in wide.err
        done = charlm(capsys, command, "r", "t", "--glob", "*.md", "--encoding", "utf-16-be")
        assert done.code == 0 and "t: 1 file read, 1 other passed over (.rst)" in done.err.splitlines()
    assert charlm(capsys, "score", "r", "t", "--glob", "*.md", "--encoding", "utf-16-be").out.startswith(
        charlm(capsys, "score", "r", "x.txt").out
    )


def test_glob_without_a_folder(here: Path, capsys: Capture) -> None:
    """Law: an option without effect is a mistake in the command line, as is an unquoted pattern."""
    for name in ("a.md", "b.md"):
        write(here / name, NOVEL)
    for line in (("train", "a.md", "--glob", "*.md"), ("train", "--glob", "a.md", "b.md"), ("score", "--glob", "*.md")):
        done = charlm(capsys, *line)
        assert done.is_clear_error(1, 2) and ("in quotes" in done.err or line[0] == "score")


def test_a_seed_text_from_a_file(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: --seed-file continues the text that --seed would, of any length, cleaned up and decoded as all texts are."""
    write(here / "x.txt", NOVEL)
    charlm(capsys, "train", "x.txt", "--out", "r", *TINY)
    options = ("r", "-n", "20", "--rng-seed", "1")
    expected = charlm(capsys, "sample", *options, "--seed", "The lantern\nburns.\n").out
    write(here / "s.txt", b"\xef\xbb\xbfThe lantern\r\nburns.\r\n")
    done = charlm(capsys, "sample", *options, "--seed-file", "s.txt")
    assert done.out == expected and len(done.err.splitlines()) == 2  # notes on the byte order mark and on line ends
    write(here / "s.txt.gz", gzip.compress("The lantern\nburns.\n".encode("utf-16")))
    assert charlm(capsys, "sample", *options, "--seed-file", "s.txt.gz", "--encoding", "utf-16").out == expected
    give_stdin(monkeypatch, b"The lantern\nburns.\n")
    assert charlm(capsys, "sample", *options, "--seed-file", "-").out == expected
    write(here / "long.txt", NOVEL * 5)
    assert charlm(capsys, "sample", *options, "--seed-file", "long.txt", "--count", 2).out.count(NOVEL * 5) == 2
    write(here / "empty", "")
    write(here / "bad", b"h\xe9")
    assert charlm(capsys, "sample", *options, "--seed", "x", "--seed-file", "x.txt").is_clear_error(2)
    assert charlm(capsys, "sample", *options, "--encoding", "utf-16").is_clear_error(2)
    assert charlm(capsys, "sample", *options, "--seed-file", "empty").is_clear_error(2)
    for name in ("bad", "missing", "."):
        assert charlm(capsys, "sample", *options, "--seed-file", name).is_clear_error(1)


def test_no_validation_part(here: Path, capsys: Capture) -> None:
    """Law: the refusal says what to use in its place."""
    write(here / "x.txt", NOVEL)
    done = charlm(capsys, "train", "x.txt", "--val-fraction", 0)
    assert done.is_clear_error(1, 2) and "0.01" in done.err and "--validation FILE" in done.err
