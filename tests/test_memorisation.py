"""Novelty: the longest copied run and the share of new runs of 8 characters, compared with a plain search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, charlm, copy_of_trained_run, lanterns, run_to_end, short_corpus, tiny_run, trained_run

from charlm.analysis import memorisation as module
from charlm.analysis.memorisation import FACTOR, SPAN, WORD, Novelty, TrainingText, compare
from charlm.corpus.corpus import read_corpus
from charlm.errors import CorpusError, RunError
from charlm.predict.run_mixture import fit_mix
from charlm.runs.run import Run
from charlm.text.vocabulary import Vocabulary
from charlm.training.baselines import measure_baselines


def plainly(sample: str, text: str) -> tuple[int, int, int]:
    """The length of the longest common run, how many distinct runs of SPAN there are, and how many are new."""
    runs = {sample[start:end] for start in range(len(sample)) for end in range(start + 1, len(sample) + 1)}
    spans = {sample[at : at + SPAN] for at in range(len(sample) - SPAN + 1)}
    return (
        max((len(run) for run in runs if run in text), default=0),
        len(spans),
        sum(span not in text for span in spans),
    )


def check(sample: str, text: str) -> None:
    """Compare with the plain search; the copied run is in both."""
    vocabulary = Vocabulary.of(sample + text + "x")
    found = TrainingText(vocabulary.encode(text), vocabulary).novelty(sample)
    assert (len(found.copied), found.spans, found.new_spans) == plainly(sample, text)
    assert found.copied in text and found.copied in sample
    assert found.share == (found.new_spans / found.spans if found.spans else None)


@given(st.text("ab", max_size=40), st.text("ab", max_size=200), st.integers(1, 50))
def test_of_two_letters(sample: str, text: str, piece: int) -> None:
    """Law: what a plain search finds, wherever the text is cut into pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        check(sample, text)


@given(st.text(max_size=30), st.text(max_size=60), st.text(max_size=60), st.text(max_size=20), st.integers(1, 50))
def test_planted_copies(copied: str, before: str, after: str, around: str, piece: int) -> None:
    """Law: the same for any characters, where a part of the text is in the sample."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        check(around + copied + around[::-1], before + copied + after)


def test_a_long_copy_in_a_long_text() -> None:
    """Law: one planted run of 137 characters is found among 2.5 million, in place and length, across pieces."""
    rng = np.random.default_rng(0)
    text, sample = rng.integers(0, 60, 2_500_000).astype(np.uint8), rng.integers(0, 60, 2000).astype(np.uint8)
    for where in (2**20 - 60, 2_499_863):
        one = sample.copy()
        one[300:437] = text[where : where + 137]
        one[299], one[437] = (text[where - 1] + 1) % 60, (text[(where + 137) % len(text)] + 1) % 60
        one[900:925] = text[777:802]
        start, length, spans, new = compare(one, text, 61)
        assert (start, length) == (300, 137)
        assert spans == 1993 and new <= 1993 - 130 - 18


def test_equal_hashes_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: two runs with one hash are no copy: their characters are compared.

    The first 1,024 characters of the Thue-Morse sequence and their complement have the same hash, whatever p is.
    """
    sequence = np.array([number.bit_count() % 2 for number in range(1024)])
    assert sum((1 - 2 * int(one)) * pow(FACTOR, place, WORD) for place, one in enumerate(sequence)) % WORD == 0
    monkeypatch.setattr(module, "PIECE", 2000)
    text = np.full(4000, 2)
    text[:1023], text[2500:3524] = sequence[:1023], 1 - sequence
    assert compare(sequence, text, 4)[:2] == (0, 1023)


def test_the_training_text_of_a_run() -> None:
    """Law: the part that was trained on, not the validation part."""
    found = TrainingText.of(trained_run())
    np.testing.assert_array_equal(found.ids, lanterns().split(Run.open(trained_run()).spec)[0])
    assert found.novelty(LANTERNS.read_text("utf-8")[100:200]).copied == LANTERNS.read_text("utf-8")[100:200]
    assert found.novelty("") == Novelty("", 0, 0) and found.novelty("").share is None
    assert found.novelty("€€€€€€€€€").copied == ""


