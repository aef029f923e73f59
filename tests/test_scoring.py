"""A score is that of one long pass over the text, however the text is read."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cell_oracles import variants
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import LANTERNS, charlm, plain_nats, random_model, trained_run

from charlm.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.nn.stack import State
from charlm.parallel.blas import blas_thread_count
from charlm.predict import long_text, short_texts, window_scorer
from charlm.predict.long_text import long_text_nats
from charlm.predict.network import Network
from charlm.predict.window_scorer import WindowScorer
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run
from charlm.scoring import score as scoring
from charlm.scoring.score import Score, score_ids, surprisals, total
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import load

ABC = Vocabulary("\nabcdef")


def random_ids(seed: int, count: int, vocabulary: int = 7) -> Ids:
    return np.random.default_rng(seed).integers(vocabulary, size=count)


def nats_of(model: CharLM, params: NamedArrays, *blocks: Ids, start: int = 0) -> Floats:
    """What the characters of all blocks cost, read as one long text."""
    scorer = WindowScorer(model, params, model.prepare(params))
    return np.concatenate(list(long_text_nats(scorer, blocks, start)))


def random_cells(seed: int, network: dict[str, Any], layers: int, scale: float) -> tuple[CharLM, NamedArrays]:
    """A random network. A plain one's U is shrunk until every state is forgotten, so that rounding is not amplified."""
    model, params = random_model(seed, layers=layers, scale=scale, **network)
    if network["cell"] == "rnn":
        for layer in range(layers):
            U = params[f"layer{layer}.U"]
            U *= 0.97 / np.linalg.norm(U, 2)
    return model, params


@pytest.mark.parametrize("cell", variants())
@settings(max_examples=6)
@given(
    seed=st.integers(0, 999),
    count=st.integers(1, 100) | st.integers(500, 1000),
    layers=st.integers(1, 2),
    scale=st.sampled_from([0.3, 1]),
    cut=st.floats(0, 1),
)
def test_lanes_are_one_long_pass(cell: str, seed: int, count: int, layers: int, scale: float, cut: float) -> None:
    """Law: the nats of any text are those of the documented equations, read once in order, also across blocks.

    Beside the equations, one lane is an oracle: its state is never cut, joined or compared.
    """
    model, params = random_cells(seed, variants()[cell], layers, scale)
    ids = random_ids(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_text, "LANE_MINIMUM", 100)
        nats = nats_of(model, params, ids[: int(cut * count)], ids[int(cut * count) :], start=3)
        patch.setattr(long_text, "LANES", 1)
        one_pass = nats_of(model, params, ids, start=3)
    assert nats.mean() == pytest.approx(one_pass.mean(), abs=1e-6)
    np.testing.assert_allclose(nats, one_pass, atol=1e-4)
    np.testing.assert_allclose(one_pass, plain_nats(model.spec, params, ids.tolist(), start=3), atol=1e-9)


