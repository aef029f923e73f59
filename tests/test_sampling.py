"""Sampling: from the predictor's own distribution, as cut by the options, and the same for the same random seed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import plain_log_probabilities, random_model, trained_run

from charlm.arrays import Floats, Ids
from charlm.errors import SpecError
from charlm.parallel.blas import blas_thread_count
from charlm.predict.network import Network
from charlm.predict.predictor import Predictor, Reader
from charlm.runs.checkpoint import load_checkpoint
from charlm.sampling import sample as module
from charlm.sampling.sample import LEAST_SAMPLES, STEPS, SampleSpec, choose, sample
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import load

LARGEST = float(np.nextafter(1.0, 0.0))
LOGITS = np.array([2.0, -1.0, 0.5, 0.5, -30.0, 1.2], np.float32)


def softmax(logits: Floats) -> Floats:
    p = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(p / p.sum())


def chosen(logits: Floats, spec: SampleSpec, random: float) -> int:
    (found,) = choose(logits[None], spec, np.array([random]))
    return int(found)


def drawn(spec: SampleSpec, count: int = 4000) -> Counter[int]:
    randoms = np.random.default_rng(7).random(count)
    return Counter(choose(np.tile(LOGITS, (count, 1)), spec, randoms).tolist())


def text_of(seed: str = "T", rng_seed: int = 0, **choices: Any) -> str:
    return "".join(load(trained_run()).sample(seed, rng_seed=rng_seed, **choices))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature: float) -> None:
    """Law: chi-square over the characters that can be expected at all stays below its 99.9 % point (5 degrees)."""
    count = 4000
    expected = softmax(LOGITS / np.float32(temperature)) * count
    seen = drawn(SampleSpec(temperature=temperature), count)
    common = expected > 5
    chi_square = sum((seen[i] - expected[i]) ** 2 / expected[i] for i in np.flatnonzero(common).tolist())
    assert chi_square < 20.5
    assert sum(seen[i] for i in np.flatnonzero(~common).tolist()) < 5


def test_temperature_0_takes_the_likeliest() -> None:
    """Law: argmax, whatever the random number."""
    for random in (0.0, 0.5, LARGEST):
        assert chosen(LOGITS, SampleSpec(temperature=0), random) == 0
        assert chosen(LOGITS[::-1], SampleSpec(temperature=0), random) == 5


@pytest.mark.parametrize("temperature", [1e-3, 1e-10, 1e-300, 5e-324])
def test_temperatures_near_0(temperature: float) -> None:
    """Law: the likeliest, without a warning."""
    assert drawn(SampleSpec(temperature=temperature), 50) == {0: 50}


@pytest.mark.parametrize(
    ("choices", "support"),
    [
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 5}),
        ({"top_k": 4}, {0, 2, 3, 5}),
        ({"top_k": 10**12}, {0, 1, 2, 3, 5}),
        ({"top_p": 1e-9}, {0}),
        ({"top_p": 0.5}, {0}),
        ({"top_p": 0.6}, {0, 5}),
        ({"top_p": 0.97}, {0, 2, 3, 5}),
        ({"top_p": 1.0}, {0, 1, 2, 3, 5}),
        ({"top_k": 2, "top_p": 1.0}, {0, 5}),
        ({"top_k": 5, "top_p": 0.6}, {0, 5}),
    ],
)
def test_support(choices: dict[str, float], support: set[int]) -> None:
    """Law: p is about .51, .23, .11, .11, .03: exactly the k likeliest, or the fewest that reach p, can come."""
    assert set(drawn(SampleSpec(temperature=1.0, **choices))) == support  # type: ignore[arg-type]


def test_what_is_kept_keeps_its_odds() -> None:
    """Law: among the kept ones the ratios are those of the softmax."""
    seen = drawn(SampleSpec(temperature=1.0, top_k=2))
    p = softmax(LOGITS)
    assert seen[0] / seen[5] == pytest.approx(p[0] / p[5], rel=0.1)


@given(
    logits=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=9),
    temperature=st.just(0.0) | st.floats(1e-6, 100),
    top_k=st.none() | st.integers(1, 12),
    top_p=st.none() | st.floats(1e-12, 1),
    random=st.floats(0, LARGEST),
)
def test_any_logits_give_an_id(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None, random: float
) -> None:
    """Law: always an id, one of the top_k likeliest, and with top_k 1 the likeliest."""
    array = np.array(logits, np.float32)
    found = chosen(array, SampleSpec(1, temperature, top_k, top_p), random)
    assert 0 <= found < len(logits)
    if top_k == 1 or temperature == 0:
        assert array[found] == array.max()
    if top_k is not None:
        assert (array > array[found]).sum() < top_k


def test_the_largest_random_number() -> None:
    """Law: it gives the last character with a probability above 0, never one beyond."""
    assert chosen(LOGITS, SampleSpec(temperature=1.0), LARGEST) == 5
    assert chosen(LOGITS[::-1], SampleSpec(temperature=1.0, top_k=2), LARGEST) == 5
    for size in range(1, 200):
        assert chosen(np.zeros(size, np.float32), SampleSpec(temperature=1.0), LARGEST) == size - 1
        zeros = np.append(np.zeros(size), -1e9)
        assert chosen(zeros, SampleSpec(temperature=1.0, top_p=1.0), LARGEST) == size - 1


@given(
    logits=st.lists(st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4), min_size=1, max_size=5),
    top_k=st.none() | st.integers(1, 4),
    top_p=st.none() | st.floats(1e-6, 1),
    seed=st.integers(0, 99),
)
def test_samples_choose_apart(logits: list[list[float]], top_k: int | None, top_p: float | None, seed: int) -> None:
    """Law: what a sample chooses beside others is what it chooses alone."""
    rows, randoms = np.array(logits, np.float32), np.random.default_rng(seed).random(len(logits))
    spec = SampleSpec(temperature=0.9, top_k=top_k, top_p=top_p)
    alone = [chosen(row, spec, random) for row, random in zip(rows, randoms, strict=True)]
    assert choose(rows, spec, randoms).tolist() == alone


class Script(Predictor):
    """Predicts one text, whatever it reads. read: the characters that were read so far."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self.start, self.V, self.read = vocabulary.start, len(vocabulary) + 1, ""
        self.text, self.vocabulary = text, vocabulary

    def reader(self, prompt: Ids | None = None) -> Reader:
        return ScriptReader(self)


