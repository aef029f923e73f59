"""Scores of files, lines and characters are parts of one and the same score."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import trained_run

from charlm.corpus.reader import read_texts
from charlm.errors import CorpusError, SpecError
from charlm.scoring.units import RESETS_OF_STATE, UNITS, Entry, entries
from charlm.text.unknown import Unseen
from charlm.trained_model import TrainedModel, load

FILES = st.lists(st.lists(st.text("The lamp.\n\n€日", max_size=25).filter(bool), max_size=4), min_size=1, max_size=4)


class Pieces:
    """A text that comes in these pieces."""

    def __init__(self, source: str, pieces: list[str]) -> None:
        self.source = source
        self.pieces = pieces

    def __iter__(self) -> Iterator[str]:
        return iter(self.pieces)


def scored(files: list[list[str]], per: str, **options: Any) -> list[Entry]:
    texts = [Pieces(str(number), pieces) for number, pieces in enumerate(files)]
    return list(entries(load(trained_run()), texts, per, **options))


def sums(found: list[Entry], key: Any) -> dict[Any, tuple[int, float]]:
    """Characters and nats in all, by key."""
    total: dict[Any, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for entry in found:
        characters, nats = total[key(entry)]
        total[key(entry)] = characters + entry.score.characters, nats + entry.score.nats
    return dict(total)


def nearly(one: dict[Any, tuple[int, float]], other: dict[Any, tuple[int, float]]) -> bool:
    return one.keys() == other.keys() and all(
        one[key][0] == other[key][0] and math.isclose(one[key][1], other[key][1], rel_tol=1e-6, abs_tol=1e-9)
        for key in one
    )


@settings(max_examples=10)
@given(files=FILES, reset=st.sampled_from(RESETS_OF_STATE))
def test_parts_make_the_whole(files: list[list[str]], reset: str) -> None:
    """Law: a line's score is the sum of its characters', a file's that of its lines', to the same total."""
    by_file, by_line, by_char = (scored(files, per, reset=reset) for per in UNITS)
    assert nearly(sums(by_line, lambda e: (e.source, e.line)), sums(by_char, lambda e: (e.source, e.line)))
    assert [entry.source for entry in by_file] == [str(number) for number in range(len(files))]
    filled = [entry for entry in by_file if entry.score.characters]
    assert nearly(sums(filled, lambda e: e.source), sums(by_line, lambda e: e.source))
    assert nearly(sums(filled, lambda e: 0), sums(by_char, lambda e: 0))


def expected_nats(model: TrainedModel, texts: list[str], reset: str) -> list[float]:
    """The nats of every character, with each text, file or line scored by a call of its own."""
    if reset == "never":
        alone = ["".join(texts)]
    elif reset == "file":
        alone = texts
    else:
        alone = [line for text in texts for line in text.splitlines(keepends=True)]
    return [float(nats) for text in alone for nats in model.surprisal(text)]


@settings(max_examples=10)
@given(files=FILES, reset=st.sampled_from(RESETS_OF_STATE))
def test_every_character_in_its_place(files: list[list[str]], reset: str) -> None:
    """Law: the characters of all texts in order, each with its line and column, and what it costs where the state is
    reset as asked: after all texts before it, after its own file's beginning, or after its line's.
    """
    texts = ["".join(pieces) for pieces in files]
    found = scored(files, "char", reset=reset)
    assert "".join(entry.text for entry in found) == "".join(texts)
    places = [
        (str(number), line, column)
        for number, text in enumerate(texts)
        for line, content in enumerate(text.splitlines(keepends=True), 1)
        for column in range(1, len(content) + 1)
    ]
    assert [(entry.source, entry.line, entry.column) for entry in found] == places
    nats = [entry.score.nats for entry in found]
    np.testing.assert_allclose(nats, expected_nats(load(trained_run()), texts, reset), rtol=1e-4, atol=1e-4)


@settings(max_examples=10)
@given(FILES)
def test_the_worst_of_a_line(files: list[list[str]]) -> None:
    """Law: the tenth of its characters that cost most, to the nearest whole number but at least one."""
    characters = scored(files, "char", reset="line")
    for entry in scored(files, "line", reset="line"):
        costs = [c.score.nats for c in characters if (c.source, c.line) == (entry.source, entry.line)]
        count = max(1, round(len(costs) / 10))
        assert entry.worst is not None and entry.worst.characters == count
        assert entry.worst.nats == pytest.approx(sum(sorted(costs)[-count:]), rel=1e-6)
        assert entry.worst.nats_per_char >= entry.score.nats_per_char - 1e-9
    assert all(entry.worst is None for per in ("file", "char") for entry in scored(files, per))


@pytest.mark.parametrize("per", UNITS)
def test_adapted_scores_stand_beside(per: str) -> None:
    """Law: the scores are those without adapting; beside them are those of the adapting model, summed alike."""
    files = [["The lamp burns. The la", "mp burns.\n"] * 5, ["The lamp burns.\nThe lamp.\n"]]
    plain, both = scored(files, per), scored(files, per, adapt=0.1)
    assert [entry.score for entry in both] == [entry.score for entry in plain]
    assert all(entry.adapted is None for entry in plain)
    adapted = 0.0
    for entry in both:
        assert entry.adapted is not None and entry.adapted.characters == entry.score.characters
        adapted += entry.adapted.nats
    model = load(trained_run())
    expected = sum(nats.sum() for pieces in files for nats in model.surprisals(pieces, adapt=0.1))
    assert adapted == pytest.approx(expected, rel=1e-6)


@settings(max_examples=8)
@given(FILES)
def test_unknown_characters_are_counted_once(files: list[list[str]]) -> None:
    """Law: whatever the unit, every character of every text is counted once, and the scores are the same."""
    text, model = "".join(piece for pieces in files for piece in pieces), load(trained_run())
    for per in UNITS:
        unseen = Unseen(model.vocabulary)
        texts = [Pieces(str(number), pieces) for number, pieces in enumerate(files)]
        assert list(entries(model, unseen.of(texts), per)) == scored(files, per)
        assert unseen.characters == sum(text.count(character) for character in "€日")


@pytest.mark.parametrize("reset", RESETS_OF_STATE)
def test_two_files_of_one_name(reset: str) -> None:
    """Law: each text has its own score, in their order; an empty one has a score of nothing."""
    texts = [Pieces("x.txt", pieces) for pieces in (["The lamp.\n"], [], ["The lamp ", "burns.\n"])]
    found = list(entries(load(trained_run()), texts, "file", reset=reset))
    assert [(entry.source, entry.score.characters) for entry in found] == [("x.txt", n) for n in (10, 0, 16)]


def test_files_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    """Law: the first file's score comes before the second one is opened, so its error comes after it."""
    (tmp_path / "good.txt").write_text("The lamp.\n")
    found = entries(load(trained_run()), read_texts([tmp_path / "good.txt", tmp_path / "missing.txt"]))
    assert next(found).source == str(tmp_path / "good.txt")
    with pytest.raises(CorpusError):
        next(found)


@pytest.mark.parametrize(
    "wrong", [{"per": "word"}, {"reset": "char"}, {"adapt": -1.0}, {"reset": "line", "adapt": 0.1}]
)
def test_impossible_choices(wrong: dict[str, Any]) -> None:
    """Law: refused, in one line."""
    with pytest.raises(SpecError) as raised:
        scored([["The lamp.\n"]], **({"per": "line"} | wrong))
    assert len(str(raised.value).splitlines()) == 1