@pytest.mark.parametrize("bias", [3.0, 9.0, 30.0])
def test_an_lstm_that_hardly_forgets(bias: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the same if the forget gates are nearly open, and the input gates nearly shut."""
    model, params = random_model(0, cell="lstm")
    H = model.spec.hidden
    params["layer0.W"][:, : 2 * H] = params["layer0.U"][:, : 2 * H] = 0
    params["layer0.b"][:H], params["layer0.b"][H : 2 * H] = -bias, bias
    monkeypatch.setattr(long_text, "LANE_MINIMUM", 100)
    ids = random_ids(1, 2000)
    expected = plain_nats(model.spec, params, ids.tolist(), start=0)
    assert nats_of(model, params, ids).mean() == pytest.approx(expected.mean(), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("bias", [-3.0, -6.0, -12.0, -30.0])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_gru_that_hardly_forgets(bias: float, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the same if the update gate is nearly shut, so that a state of long ago still counts."""
    model, params = random_model(0)
    params["layer0.W"][:, :5] = params["layer0.U"][:, :5] = 0
    params["layer0.b"][:5] = bias
    params["readout.W"] *= scale  # a small difference of two states is a large one of two predictions
    monkeypatch.setattr(long_text, "LANE_MINIMUM", 100)
    ids = random_ids(1, 2400)
    expected = plain_nats(model.spec, params, ids.tolist(), start=0)
    assert nats_of(model, params, ids).mean() == pytest.approx(expected.mean(), abs=1e-6, rel=1e-6)


def test_a_memory_longer_than_lanes_makes_them_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a network that remembers more than a lane, and less than the text, is read in fewer lanes, not in one."""
    model, params = random_model(0)
    params["layer0.W"][:, :5] = params["layer0.U"][:, :5] = 0
    params["layer0.b"][:5] = -4.0  # z = 0.018: a thousandth is left after 380 characters
    ids = random_ids(1, 6400)
    read: list[tuple[int, ...]] = []
    usual = WindowScorer.__call__

    def counted(self: WindowScorer, inputs: Ids, targets: Ids, state: State) -> tuple[Floats, State]:
        read.append(inputs.shape)
        return usual(self, inputs, targets, state)

    monkeypatch.setattr(long_text, "LANE_MINIMUM", 100)
    monkeypatch.setattr(WindowScorer, usual.__name__, counted)
    expected = plain_nats(model.spec, params, ids.tolist(), start=0)
    assert nats_of(model, params, ids).mean() == pytest.approx(expected.mean(), abs=1e-6)
    assert read[0][1] == 64
    assert sum(steps for steps, _ in read) < 6400 / 2
    assert sum(steps * lanes for steps, lanes in read) < 10 * 6400


@pytest.mark.parametrize("block", [1, 100, 2**18])
def test_the_size_of_blocks_does_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the state is carried over the edge of a block, and so is the character before it."""
    model, params = random_model(4, layers=2)
    ids = random_ids(4, 600, 6)  # without the unknown character
    monkeypatch.setattr(long_text, "BLOCK", block)
    monkeypatch.setattr(scoring, "BLOCK", block)
    expected, found = plain_nats(model.spec, params, ids.tolist(), start=0), score_ids(Network(model, params, 0), ids)
    assert found.characters == 600 and found.nats == pytest.approx(expected.sum(), rel=1e-7)


def test_scoring_changes_nothing() -> None:
    """Law: the same question twice has the same answer, and the parameters stay."""
    model, params = random_model(6)
    before = params.flat.copy()
    network, ids = Network(model, params, 0), random_ids(6, 1200)
    assert score_ids(network, ids) == score_ids(network, ids)
    np.testing.assert_array_equal(params.flat, before)


def test_a_trained_model() -> None:
    """Law: its score is that of the equations, read after a newline, in float32 too."""
    model = load(trained_run())
    text = LANTERNS.read_text(encoding="utf-8")[:1000]
    checkpoint = load_checkpoint(trained_run() / "best.safetensors")
    ids = [checkpoint.vocabulary.characters.index(character) for character in text]
    expected = plain_nats(checkpoint.spec, checkpoint.params, ids, checkpoint.vocabulary.characters.index("\n"))
    assert model.score(text).nats_per_char == pytest.approx(expected.mean(), abs=1e-5)
    assert model.score(text).characters == 1000


def test_a_uniform_model() -> None:
    """Law: it hesitates between all V characters."""
    result = total(surprisals(Network(*random_model(0, vocabulary=8, scale=0.0), 0), ABC, ["abba"] * 100))
    assert result.bits_per_char == pytest.approx(3)
    assert result.perplexity == pytest.approx(8)


@given(
    a=st.tuples(st.integers(1, 10**6), st.floats(0, 1e5)),
    b=st.tuples(st.integers(1, 10**6), st.floats(0, 1e5)),
)
def test_arithmetic(a: tuple[int, float], b: tuple[int, float]) -> None:
    """Law: scores add, bits are nats / ln 2, and the rest are rates of these."""
    together = Score(*a) + Score(*b)
    assert (together.characters, together.nats) == (a[0] + b[0], a[1] + b[1])
    assert together.bits == pytest.approx(together.nats / math.log(2))
    assert together.nats_per_char * together.characters == pytest.approx(together.nats)
    assert together.bits_per_char * together.characters == pytest.approx(together.bits)


def test_perplexity() -> None:
    """Law: e to the nats per character, at any size of these."""
    assert Score(10, 10 * math.log(5)).perplexity == pytest.approx(5)
    assert Score(1, 5000.0).perplexity == math.inf


def test_an_empty_text() -> None:
    """Law: no characters, no nats, and no rate."""
    model = load(trained_run())
    for result in (model.score(""), model.score_pieces([]), model.score_pieces(["", ""]), *model.score(["", ""])):
        assert (result.characters, result.nats) == (0, 0.0)
        assert math.isnan(result.nats_per_char) and math.isnan(result.bits_per_char)
        assert math.isnan(result.perplexity)


def test_several_texts_have_a_score_each() -> None:
    """Law: a sequence gives the scores of its texts, each from its own beginning, in any kind of sequence; one that
    holds something else is refused.
    """
    model = load(trained_run())
    texts = ["The lantern burns.", "", "Milano\nRoma\n"]
    alone = [model.score(text) for text in texts]
    for several in (texts, tuple(texts), np.array(texts), iter(texts), dict.fromkeys(texts)):
        found = model.score(several)
        assert [one.characters for one in found] == [one.characters for one in alone]
        assert [one.nats for one in found] == pytest.approx([one.nats for one in alone], rel=1e-6)
    assert model.score([]) == []
    for wrong in (b"The", ["The", 3.0], ["The", None]):
        with pytest.raises(TypeError, match="expected strings"):
            model.score(wrong)  # type: ignore[arg-type]


def test_every_character_has_a_probability() -> None:
    """Law: the probabilities of all Unicode scalar values are above 0, and their sum is 1."""
    model = load(trained_run())
    state = model.read("The lan")
    p = model.next_probs(state)
    assert p.shape == (len(model.vocabulary) + 1,) and p.sum() == pytest.approx(1, abs=1e-12) and p.min() > 0

    def probability(character: str) -> float:
        return math.exp(-model.surprisal("The lan" + character)[-1])

    known = [probability(character) for character in model.vocabulary.characters]
    np.testing.assert_allclose(known, p[:-1], rtol=1e-4, atol=1e-9)
    others = 0x110000 - 0x800 - len(known)
    for other in "€я\U0001f600\x00\U0010ffff":
        assert probability(other) * others == pytest.approx(p[-1], rel=1e-4)
    assert sum(known) + others * probability("€") == pytest.approx(1, abs=1e-6)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_every_text_has_a_finite_score(text: str) -> None:
    """Law: no character is impossible, none has no number, and an unknown one costs more than its choice alone."""
    model = load(trained_run())
    nats = model.surprisal(text)
    assert nats.shape == (len(text),) and np.isfinite(nats).all() and (nats >= 0).all()
    assert model.score(text).nats == pytest.approx(nats.sum())
    unknown = [character not in model.vocabulary.characters for character in text]
    assert (nats[unknown] > math.log(model.vocabulary.others)).all()


@settings(max_examples=8)
@given(
    texts=st.lists(st.text("\nabcdef€", max_size=90), max_size=30),
    batch=st.integers(1, 40),
    held=st.integers(1, 900),
)
def test_many_short_texts(texts: list[str], batch: int, held: int) -> None:
    """Law: in any batches, each text costs what it costs alone; the order stays."""
    network = Network(*random_model(3, vocabulary=8, layers=2, cell="lstm"), ABC.start)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short_texts, "TEXTS", batch)
        patch.setattr(short_texts, "HELD", held)
        found = list(surprisals(network, ABC, iter(texts), reset=True))
    assert len(found) == len(texts)
    for text, nats in zip(texts, found, strict=True):
        (alone,) = surprisals(network, ABC, [text])
        np.testing.assert_allclose(nats, alone, atol=1e-9)


