"""What is chosen for a text: it can always be trained, it follows the budget, and given options are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import few_examples

from charlm.config import MINUTES, TrainSpec, steps_per_epoch
from charlm.corpus.corpus import Corpus
from charlm.errors import CorpusError, SpecError
from charlm.parallel import workers
from charlm.parallel.workers import processors
from charlm.text.batches import fitting_window
from charlm.text.vocabulary import Vocabulary
from charlm.training import auto_config
from charlm.training.auto_config import (
    LEAST_UPDATES,
    OF_AN_OPTIMIZER,
    PATIENCE,
    PRESETS,
    SIZES,
    WINDOWS,
    batch_for,
    choose,
    most_passes,
    regularisation_for,
    size_for,
)
from charlm.training.cost_model import work_per_second
from charlm.training.new_run import new_run

ALPHABET = "".join(map(chr, range(0x100, 0x100 + 3000)))
POWER = 3e10  # of a typical processor, in the units of charlm.training.cost_model


def corpus(characters: int, alphabet: int = 60) -> Corpus:
    """A text of so many characters, without its file."""
    ids = np.zeros(characters, np.uint16)
    return Corpus("text", (), "0" * 64, Vocabulary(ALPHABET[:alphabet]), ids, ())


@pytest.fixture(autouse=True)
def one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine is the same."""
    monkeypatch.setattr(auto_config, work_per_second.__name__, lambda: POWER)
    for module in (auto_config, workers):
        monkeypatch.setattr(module, processors.__name__, lambda: 2)


def not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test fail if this machine's speed is measured."""
    monkeypatch.setattr(auto_config, work_per_second.__name__, lambda: pytest.fail("measured"))


@few_examples
@given(
    characters=st.integers(3, 3_000_000),
    alphabet=st.integers(2, 3000),
    budget=st.sampled_from(
        [{}, {"minutes": 0.01}, {"minutes": 600.0}, {"steps": 1}, {"epochs": 0.5}, {"steps": 10**9}]
    ),
)
def test_every_text_has_a_recipe(characters: int, alphabet: int, budget: dict[str, Any]) -> None:
    """Law: whatever the text and the budget, there are windows to train on, and a network to train."""
    chosen = choose(corpus(characters, alphabet), **budget)
    spec = chosen.training
    training = characters - max(1, round(characters / 10))
    window, batch = fitting_window(training, spec.window, spec.batch)
    assert (window, batch) == (spec.window, spec.batch) or training < 32
    assert steps_per_epoch(TrainSpec(window=window, batch=batch), training) >= 1
    assert chosen.network["hidden"] in SIZES and chosen.network["layers"] == 1
    assert {name: getattr(spec, name) for name in budget} == budget
    assert "\n" not in chosen.sentence and str(chosen.network["hidden"]) in chosen.sentence


@few_examples
@given(characters=st.integers(1000, 10**8), budgets=st.tuples(st.floats(0.01, 600), st.floats(0.01, 600)))
def test_more_time_is_never_a_smaller_network(characters: int, budgets: tuple[float, float]) -> None:
    """Law: with the same batch, sizes grow with the budget, and with the text."""
    smaller, larger = sorted(budgets)

    def size(characters: int, minutes: float) -> int:
        return int(choose(corpus(characters), minutes=minutes, batch=32, window=100).network["hidden"])

    assert size(characters, smaller) <= size(characters, larger)
    assert size(characters // 10, larger) <= size(characters, larger)


@few_examples
@given(strains=st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 1e4)))
def test_dropout_grows_with_the_strain(strains: tuple[float, float]) -> None:
    """Law: much for what a large network reads often, and none for what is read once or twice."""
    little, much = (regularisation_for(strain) for strain in sorted(strains))
    assert all(0 <= little[name] <= much[name] < 1 for name in little)
    assert regularisation_for(1.9) == {"dropout": 0.0, "input_dropout": 0.0}


