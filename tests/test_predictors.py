"""Laws of every predictor: its fast ways have the numbers of its reader, and no reading disturbs another one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import pairwise, zip_longest

import numpy as np
import pytest
from cell_oracles import variants
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from runs import LANTERNS, plain_log_probabilities, random_model, trained_run

from charlm.arrays import Floats, Ids
from charlm.errors import SpecError
from charlm.nn.softmax import log_softmax
from charlm.parallel.blas import blas_thread_count, blas_threads
from charlm.predict import network, ngram, short_texts
from charlm.predict import predictor as module
from charlm.predict.dynamic_evaluation import DynamicEvaluation
from charlm.predict.mixture import Mixture
from charlm.predict.network import Network
from charlm.predict.ngram import NGram
from charlm.predict.ngram_counts import Counts
from charlm.predict.predictor import Predictor, Reader, likeliest
from charlm.trained_model import TrainedModel, load

V, START = 7, 2  # the id V - 1 is the unknown character's
TEXT = LANTERNS.read_text(encoding="utf-8")[:700] + "\nGrüße, 語 🏮\n"
NETWORKS = [f"{cell}, {layers} layers" for cell in variants() for layers in (1, 2)]
ADAPTING = ["dynamic evaluation", "mixture with dynamic evaluation"]
RESETTABLE = [*NETWORKS, "1-gram", "4-gram", "mixture"]
ALL = [*RESETTABLE, *ADAPTING]

few = settings(max_examples=4)
texts = hnp.arrays(np.uint8, st.integers(0, 50), elements=st.integers(0, V - 1))
three_texts = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(3)), elements=st.integers(0, V - 1))
pieces_of_texts = st.lists(texts, max_size=4)


@functools.cache
def predictor(name: str) -> Predictor:
    """The predictor of that name; all tests share it, and no use may change another one."""
    match name.split(", "):
        case [cell, layers]:
            layout = variants()[cell]
            return Network(*random_model(3, vocabulary=V, layers=int(layers[0]), scale=0.3, **layout), START)
        case ["dynamic evaluation"]:
            return DynamicEvaluation(*random_model(3, vocabulary=V, scale=0.3), START, rate=0.5)
        case ["mixture"]:
            return Mixture(predictor(NETWORKS[0]), predictor("4-gram"), 0.4)
        case ["mixture with dynamic evaluation"]:
            return Mixture(predictor("dynamic evaluation"), predictor("4-gram"), 0.4)
    ids = np.random.default_rng(0).integers(V - 1, size=300)
    return NGram.of(Counts.of(ids, V, int(name[0])), START)


def resets(name: str) -> list[bool]:
    return [False] if name in ADAPTING else [False, True]


def nats_of(name: str, pieces: list[Ids], reset: bool = False) -> Floats:
    """The nats (N,) of the characters of all pieces."""
    return np.concatenate([np.empty(0), *predictor(name).nats(pieces, reset=reset)])


def rows_of(name: str, pieces: list[Ids], reset: bool = False) -> Floats:
    """The distributions (N, V) of the characters of all pieces."""
    return np.concatenate([np.empty((0, V)), *predictor(name).distributions(pieces, reset=reset)])


def now(reader: Reader) -> Floats:
    """The log-probabilities (B, V) of the next characters, as a copy."""
    return log_softmax(reader.logits())


def after(name: str, *read: Ids) -> Floats:
    """The log-probabilities (1, V) after some ids in all."""
    return now(predictor(name).reader(np.concatenate(read)))


# -------------------------------------------------------------------------------------------------- the laws of all


@pytest.mark.parametrize("name", ALL)
@few
@given(pieces=pieces_of_texts, block=st.integers(1, 30))
def test_fast_ways_have_the_numbers_of_reading(name: str, pieces: list[Ids], block: int) -> None:
    """Law: `nats` and `distributions`, in any blocks, are those of the base class, which reads step by step."""
    one = predictor(name)
    with pytest.MonkeyPatch.context() as patch:
        for size in ((module, "WINDOW"), (network, "BLOCK"), (ngram, "BLOCK"), (short_texts, "HELD")):
            patch.setattr(*size, block)
        for reset in resets(name):
            ways = (
                (one.nats(pieces, reset=reset), Predictor.nats(one, pieces, reset=reset)),
                (one.distributions(pieces, reset=reset), Predictor.distributions(one, pieces, reset=reset)),
            )
            for fast, slow in ways:
                for found, expected in zip(fast, slow, strict=True):
                    np.testing.assert_allclose(found, expected, atol=1e-5, strict=True)


@pytest.mark.parametrize("name", ALL)
@few
@given(pieces=pieces_of_texts)
def test_every_row_is_a_distribution(name: str, pieces: list[Ids]) -> None:
    """Law: V probabilities, all above 0, that sum to 1; the character that came costs what `nats` says."""
    for reset in resets(name):
        rows, ids = rows_of(name, pieces, reset), np.concatenate([np.empty(0, np.uint8), *pieces])
        assert rows.shape == (len(ids), V) and (np.exp(rows) > 0).all()
        np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, atol=1e-6)
        nats = nats_of(name, pieces, reset)
        np.testing.assert_allclose(nats, -rows[np.arange(len(ids)), ids], atol=1e-5)


@pytest.mark.parametrize("name", ALL)
@few
@given(text=texts, cuts=st.lists(st.integers(0, 50), max_size=5))
def test_pieces_are_one_text(name: str, text: Ids, cuts: list[int]) -> None:
    """Law: cut anywhere, a text costs what it costs in one piece; an empty piece costs nothing."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    found = list(predictor(name).nats(pieces))
    assert [len(nats) for nats in found] == [len(piece) for piece in pieces]
    np.testing.assert_allclose(np.concatenate(found), nats_of(name, [text]), atol=1e-9)
    np.testing.assert_allclose(rows_of(name, pieces), rows_of(name, [text]), atol=1e-9)