@settings(max_examples=10)
@given(
    length=st.integers(0, 2000),
    cuts=st.lists(st.integers(0, 2000), max_size=5),
    block=st.integers(1, 1500),
    lanes=st.integers(1, 64),
    least=st.integers(20, 700),
)
def test_bits_of_a_text_are_those_of_its_characters(
    length: int, cuts: list[int], block: int, lanes: int, least: int
) -> None:
    """Law: the bits of a text are the sum of its characters', whatever the pieces, the blocks and the lanes in which
    it is read: to 1e-6 bits per character.
    """
    model = load(trained_run())
    text = (LANTERNS.read_text(encoding="utf-8") + "né€")[-length:][:length]
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    straight = model.score(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_text, "BLOCK", block)
        patch.setattr(scoring, "BLOCK", block)
        patch.setattr(long_text, "LANES", lanes)
        patch.setattr(long_text, "LANE_MINIMUM", least)
        sums = [
            sum(float(nats.sum()) for nats in model.surprisals(pieces)) / math.log(2),
            float(model.surprisal(text).sum()) / math.log(2),
            model.score_pieces(pieces).bits,
        ]
    assert sums == pytest.approx([straight.bits] * 3, abs=1e-6 * max(1, len(text)))


def test_the_score_of_the_validation_part_is_what_training_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: `charlm score` of that text, read from its beginning, is the last validation loss of the metrics."""
    run = Run.open(trained_run())
    text = LANTERNS.read_text(encoding="utf-8")
    (tmp_path / "validation.txt").write_text(text[len(text) - round(len(text) * 0.1) :], encoding="utf-8")
    *_, last = [record["nats"] for record in run.metrics() if record["split"] == "validation"]
    done = charlm(capsys, "score", run.last_path, tmp_path / "validation.txt", "--json")
    assert done.json["nats_per_char"] == pytest.approx(last, abs=1e-6)


@pytest.mark.parametrize("text", ["", "T", "The lantern burns\n", "a€\x00"])
def test_the_probabilities_of_the_next_character(text: str) -> None:
    """Law: one for every id, none of them negative, and their sum is 1, whatever was read, in one piece or several."""
    model = load(trained_run())
    state = None
    for character in text:
        state = model.read(character, state)
    p = model.next_probs(state)
    assert p.shape == (model.spec.vocabulary,) and p.dtype == np.float64 and p.min() >= 0
    assert p.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(p, model.next_probs(model.read(text)), rtol=1e-4, atol=1e-9)


def test_a_sample_scores_as_it_was_drawn() -> None:
    """Law: the probabilities with which its characters were drawn are those of its score."""
    model = load(trained_run())
    text = "".join(model.sample("", temperature=1, length=300))
    state, costs = model.read(""), []
    for character in text:
        costs.append(-math.log(model.next_probs(state)[model.vocabulary.characters.index(character)]))
        state = model.read(character, state)
    assert model.score(text).nats == pytest.approx(sum(costs), rel=1e-6)
    np.testing.assert_array_equal(model.next_probs(model.read("", state)), model.next_probs(state))
    np.testing.assert_allclose(model.next_probs(model.read(text)), model.next_probs(state), rtol=1e-4, atol=1e-9)


def test_nothing_is_written() -> None:
    """Law: scoring leaves the run as it is."""
    before = sorted((file.name, file.stat().st_mtime_ns) for file in trained_run().iterdir())
    load(trained_run()).score("The")
    assert sorted((file.name, file.stat().st_mtime_ns) for file in trained_run().iterdir()) == before


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_read_what_one_reads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the same for any number of threads, whether they get many lanes each or few."""
    monkeypatch.setattr(long_text, "LANE_MINIMUM", 50)
    monkeypatch.setattr(window_scorer, blas_thread_count.__name__, lambda: threads)
    model, params = random_model(2, layers=2, cell="lstm")
    for count in (40, 700, 1500):
        ids = random_ids(8, count)
        expected = plain_nats(model.spec, params, ids.tolist(), start=0)
        np.testing.assert_allclose(nats_of(model, params, ids), expected, atol=1e-6)