@few_examples
@given(characters=st.integers(2, 10**9))
def test_a_batch_fits(characters: int) -> None:
    """Law: a text is never asked for more than one window, and a large one gets the largest batch."""
    batch, window = batch_for(characters)
    assert batch >= 1 and (batch * window <= characters or characters < 32)
    assert characters < 10**6 or (batch, window) == (64, 100)


GIVEN: dict[str, Any] = {
    "hidden": 77,
    "layers": 3,
    "embedding": 5,
    "cell": "lstm",
    "batch": 3,
    "window": 17,
    "dropout": 0.11,
    "input_dropout": 0.03,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "epochs": 2.5,
    "patience": None,
    "clip_norm": None,
    "workers": 1,
}


@pytest.mark.parametrize("preset", [None, *PRESETS])
@few_examples
@given(names=st.sets(st.sampled_from(list(GIVEN))))
def test_given_options_are_kept(preset: str | None, names: set[str]) -> None:
    """Law: only unset options are chosen; a preset comes before the choice, and after given options."""
    given = {name: GIVEN[name] for name in names}
    chosen = choose(corpus(50_000), preset, **given)
    everything = vars(chosen.training) | chosen.network
    expected = {**PRESETS.get(preset or "", {}), **given}
    if "optimizer" in names and preset:  # another optimizer has its own defaults
        for own in set(OF_AN_OPTIMIZER) - names:
            del expected[own]
    assert {name: everything[name] for name in expected} == expected