class ScriptReader(Reader):
    """Records what it reads."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def logits(self) -> Floats:
        expected = self.script.vocabulary.encode(self.script.text[len(self.script.read)])
        return np.where(np.arange(self.script.V) == expected, 0.0, -100.0)[None]

    def read(self, ids: Ids) -> None:
        self.script.read += self.script.vocabulary.decode(ids)

    def rows(self, places: Ids) -> Reader:
        return self


@given(
    text=st.text("ab", max_size=40), stop=st.text("ab", min_size=1, max_size=7) | st.sampled_from(["abab", "aabaaab"])
)
def test_the_stop(text: str, stop: str) -> None:
    """Law: a sample is everything before the first `stop`, or all of it. Each character comes as soon as it can no
    longer be a part of a `stop`, and none is read after one.
    """
    script = Script(text, Vocabulary("ab"))
    spec, passed = SampleSpec(len(text), temperature=0, stop=stop), ""
    for character in sample(script, script.vocabulary, "", spec, np.random.default_rng(0)):
        passed += character
        held = text[len(passed) : len(script.read) + 1]  # the last one is chosen and not yet read
        assert len(held) < len(stop) or len(script.read) + 1 >= len(text)
        assert stop not in script.read
    assert passed == text.split(stop)[0]
    assert stop not in script.read


def test_the_stop_in_a_sample() -> None:
    """Law: the sample is the beginning of the one without it, up to its first occurrence."""
    whole = text_of(length=300)
    for stop in ("e", "th", " a", whole[100:105], "\n", "no such words"):
        stopped = text_of(length=300, stop=stop)
        assert stopped == whole.split(stop)[0]


def test_the_same_numbers_give_the_same_sample() -> None:
    """Law: by rng_seed alone; another number gives another text; length is exact and only cuts."""
    assert text_of(rng_seed=5, length=80) == text_of(rng_seed=5, length=80)
    assert text_of(rng_seed=5, length=80) != text_of(rng_seed=6, length=80)
    assert text_of(rng_seed=5, length=80).startswith(text_of(rng_seed=5, length=30))
    for length in (0, 1, 33):
        assert len(text_of(length=length)) == length


@pytest.mark.parametrize("seed", ["", "T", "The lantern"])
def test_a_cold_sample_is_the_plain_one(seed: str) -> None:
    """Law: at temperature 0, the likeliest character by the documented equations, read after a newline and the seed."""
    checkpoint = load_checkpoint(trained_run() / "best.safetensors")
    characters = checkpoint.vocabulary.characters
    text = "\n" + seed
    for _ in range(25):
        ids = [characters.index(c) for c in text]
        *_, log_p = plain_log_probabilities(checkpoint.spec, checkpoint.params, ids)
        text += characters[int(np.argmax(log_p))]
    assert text_of(seed, temperature=0, length=25) == text[1 + len(seed) :]


def test_samples_follow_the_model() -> None:
    """Law: second characters come as often as the documented equations say, given the seed."""
    model, params = random_model(3, vocabulary=4)
    vocabulary, rng = Vocabulary("\nabc"), np.random.default_rng(1)
    network, spec = Network(model, params, vocabulary.start), SampleSpec(length=1, temperature=1.0)
    seen = Counter(next(sample(network, vocabulary, "ab", spec, rng)) for _ in range(1500))
    *_, log_p = plain_log_probabilities(model.spec, params, [0, 1, 2])
    expected = 1500 * np.exp(log_p)
    chi_square = sum((seen[c] - e) ** 2 / e for c, e in zip(vocabulary.characters, expected, strict=True))
    assert chi_square < 16.3  # 99.9 % at 3 degrees


@pytest.mark.parametrize("stop", [None, "e", "\n"])
def test_many_at_once_are_the_single_ones(stop: str | None) -> None:
    """Law: the sample of a number is the same alone and among others."""
    model = load(trained_run())
    texts = model.samples("T", rng_seed=3, numbers=(4, 0, 9), length=60, stop=stop)
    assert texts == ["".join(model.sample("T", rng_seed=(3, n), length=60, stop=stop)) for n in (4, 0, 9)]
    assert model.samples("T", numbers=range(2), length=0) == ["", ""] and model.samples("T", numbers=()) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_the_samples(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: any number of threads gives the same samples, in their order, to the full length."""
    monkeypatch.setattr(module, blas_thread_count.__name__, lambda: threads)
    model, numbers = load(trained_run()), range(3 * LEAST_SAMPLES)
    texts = model.samples("T", rng_seed=3, numbers=numbers, length=STEPS + 20)
    assert [len(text) for text in texts] == [STEPS + 20] * len(numbers)
    for n in (0, 20, 47):
        assert texts[n] == "".join(model.sample("T", rng_seed=(3, n), length=STEPS + 20))