@given(
    lines=st.lists(st.text("ab", max_size=3), max_size=30),
    tried=st.lists(st.text("abc", max_size=4), max_size=9),
    piece=st.integers(1, 40),
)
def test_lines(lines: list[str], tried: list[str], piece: int) -> None:
    """Law: those of the text, whole, wherever it is cut into pieces; with and without their line end."""
    text = "\n".join(lines)
    vocabulary = Vocabulary.of(text + "\nabx")
    expected = text.split("\n") if text and not text.endswith("\n") else text.split("\n")[:-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        learned_from = TrainingText(vocabulary.encode(text), vocabulary)
        for line in [*lines, *tried]:
            assert learned_from.has_line(line) == learned_from.has_line(line + "\n") == (line in expected)


def test_the_lines_of_a_run() -> None:
    """Law: all of the text, the validation part included."""
    found = TrainingText.of(trained_run())
    lines = LANTERNS.read_text("utf-8").split("\n")
    assert all(map(found.has_line, lines))
    assert not any(found.has_line(line[:-1] + "€") for line in lines) and not found.has_line("no such line")


@given(seed=st.text("ab", max_size=20), sample=st.text("ab", max_size=20), text=st.text("ab", max_size=80))
def test_a_copy_may_begin_in_the_seed(seed: str, sample: str, text: str) -> None:
    """Law: of all runs of both that end in the sample, what a plain search finds."""
    vocabulary, whole, own = Vocabulary("ab"), seed + sample, len(seed)
    found = TrainingText(vocabulary.encode(text), vocabulary).novelty(sample, seed)
    runs = {whole[at:end] for end in range(own + 1, len(whole) + 1) for at in range(end)}
    spans = {whole[end - SPAN : end] for end in range(max(SPAN, own + 1), len(whole) + 1)}
    longest = max((len(run) for run in runs if run in text), default=0)
    assert (len(found.copied), found.spans, found.new_spans) == (longest, len(spans), sum(s not in text for s in spans))
    assert found.copied in text and (found.copied in runs or not longest)


def test_a_text_that_is_gone(tmp_path: Path) -> None:
    """Law: an error in one line, before anything is written: gone, changed, from standard input, or no run at all."""
    corpus = short_corpus(tmp_path)
    run = run_to_end(tiny_run(tmp_path / "run", corpus), corpus)
    TrainingText.of(run.path)
    (tmp_path / "short.txt").write_text("another text, with other letters")
    with pytest.raises(CorpusError, match="not the one"):
        TrainingText.of(run.path)
    (tmp_path / "short.txt").unlink()
    with pytest.raises(CorpusError, match=r"short\.txt"):
        TrainingText.of(run.best_path)
    run.config["corpus"]["sources"] = ["-"]
    run.save_config()
    with pytest.raises(CorpusError, match="standard input"):
        TrainingText.of(run.path)
    with pytest.raises(RunError):
        TrainingText.of(tmp_path)


# -------------------------------------------------------------------------------------------------- the command line


def test_sample_novelty(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: standard output does not change; standard error has one line, with the right figures."""
    arguments = ("sample", trained_run(), "--rng-seed", 1, "-n", 200, "--seed", "T")
    plain, done = charlm(capsys, *arguments), charlm(capsys, *arguments, "--novelty")
    assert (done.code, done.out) == (0, plain.out)
    text = LANTERNS.read_text("utf-8")[: len(TrainingText.of(trained_run()).ids)]
    length, spans, new = plainly(plain.out[1:], text)
    assert done.err.startswith(f"Longest run copied from the training text: {length} characters, ")
    assert done.err.endswith(f"; {new / spans:.0%} of its runs of 8 characters are new\n")
    assert done.err.count("\n") == 1


def test_many_samples_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a line for each sample; with --json the same in each record."""
    arguments = ("sample", trained_run(), "--rng-seed", 1, "-n", 60, "--count", 3, "--novelty")
    lines, records = charlm(capsys, *arguments), charlm(capsys, *arguments, "--json")
    assert lines.err.count("Longest run copied") == 3 and not records.err
    *copies, of_all = lines.err.splitlines()
    assert of_all == "0 of 3 samples are lines of the text"
    for line, record in zip(copies, records.out.splitlines(), strict=True):
        found = json.loads(record)
        assert f"{len(found['copied'])} characters, {found['copied']!r}; {found['new_8grams']:.0%} of" in line


def test_a_long_copy_is_shortened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: the copied run is escaped and cut to fit in a line; its length is the whole one's."""
    (tmp_path / "x.txt").write_text("ab\n" * 400)
    corpus = read_corpus(tmp_path / "x.txt")
    run = run_to_end(tiny_run(tmp_path / "run", corpus), corpus)
    measure_baselines(run, corpus)
    fit_mix(run, corpus)
    done = charlm(
        capsys, "sample", tmp_path / "run", "--novelty", "--mix", "-n", 300, "--temperature", 0, "--seed", "a"
    )
    assert "301 characters, 'ab\\nab\\n" in done.err and "...'; 0% of its runs" in done.err
    assert done.err.count("\n") <= 3 and max(map(len, done.err.splitlines())) < 200


def test_without_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    run.config["corpus"]["sources"] = [str(tmp_path / "gone.txt")]
    run.save_config()
    done = charlm(capsys, "sample", run.path, "--novelty")
    assert done.is_clear_error(1) and "gone.txt" in done.err