@pytest.mark.parametrize("name", ALL)
@few
@given(past=texts, future=texts, other_future=texts)
def test_nothing_depends_on_what_follows(name: str, past: Ids, future: Ids, other_future: Ids) -> None:
    """Law: with another future, the characters before it cost the same, and are expected alike."""
    one, other = (np.concatenate([past, more]) for more in (future, other_future))
    np.testing.assert_allclose(nats_of(name, [one])[: len(past)], nats_of(name, [other])[: len(past)], atol=1e-9)
    until = len(past) + 1 if len(future) and len(other_future) else len(past)  # also what is expected next
    np.testing.assert_allclose(rows_of(name, [one])[:until], rows_of(name, [other])[:until], atol=1e-9)


@pytest.mark.parametrize("name", ALL)
@few
@given(prompt=texts, text=texts)
def test_a_window_is_its_steps(name: str, prompt: Ids, text: Ids) -> None:
    """Law: a prompt, windows (also empty ones) and single steps are all the same reading."""
    whole, steps = predictor(name).reader(prompt), predictor(name).reader()
    for window in (prompt[:7], prompt[7:]):
        steps.read_window(window[:, None])
    whole.read_window(text[:, None])
    for one in text:
        steps.read(np.array([one]))
    for reader in (whole, steps):
        np.testing.assert_allclose(now(reader), after(name, prompt, text), atol=1e-9)


@pytest.mark.parametrize("name", RESETTABLE)
@few
@given(prompt=texts, data=st.data())
def test_rows_are_readers_of_their_own(name: str, prompt: Ids, data: st.DataObject) -> None:
    """Law: rows may be repeated, selected and reordered; each reads on its own text, and changes no other reader."""
    first = predictor(name).reader(prompt)
    many = first.rows(np.zeros(3, np.intp))
    texts_read = data.draw(three_texts)
    many.read_window(texts_read[:-1])
    many.read(texts_read[-1])
    places = np.array(data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=5)), np.intp)
    chosen, before = many.rows(places), now(many)
    np.testing.assert_array_equal(now(chosen), before[places])
    last = np.arange(len(places)) % V
    chosen.read(last)
    np.testing.assert_array_equal(now(many), before)
    many.read(np.array([0, 0, 0]))
    for row, place, one in zip(now(chosen), places, last, strict=True):
        np.testing.assert_allclose(row[None], after(name, prompt, texts_read[:, place], np.array([one])), atol=1e-9)
    for row, text in zip(before, texts_read.T, strict=True):
        np.testing.assert_allclose(row[None], after(name, prompt, text), atol=1e-9)
    np.testing.assert_allclose(now(first), after(name, prompt), atol=1e-9)