@pytest.mark.parametrize("budget", [{"steps": 500}, {"epochs": 3.0}, {"steps": 500, "epochs": 3.0}])
def test_updates_and_passes_need_no_speed(budget: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: without minutes in the budget the choice is the same on every machine, and nothing is measured."""
    not_measured(monkeypatch)
    first = choose(corpus(200_000), **budget)
    monkeypatch.setattr(workers, processors.__name__, lambda: 64)
    assert choose(corpus(200_000), **budget) == first
    assert first.training.minutes is None


def test_minutes_and_passes() -> None:
    """Law: the default is three minutes, and a short text ends after some passes, unless epochs are given."""
    usual = choose(corpus(5_000)).training
    most = most_passes(4_500, usual.batch * usual.window)
    assert (usual.minutes, usual.epochs, usual.patience) == (MINUTES, most, PATIENCE)
    assert choose(corpus(5_000), minutes=None, steps=None, epochs=None).training == usual
    assert choose(corpus(5_000), minutes=9.0, epochs=1e6).training.epochs == 1e6


def test_impossible_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: by name, before anything is measured."""
    not_measured(monkeypatch)
    with pytest.raises(SpecError, match="dropout"):
        choose(corpus(1000), dropout=2.0)
    with pytest.raises(SpecError, match="hidden"):
        choose(corpus(1000), hidden=0)
    with pytest.raises(CorpusError, match="too short"):
        choose(corpus(2))


def test_new_runs_begin_with_it(tmp_path: Path) -> None:
    """Law: a run without given options is trained as chosen."""
    run = new_run(corpus(3000), tmp_path / "run", hidden=24)
    chosen = choose(corpus(3000), hidden=24)
    assert run.config["model"]["hidden"] == 24
    spec = run.spec
    assert (spec.batch, spec.window, spec.dropout) == (
        chosen.training.batch,
        chosen.training.window,
        chosen.training.dropout,
    )


def test_impossible_candidates_are_skipped() -> None:
    """Law: only a given size may be refused; a tied read-out has the size of its embedding."""
    assert choose(corpus(50_000), layers=50, epochs=1.0).network["layers"] == 50
    assert choose(corpus(50_000), tied=True, embedding=256).network["hidden"] == 256
    chosen = choose(corpus(50_000), tied=True).network
    assert chosen["hidden"] == chosen["embedding"]
    with pytest.raises(SpecError, match="at most 1,000 layers"):
        choose(corpus(50_000), layers=5000)


@pytest.mark.parametrize("characters", [40, 60, 2000, 100_000])
@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_every_worker_has_a_sequence(count: int, characters: int, tmp_path: Path) -> None:
    """Law: the batch is at least the given number of workers, and a run can begin so."""
    text = corpus(characters)
    chosen = choose(text, workers=count)
    spec = new_run(text, tmp_path / "run", chosen.training, **chosen.network).spec
    assert spec.workers == count <= spec.batch == chosen.training.batch


@pytest.mark.parametrize(("characters", "alphabet", "least"), [(33_000, 2000, 48), (100_000, 3000, 96)])
def test_a_large_alphabet_does_not_make_the_network_small(characters: int, alphabet: int, least: int) -> None:
    """Law: rows that belong to one character do not count as parameters that memorise, and need no dropout."""
    chosen = choose(corpus(characters, alphabet), minutes=600.0)
    assert chosen.network["hidden"] >= least and chosen.training.dropout <= 0.5
    few, many = (size_for(characters, size, lambda model: 1e12, {"embedding": 32}) for size in (60, alphabet))
    assert few.hidden == many.hidden


def test_nor_in_a_large_text() -> None:
    """Law: what a network needs to read grows with its layers, not with an alphabet of mostly rare characters."""
    few, many = (size_for(10**8, size, lambda model: 2e7, {"embedding": 128}) for size in (60, 7000))
    assert few.hidden == many.hidden >= 384


@pytest.mark.parametrize("characters", [300, 5_000, 20_000, 100_000])
def test_the_passes_that_are_chosen_can_be_given(characters: int) -> None:
    """Law: with enough time, giving `--epochs` as it is chosen does not change the network."""
    usual = choose(corpus(characters), minutes=600.0)
    assert choose(corpus(characters), epochs=usual.training.epochs).network == usual.network


@pytest.mark.parametrize("characters", [5_000, 200_000])
def test_unused_time_changes_nothing(characters: int) -> None:
    """Law: if passes end training before its minutes do, more minutes are the same training."""
    some, more = (choose(corpus(characters), minutes=minutes) for minutes in (60.0, 600.0))
    assert some.network == more.network
    assert replace(some.training, minutes=None) == replace(more.training, minutes=None)


@pytest.mark.parametrize("characters", [200, 600, 5_000])
def test_short_texts_get_beyond_the_warm_up(characters: int) -> None:
    """Law: every text gets some hundred updates."""
    spec = choose(corpus(characters)).training
    assert spec.epochs is not None
    updates = spec.epochs * steps_per_epoch(spec, characters - round(characters / 10))
    assert updates >= 0.8 * LEAST_UPDATES


def test_a_long_window_has_a_small_batch() -> None:
    """Law: the batch follows a given window: a pass has about as many updates as otherwise."""
    spec = choose(corpus(110_000), window=500).training
    assert spec.window == 500 and steps_per_epoch(spec, 99_000) >= WINDOWS / 2


def test_a_budget_of_steps_or_epochs_is_used_up() -> None:
    """Law: nothing else ends training, and dropout follows its length."""
    short, long = (choose(corpus(20_000), steps=steps).training for steps in (100, 100_000))
    assert short.epochs is long.epochs is short.patience is long.patience is None
    assert short.dropout < long.dropout
    assert choose(corpus(20_000), epochs=500.0).training.patience is None


def test_another_optimizer_than_the_presets_own() -> None:
    """Law: it has its own learning rate; an unknown preset is refused by name."""
    spec = choose(corpus(20_000), "classic", optimizer="adam").training
    assert (spec.optimizer, spec.learning_rate, spec.resolved.learning_rate) == ("adam", None, 0.004)
    with pytest.raises(SpecError, match=r"classic.*'clasic'"):
        choose(corpus(20_000), "clasic")
