"""Records: lines that are texts of their own, in the network, in batches, in the n-gram and in a whole run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cell_oracles import VARIANTS, variants
from hypothesis import given
from hypothesis import strategies as st
from runs import TINY, bits_of_run, few_examples, run_to_end, stop_at, tiny_run

from charlm import train
from charlm.arrays import NamedArrays
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.nn.bidirectional import Bidirectional
from charlm.nn.cells import make_cell
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.predict.ngram_counts import Counts, pack_rows
from charlm.predict.predictor import nats_of
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.figures import Baselines
from charlm.runs.run import Run
from charlm.text.batches import batches
from charlm.text.joined import Joined, Records
from charlm.trained_model import load
from charlm.training.new_run import new_run

RECORDS = replace(TINY, validation="records")
NAMES = st.lists(st.text("abcde", max_size=9), min_size=3, max_size=40)


def list_of(folder: Path, lines: list[str]) -> Corpus:
    path = folder / "list.txt"
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return read_corpus(path)


def many_names(count: int = 300) -> list[str]:
    rng = np.random.default_rng(1)
    return ["".join(rng.choice(list("aeioulmnrst"), rng.integers(2, 9))) for _ in range(count)]


def records_of(lines: list[str]) -> Records:
    """Records over the ids of bytes."""
    ids = np.frombuffer("".join(line + "\n" for line in lines).encode(), np.uint8)
    ends = np.cumsum([len(line) + 1 for line in lines])
    return Records(ids, ends - [len(line) + 1 for line in lines], ends, ord("\n"))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", VARIANTS)
def test_records_in_a_window_are_read_each_on_its_own(name: str, layers: int, rng: np.random.Generator) -> None:
    """Law: logits and gradients are those of the records read alone from a zero state, one after the other."""
    T, B, V = 9, 2, 5
    model = CharLM(ModelSpec(V, 4, layers, **variants()[name]), np.float64)
    params = NamedArrays(model.spec.shapes, np.float64)
    params.flat[...] = rng.normal(0, 0.7, params.flat.shape)
    inputs, targets = rng.integers(0, V, (2, T, B))
    begins = np.zeros((T, B), bool)
    for t, b in ((0, 0), (3, 0), (4, 0), (6, 1)):
        begins[t, b] = True
    state = tuple(rng.normal(0, 0.5, layer.shape) for layer in model.zero_state(B))

    logits, after, tape = model.forward(params, inputs, state, begins=begins)
    together = logits.copy()
    grads = NamedArrays(model.spec.shapes, np.float64)
    model.backward(params, tape, cross_entropy(logits, targets)[1], grads)

    expected = NamedArrays(model.spec.shapes, np.float64)
    alone = CharLM(model.spec, np.float64)
    for b in range(B):
        edges = [0, *(t for t in range(1, T) if begins[t, b]), T]
        for start, end in pairwise(edges):
            carried = tuple(layer[..., b : b + 1, :] for layer in state)
            before = alone.zero_state(1) if begins[start, b] else carried
            piece, last, own = alone.forward(params, inputs[start:end, b : b + 1], before)
            np.testing.assert_allclose(together[start:end, b], piece[:, 0], atol=1e-12)
            _, dlogits = cross_entropy(piece, targets[start:end, b : b + 1])
            part = NamedArrays(model.spec.shapes, np.float64)
            alone.backward(params, own, dlogits * ((end - start) / (T * B)), part)
            expected.flat += part.flat
        for layer, other in zip(after, last, strict=True):
            np.testing.assert_allclose(layer[..., b, :], other[..., 0, :], atol=1e-12)
    np.testing.assert_allclose(grads.flat, expected.flat, atol=1e-12)


def test_a_bidirectional_layer_refuses_records() -> None:
    """Law: a layer that reads backwards would read across records, so it says that it cannot."""
    cell = make_cell("gru", 3, 2, bidirectional=True)
    assert isinstance(cell, Bidirectional)
    params = NamedArrays(cell.shapes)
    with pytest.raises(TypeError, match="record"):
        cell.forward(cell.prepare(params), np.zeros((2, 1), int), cell.zero_state(1), np.ones((2, 1, 1)))


@few_examples
@given(lines=NAMES, data=st.data())
def test_joined_pieces_are_read_as_one(lines: list[str], data: st.DataObject) -> None:
    """Law: a slice, and any places, are those of the pieces put together."""
    ids = np.arange(100)
    edges = sorted(data.draw(st.sets(st.integers(0, 100), min_size=2, max_size=12)))
    edges = edges[: len(edges) // 2 * 2]
    joined = Joined(ids, np.array(edges[::2]), np.array(edges[1::2]))
    whole = np.concatenate([ids[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)])
    assert len(joined) == len(whole)
    np.testing.assert_array_equal(joined[:], whole)
    start, stop = data.draw(st.integers(-120, 120)), data.draw(st.integers(-120, 120))
    np.testing.assert_array_equal(joined[start:stop], whole[start:stop])
    places = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1))).reshape(1, -1)
    np.testing.assert_array_equal(joined[places], whole[places])


@few_examples
@given(lines=NAMES, seed=st.integers(0, 5))
def test_an_epoch_reads_every_record_once_in_an_order_of_its_own(lines: list[str], seed: int) -> None:
    """Law: whole windows over all characters hold each record once; another epoch has another order; a start within an
    epoch goes on as without the interruption.
    """
    records = records_of(lines)
    T = len(records) - 1  # one window holds all but the first character, which is only read
    windows = batches(records, T, 1, seed)
    texts, orders = Counter(line + "\n" for line in lines), []
    for _ in range(3):
        window = next(windows)
        text = bytes([window.inputs[0, 0], *window.targets[:, 0]]).decode()
        assert Counter(text.splitlines(keepends=True)) == texts
        assert window.begins is not None
        np.testing.assert_array_equal(window.begins, window.inputs == ord("\n"))
        orders.append(text)
    again = [next(batches(records, T, 1, seed, start=number)) for number in range(3)]
    assert [bytes([w.inputs[0, 0], *w.targets[:, 0]]).decode() for w in again] == orders
    if len(set(lines)) > 6:
        assert len(set(orders)) > 1


@few_examples
@given(lines=NAMES, order=st.integers(1, 5))
def test_counts_of_records_are_those_of_each_line_after_a_line_end(lines: list[str], order: int) -> None:
    """Law: each character is counted after a line end and the line before it, with V in place of anything earlier."""
    V = 128
    records = records_of(lines)
    order = min(order, len(records))
    expected: Counter[tuple[int, ...]] = Counter()
    for line in lines:
        padded = [V] * order + [ord("\n")] + [*(line + "\n").encode()]
        for end in range(order + 2, len(padded) + 1):
            expected[tuple(padded[end - order : end])] += 1
    counts = Counts.of(records, V, order)
    keys = pack_rows(np.array(list(expected)), V)
    found = dict(zip(counts.grams.tolist(), counts.counts.tolist(), strict=True))
    assert found == dict(zip(keys.tolist(), expected.values(), strict=True))
    counts.check()


def test_evaluation_scores_each_record_from_its_own_beginning(tmp_path: Path) -> None:
    """Law: the validation loss of a run is the mean over the held-out lines, each scored alone; no flag is needed."""
    corpus = list_of(tmp_path, many_names())
    run = run_to_end(tiny_run(tmp_path / "run", corpus, RECORDS), corpus)
    model = load(run.path)
    held_out = corpus.split(run.spec)[1]
    lines = corpus.vocabulary.decode(held_out[:]).splitlines(keepends=True)
    nats = [model.surprisal(line).sum() for line in lines]
    loss = load_checkpoint(run.best_path).progress["best_nats"]
    assert loss == pytest.approx(sum(nats) / sum(map(len, lines)), rel=1e-6)
    assert model.reads_records
    assert model.score("".join(lines)).nats_per_char == pytest.approx(loss, rel=1e-6)
    assert sum(float(part.sum()) for part in nats_of(model.predictor(), held_out)) == pytest.approx(sum(nats))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_on_records_resumes_to_the_same_bits(tmp_path: Path, workers: int) -> None:
    """Law: N updates, a stop, and N more are 2 N updates, within an epoch and across epochs."""
    corpus = list_of(tmp_path, many_names(60))
    spec = replace(RECORDS, workers=workers, steps=30)
    whole = run_to_end(tiny_run(tmp_path / "whole", corpus, spec), corpus)
    stopped = tiny_run(tmp_path / "stopped", corpus, spec)
    stop_at(stopped, corpus, 13)
    run_to_end(Run.open(stopped.path), corpus)
    assert bits_of_run(stopped) == bits_of_run(whole)
    assert Run.open(stopped.path).is_records


@pytest.mark.parametrize("text", ["a\na\na\na\nbcd\n", "\n\n\na\n", "\n" * 50 + "a\n", "ab\nab\ncd\nc\n"])
def test_records_shorter_than_the_order_of_the_n_gram(text: str, tmp_path: Path) -> None:
    """Law: an order that no record is long enough for has no n-grams, and shorter ones predict."""
    (tmp_path / "list.txt").write_text(text)
    corpus = read_corpus(tmp_path / "list.txt")
    spec = replace(RECORDS, batch=1, window=2, steps=3, val_fraction=0.5)
    run = new_run(corpus, tmp_path / "run", spec, hidden=4)
    for _ in train(run, corpus):
        pass
    baselines, mixed = Baselines.of(run), load(run.path, mix=True)
    assert baselines is not None and math.isfinite(baselines.ngram_nats)
    assert np.exp(next(mixed.predictions("ab\n"))).sum(axis=1) == pytest.approx(1)
