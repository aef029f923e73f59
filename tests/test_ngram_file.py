"""The n-gram's file: the counts come back, and a broken or hostile file is refused, or gives probabilities."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hostile_files import KINDS, NGRAM, changed_checkpoint, checkpoint_parts, forged, safetensors_file
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import SEEDS, no_waiting_for_the_disk, put, refusal, refused_or
from runs import Faults, copy_of_trained_run, few_examples

from charlm.errors import CheckpointError, RunError, StorageError
from charlm.predict.ngram_counts import Counts
from charlm.predict.ngram_file import load_ngram, save_counts
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.find import newest_run

V, START = 6, 0
COUNTS = Counts.of(np.random.default_rng(0).integers(0, V - 1, 300), V, 4)
texts = st.integers(2, 300).flatmap(lambda V: st.tuples(st.just(V), st.lists(st.integers(0, V - 1), min_size=1)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ngram.counts"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "x"
    save_counts(path, COUNTS)
    return path.read_bytes()


def opened(path: Path) -> None:
    """Check that a file gives a distribution before each of some characters."""
    p = np.exp(np.concatenate(list(load_ngram(path, V, START).distributions([np.array([0, 1, 2, 3, 4, V - 1, 0])]))))
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


@few_examples
@given(texts, st.integers(1, 6))
def test_counts_come_back(tmp_path: Path, text: tuple[int, list[int]], order: int) -> None:
    """Law: the same order, n-grams and counts, of any text over any alphabet."""
    size, ids = text
    counts = Counts.of(np.array(ids), size, order)
    save_counts(tmp_path / "x", counts)
    found = load_ngram(tmp_path / "x", size, START).counts
    assert (found.vocabulary, found.order) == (size, counts.order)
    np.testing.assert_array_equal(found.grams, counts.grams)
    np.testing.assert_array_equal(found.counts, counts.counts)


def test_whole_or_not_at_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: whatever call fails, the file is the old one, whole."""
    save_counts(file, COUNTS)
    before, nth, other = file.read_bytes(), 1, Counts.of(np.array([0, 1, 1]), V, 2)
    while True:
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, nth)
            with suppress(StorageError):
                save_counts(file, other)
        if not faults.happened:
            break
        assert file.read_bytes() == before or load_ngram(file, V, START).order == 2
        assert [path.name for path in file.parent.iterdir()] == [file.name]
        put(file, before)
        nth += 1
    assert nth > 5 and load_ngram(file, V, START).order == 2


def test_another_file_is_none(file: Path, tmp_path: Path) -> None:
    """Law: a missing file, a checkpoint or an n-gram of another vocabulary is refused; an n-gram is no model."""
    assert "charlm train --resume" in refusal(RunError, load_ngram, file, V, START)
    run = copy_of_trained_run(tmp_path / "checkpoints" / "run")
    refusal(RunError, load_ngram, run / "last.safetensors", V, START)
    assert "remove it, and charlm train --resume makes it again" in refusal(
        RunError, load_ngram, run / "ngram.counts", V, START
    )
    refusal(CheckpointError, load_checkpoint, run / "ngram.counts")
    other = copy_of_trained_run(tmp_path / "checkpoints" / "other")
    for name in ("best", "last"):
        (other / f"{name}.safetensors").unlink()
    assert newest_run(tmp_path / "checkpoints") == run  # an n-gram alone is not a run to sample from


def test_cut_and_flipped(whole: bytes, file: Path) -> None:
    """Law: no proper beginning is accepted, and no flipped bit that says something else."""
    rng = Random(0)
    for length in sorted({*range(0, len(whole), 97), *range(17), len(whole) - 1}):
        put(file, whole[:length])
        refusal(RunError, load_ngram, file, V, START)
    for place in [*range(0, len(whole), 61), len(whole) - 1]:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        put(file, bytes(changed))
        if refused_or(load_ngram, file, V, START):
            np.testing.assert_array_equal(load_ngram(file, V, START).counts.grams, COUNTS.grams)


LIES: dict[str, Any] = {
    "order": {"order": 5},
    "no order": {"order": 0},
    "order beyond": {"order": 10**30},
    "true": {"order": True},
    "format": {"format": 2},
    "vocabulary": {"vocabulary": 7},
    "grams twice": lambda grams, counts: (np.repeat(grams, 2), np.repeat(counts, 2)),
    "turned round": lambda grams, counts: (grams[::-1].copy(), counts),
    "none": lambda grams, counts: (grams[:0], counts[:0]),
    "counts of none": lambda grams, counts: (grams, counts * 0),
    "many": lambda grams, counts: (grams, counts * 0 + 2**31),
    "fewer counts": lambda grams, counts: (grams, counts[:-1]),
    "one missing": lambda grams, counts: (np.delete(grams, len(grams) // 2), counts[1:]),
    "long": lambda grams, counts: (grams << np.uint64(3), counts),
    "high ids": lambda grams, counts: (np.append(grams, np.uint64(0o7777)), np.append(counts, counts[:1])),
    "of two dimensions": lambda grams, counts: (grams[None], counts[None]),
    "another type": lambda grams, counts: (grams.astype(np.int64), counts),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_with_a_right_checksum(lie: str, whole: bytes, file: Path) -> None:
    """Law: what no text can have given is refused, although the checksum is right."""
    head, tensors = checkpoint_parts(whole, NGRAM)
    put(file, forged(head, tensors, NGRAM))
    opened(file)
    if callable(LIES[lie]):
        grams, counts = LIES[lie](tensors["grams"], tensors["counts"])
        put(file, forged(head, {"grams": grams, "counts": counts}, NGRAM))
    else:
        put(file, forged(head | LIES[lie], tensors, NGRAM))
    if refused_or(opened, file):
        assert lie == "one missing"  # its context may come elsewhere, too


@settings(max_examples=80)
@given(SEEDS)
def test_any_lie(whole: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Law: whatever is in it, a file is refused soon and in one line, or it gives probabilities that sum to 1."""
    file = tmp_path_factory.getbasetemp() / "lie.safetensors"
    with no_waiting_for_the_disk():
        put(file, changed_checkpoint(whole, Random(seed), NGRAM))
        refused_or(opened, file)


def test_many_gigabytes_are_not_read(file: Path, whole: bytes) -> None:
    """Law: a file that says it holds more n-grams than are ever counted is refused before they are read."""
    head, _ = checkpoint_parts(whole, NGRAM)
    size = 2**33
    entries = {"grams": ("U64", 8), "counts": ("U32", 4)}
    header: dict[str, Any] = {"__metadata__": {NGRAM: json.dumps(head | {"sha256": ""})}}
    at = 0
    for name, (kind, each) in entries.items():
        assert np.dtype(KINDS[kind]).itemsize == each
        header[name] = {"dtype": kind, "shape": [size], "data_offsets": [at, at + size * each]}
        at += size * each
    put(file, safetensors_file(header))
    with file.open("r+b") as handle:
        handle.truncate(file.stat().st_size + at)  # a hole
    assert "n-grams" in refusal(RunError, load_ngram, file, V, START)