def test_unknown_seed_text() -> None:
    """Law: unknown characters are read as one and the same, and never written."""
    model = load(trained_run())
    text = "".join(model.sample("T€€", length=200))
    assert text == "".join(model.sample("Tяя", length=200)) != "".join(model.sample("T", length=200))
    assert set(text) <= set(model.vocabulary.characters)


def test_the_unknown_character_is_never_written() -> None:
    """Law: not even by a network that is sure of it."""
    model, params = random_model(0, vocabulary=5)
    params["readout.b"][4] = 1000
    network, vocabulary, rng = Network(model, params, 0), Vocabulary("\nabc"), np.random.default_rng()
    text = "".join(sample(network, vocabulary, "", SampleSpec(length=50, temperature=1), rng))
    assert len(text) == 50 and set(text) <= set("\nabc")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"temperature": value} for value in (-0.1, math.nan, math.inf, 101)),
        *({"top_p": value} for value in (0, -1, 1.1, math.nan)),
        {"length": -1},
        {"top_k": 0},
        {"top_k": -1},
        {"stop": ""},
    ],
)
def test_impossible_choices(wrong: dict[str, float]) -> None:
    """Law: refused by name, in one line."""
    with pytest.raises(SpecError, match=next(iter(wrong)).replace("_", "-")) as raised:
        SampleSpec(**wrong)  # type: ignore[arg-type]
    assert len(str(raised.value).splitlines()) == 1