@pytest.mark.parametrize("name", RESETTABLE)
@few
@given(pieces=pieces_of_texts)
def test_with_reset_each_text_stands_alone(name: str, pieces: list[Ids]) -> None:
    """Law: beside other texts, each costs what it costs alone, and is expected alike."""
    for piece, nats in zip(pieces, predictor(name).nats(pieces, reset=True), strict=True):
        np.testing.assert_allclose(nats, nats_of(name, [piece]), atol=1e-9)
    alone = [row for piece in pieces for row in rows_of(name, [piece])]
    np.testing.assert_allclose(rows_of(name, pieces, reset=True), np.reshape(alone, (-1, V)), atol=1e-9)


@pytest.mark.parametrize("name", ALL)
@few
@given(one=pieces_of_texts, other=pieces_of_texts)
def test_readings_do_not_disturb_each_other(name: str, one: list[Ids], other: list[Ids]) -> None:
    """Law: two readers, two scores and the distributions of one predictor, in turns, are what each is alone."""

    def reading(pieces: list[Ids]) -> Iterator[Floats]:
        reader = predictor(name).reader()
        for piece in pieces:
            reader.read_window(piece[:, None])
            yield now(reader)

    def all_at_once() -> list[Iterator[Floats]]:
        readings = [way(pieces) for pieces in (one, other) for way in (reading, predictor(name).nats)]
        return [*readings, predictor(name).distributions(one)]

    together = list(zip(*zip_longest(*all_at_once()), strict=True)) or [()] * 5
    for parts, alone in zip(together, all_at_once(), strict=True):
        for found, expected in zip((part for part in parts if part is not None), alone, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", ADAPTING)
def test_what_cannot_adapt_is_refused(name: str) -> None:
    """Law: one that learns reads one text: it has no rows, and no reset."""
    for refused in (
        lambda: predictor(name).reader().rows(np.zeros(2, np.intp)),
        lambda: list(predictor(name).nats([np.array([1])], reset=True)),
        lambda: list(predictor(name).distributions([np.array([1])], reset=True)),
    ):
        with pytest.raises(SpecError, match="leave") as raised:
            refused()
        assert len(str(raised.value).splitlines()) == 1


# ------------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("cell", variants())
@settings(max_examples=8)
@given(text=texts, window=st.integers(1, 60))
def test_a_network_predicts_by_the_equations(cell: str, text: Ids, window: int) -> None:
    """Law: one row a character, before it is read, whatever the window: those of one plain pass."""
    model, params = random_model(1, vocabulary=V, layers=2, scale=0.5, **variants()[cell])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW", window)
        found = list(Network(model, params, START).distributions([text]))
    assert all(0 < len(rows) <= window for rows in found)
    expected = np.array(list(plain_log_probabilities(model.spec, params, [START, *text][: len(text)])))
    np.testing.assert_allclose(np.concatenate([*found, np.empty((0, V))]), expected.reshape(-1, V), atol=1e-9)


def test_a_large_alphabet_is_read_in_small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: rows that are held at a time are bounded by their number of scalars, too."""
    monkeypatch.setattr(module, "MOST_LOGITS", 50)
    for name in ALL:
        assert [len(part) for part in predictor(name).distributions([np.arange(15) % V])] == [7, 7, 1]


def test_the_caller_keeps_its_threads() -> None:
    """Law: the caller's matrix products run on as many threads as before, between two pieces and at the end."""
    with blas_threads(2):
        threads, pieces = blas_thread_count(), [np.array([1, 2, 3])] * 3
        for reset in (False, True):
            names = [*NETWORKS[:3], *([] if reset else ADAPTING)]
            for _ in zip(*(predictor(name).nats(pieces, reset=reset) for name in names), strict=False):
                assert blas_thread_count() == threads
            assert blas_thread_count() == threads


def test_threads_that_limit_threads_at_once() -> None:
    """Law: blocks that overlap, as those of two threads do, leave the number of threads as it was."""
    with blas_threads(2):
        before = blas_thread_count()
        first, second = blas_threads(1), blas_threads(1)
        for block in (first, second):
            block.__enter__()
        for block in (first, second):
            assert blas_thread_count() == 1
            block.__exit__(None, None, None)
        assert blas_thread_count() == before


def test_the_parameters_of_a_loaded_network_stay(model: TrainedModel) -> None:
    """Law: a change that the network would not follow is refused."""
    for array in (model.params.flat, *model.params.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


# --------------------------------------------------------------------------------------------------- a trained model


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return load(trained_run())


def predicted(model: TrainedModel, text: str | list[str], **choices: bool) -> Floats:
    return np.concatenate([*model.predictions(text, **choices), np.empty((0, len(model.vocabulary) + 1))])


def test_probabilities_cost_what_is_scored(model: TrainedModel) -> None:
    """Law: the character that came has the surprisal of `surprisal`, unknown ones, too."""
    log_p, ids = predicted(model, TEXT), model.vocabulary.encode(TEXT, unknown=True)
    nats = model.vocabulary.add_unknown_cost(-log_p[np.arange(len(ids)), ids], ids)
    assert np.count_nonzero(ids == model.vocabulary.unknown) == 4
    np.testing.assert_allclose(nats, model.surprisal(TEXT), atol=1e-4)
    np.testing.assert_allclose(np.exp(log_p[0]), model.next_probs(), atol=1e-6)


def test_pieces_and_reset(model: TrainedModel) -> None:
    """Law: pieces are one text; with reset each is one of its own; an empty one changes nothing."""
    pieces = [TEXT[:3], "", TEXT[3:400], TEXT[400:]]
    np.testing.assert_allclose(predicted(model, pieces), predicted(model, TEXT), atol=1e-5)
    apart = np.concatenate([predicted(model, piece) for piece in pieces])
    np.testing.assert_allclose(predicted(model, pieces, reset=True), apart, atol=1e-12)
    assert np.abs(apart - predicted(model, TEXT)).max() > 1e-3
    assert predicted(model, "").shape == (0, len(model.vocabulary) + 1)


def test_activations_are_those_of_reading(model: TrainedModel) -> None:
    """Law: after each character what one forward pass over the text so far gives; gates between 0 and 1; copies."""
    windows = list(model.activations(TEXT))
    layer = {name: np.concatenate([layers[0][name] for layers in windows]) for name in windows[0][0]}
    assert list(layer) == ["h", "z", "r", "n"] and layer["h"].shape == (len(TEXT), 8)
    for count in (1, 2, 255, 256, 257):
        *_, (last,) = model.activations(TEXT[:count])
        for name, array in last.items():
            np.testing.assert_allclose(layer[name][count - 1], array[-1], atol=1e-6)
    assert all(0 <= layer[gate].min() <= layer[gate].max() <= 1 for gate in "zr")
    logits = layer["h"].astype(float) @ model.params["readout.W"] + model.params["readout.b"]
    np.testing.assert_allclose(log_softmax(logits)[:-1], predicted(model, TEXT)[1:], atol=1e-5)
    assert list(model.activations("")) == []


def test_activations_of_several_layers() -> None:
    """Law: one mapping a layer, and of an LSTM all its names."""
    (layers,) = Network(*random_model(0, layers=2, cell="lstm"), START).activations(np.arange(6))
    assert [list(layer) for layer in layers] == [["h", "c", "tanh_c", "i", "f", "o", "g"]] * 2


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.integers(-20, 0)),
    st.integers(1, 12),
)
def test_the_likeliest(log_p: Floats, count: int) -> None:
    """Law: k of them, none twice, in falling order, and none that was left out is likelier; ties by their ids."""
    ids, p = likeliest(log_p, count)
    k = min(count, log_p.shape[1])
    assert ids.shape == p.shape == (len(log_p), k)
    for row, chosen, shares in zip(log_p, ids.tolist(), p, strict=True):
        np.testing.assert_array_equal(shares, np.exp(row[chosen]))
        assert chosen == sorted(range(len(row)), key=lambda one: (-row[one], one))[:k]
