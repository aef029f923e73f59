"""Mixtures: the interpolation of two predictors, never worse than either on the text that the weight is fitted to."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, charlm, copy_of_trained_run, lanterns, run_to_end, short_corpus, tiny_run, trained_run

from charlm.errors import RunError
from charlm.predict import run_mixture
from charlm.predict.mixture import Mixture, best_weight, mixed_nats
from charlm.predict.network import Network
from charlm.predict.ngram import NGram
from charlm.predict.ngram_counts import Counts
from charlm.predict.run_mixture import fit_mix, mixture_for
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.figures import Mix
from charlm.runs.run import Run
from charlm.sampling.sample import SampleSpec, sample
from charlm.trained_model import TrainedModel, load
from charlm.training.baselines import measure_baselines
from charlm.training.report import verdict

TEXT = LANTERNS.read_text("utf-8")[-700:]
nats = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=50)


@given(nats)
def test_the_weight_is_the_best(pairs: list[tuple[float, float]]) -> None:
    """Law: no other weight costs less, found by trying many; the ends are either model alone."""
    network, counted = np.array(pairs).T

    def cost(weight: float) -> float:
        return -sum(math.log(weight * math.exp(-a) + (1 - weight) * math.exp(-b)) for a, b in pairs)

    best = best_weight(network, counted)
    assert 0 <= best <= 1
    assert cost(best) <= min(cost(weight) for weight in np.linspace(0, 1, 51)) + 1e-6 * (1 + cost(best))
    mixed = mixed_nats(network, counted, best).sum()
    assert mixed == pytest.approx(cost(best), rel=1e-9, abs=1e-9)
    assert mixed <= min(network.sum(), counted.sum()) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("network", "counted", "weight"), [([1.0, 2.0], [2.0, 3.0], 1), ([2.0], [1.0], 0), ([1], [1], 1)]
)
def test_one_that_is_always_better_stays_alone(network: list[float], counted: list[float], weight: float) -> None:
    assert best_weight(np.array(network), np.array(counted)) == weight


def mixed() -> TrainedModel:
    """The model that was trained once for all tests, mixed."""
    model = load(trained_run(), mix=True)
    assert model.mixture is not None and model.mix is not None and 0 <= model.mix.weight < 1
    return model


@pytest.mark.parametrize("reset", [False, True])
def test_it_is_the_interpolation_of_both(reset: bool) -> None:
    """Law: surprisals and predictions are those of the network and of the n-gram, interpolated; for unknown characters,
    too.
    """
    model, pieces = mixed(), [TEXT[:300] + "€é", "", TEXT[300:301], TEXT[301:620]]
    assert model.mixture is not None
    vocabulary, weight = model.vocabulary, model.mixture.weight
    ids = [vocabulary.encode(piece, unknown=True) for piece in pieces]
    network, counted = (
        np.exp(np.concatenate(list(each.distributions(ids, reset=reset))))
        for each in (Network.of(load_checkpoint(trained_run() / "best.safetensors")), model.mixture.ngram)
    )
    expected = np.log(weight * network + (1 - weight) * counted)
    found = np.concatenate(list(model.predictions(pieces, reset=reset)))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    every = np.concatenate(ids)
    costs = vocabulary.add_unknown_cost(-expected[np.arange(len(every)), every], every)
    np.testing.assert_allclose(np.concatenate(list(model.surprisals(pieces, reset=reset))), costs, atol=2e-5)


def test_reading_and_scoring_agree() -> None:
    """Law: `next_probs`, read on character by character, is what `predictions` says; both together score better."""
    model = mixed()
    rows, state = np.concatenate(list(model.predictions(TEXT[:40]))), model.read("")
    for row, character in zip(rows, TEXT, strict=False):
        np.testing.assert_allclose(np.log(model.next_probs(state)), row, atol=2e-5)
        state = model.read(character, state)
    np.testing.assert_allclose(model.next_probs(state), model.next_probs(model.read(TEXT[:40])), atol=1e-6)
    assert model.score(TEXT).nats == pytest.approx(model.surprisal(TEXT).sum(), rel=1e-9)
    assert model.score(TEXT).nats < load(trained_run()).score(TEXT).nats


def test_samples_are_drawn_from_it() -> None:
    """Law: at temperature 0 each character is the likeliest of `next_probs`; one by one is as side by side."""
    model = mixed()
    text = "".join(model.sample("The ", length=30, temperature=0))
    for at, character in enumerate(text):
        p = model.next_probs(model.read("The " + text[:at]))[:-1]
        assert p[model.vocabulary.characters.index(character)] == pytest.approx(p.max(), rel=1e-4)
    many = model.samples("The ", length=30, rng_seed=3, numbers=range(3))
    assert many == ["".join(model.sample("The ", length=30, rng_seed=(3, number))) for number in range(3)]
    assert many != load(trained_run()).samples("The ", length=30, rng_seed=3, numbers=range(3))


def test_an_order_of_one() -> None:
    """Law: an n-gram without a context can be mixed with, too."""
    vocabulary, spec = lanterns().vocabulary, SampleSpec(length=9)
    ngram = NGram.of(Counts.of(lanterns().ids, len(vocabulary) + 1, 1), vocabulary.start)
    mixture, ids = Mixture(mixed().predictor(), ngram, 0.5), vocabulary.encode(TEXT)
    rows, (costs,) = np.concatenate(list(mixture.distributions([ids]))), mixture.nats([ids])
    np.testing.assert_allclose(-rows[np.arange(700), ids], costs, atol=2e-5)
    assert len("".join(sample(mixture, vocabulary, "T", spec, np.random.default_rng(0)))) == 9


# -------------------------------------------------------------------------------------------------- the one of a run


def test_what_is_fitted() -> None:
    """Law: the figures are those of the validation part, by each model alone and by both; both are never worse."""
    run = Run.open(trained_run())
    mix = Mix.of(run)
    assert mix is not None
    alone, model = load(run.best_path), mixed()
    text = lanterns().vocabulary.decode(lanterns().split(run.spec)[1][:])
    assert mix.network_nats == pytest.approx(alone.score(text).nats_per_char, abs=1e-6)
    assert mix.nats == pytest.approx(model.score(text).nats_per_char, abs=1e-6)
    assert mix.nats <= min(mix.network_nats, mix.ngram_nats)
    assert mix.step == alone.progress["step"]


def test_fitted_once_for_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: kept figures are used, and fitted again for a new best checkpoint."""
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    kept = fit_mix(run, lanterns())
    with monkeypatch.context() as patch:
        patch.setattr(run_mixture, best_weight.__name__, lambda *_: pytest.fail("fitted again"))
        assert fit_mix(run, lanterns()) == kept == Mix.of(run)
    replace(kept, step=kept.step - 1, weight=0.5).save(run)
    assert fit_mix(run, lanterns()) == kept == Mix.of(run)


def test_a_network_that_is_better_alone_stays_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: if mixing gains nothing, nothing is mixed, and a message says so."""
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    Mix(step=60, weight=1.0, nats=2.0, network_nats=2.0, ngram_nats=3.0).save(run)
    assert load(run.path, mix=True).surprisal(TEXT).tolist() == load(run.path).surprisal(TEXT).tolist()
    (tmp_path / "x.txt").write_text(TEXT)
    plain, both = (charlm(capsys, "score", run.path, tmp_path / "x.txt", *more) for more in ([], ["--mix"]))
    assert plain.out == both.out and not plain.err
    assert both.err.startswith("Not mixed: ") and both.err.count("2.000") == 2 and both.err.count("\n") == 1
    assert "Mixed with the n-gram" not in verdict(run)


def test_an_old_run_is_fitted_if_its_text_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: without the files the weight is fitted to the text again, nothing is written; without the text, an error."""
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    expected = load(run.path, mix=True).surprisal(TEXT)
    for missing in (["mix.json"], ["ngram.counts"]):
        for name in missing:
            (run.path / name).unlink()
        before = {path.name for path in run.path.iterdir()}
        np.testing.assert_array_equal(load(run.path, mix=True).surprisal(TEXT), expected)
        assert {path.name for path in run.path.iterdir()} == before
    run.config["corpus"]["sources"] = [str(tmp_path / "gone.txt")]
    run.save_config()
    done = charlm(capsys, "sample", run.path, "--mix")
    assert done.is_clear_error(1) and "gone.txt" in done.err and f"charlm train --resume {run.path}" in done.err
    lone = shutil.copy(run.best_path, tmp_path / "lone.safetensors")
    assert charlm(capsys, "sample", lone, "--mix").is_clear_error(1)


def test_the_message_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: of the n-gram and its weight, the one that is not there."""
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    run.config["corpus"]["sources"] = [str(tmp_path / "gone.txt")]
    run.save_config()
    run.ngram_path.unlink()
    done = charlm(capsys, "sample", run.path, "--mix")
    assert done.is_clear_error(1) and "has no ngram.counts yet" in done.err


@pytest.mark.slow
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: training leaves what --mix needs, even if the text is gone; score and sample say what they do."""
    text = tmp_path / "x.txt"
    text.write_bytes(LANTERNS.read_bytes()[:6000])
    small = ("--hidden", 8, "--batch", 4, "--window", 10, "--steps", 40, "--quiet")
    done = charlm(capsys, "train", text, *small, "--out", tmp_path / "run", "--json")
    mix = done.json["mix"]
    assert mix["nats"] <= min(mix["network_nats"], mix["ngram_nats"]) and mix["nats"] < mix["network_nats"]
    assert mix["network_nats"] == pytest.approx(done.json["validation_nats"], abs=1e-6)
    assert f"Mixed with the n-gram (--mix): {mix['nats']:.2f}." in charlm(capsys, "info", tmp_path / "run").out
    validation = tmp_path / "v.txt"
    validation.write_bytes(text.read_bytes()[-600:])
    text.unlink()
    scored = charlm(capsys, "score", tmp_path / "run", validation, "--mix", "--json")
    assert scored.json["nats_per_char"] == pytest.approx(mix["nats"], abs=1e-6)
    assert scored.err.startswith("Mixed: 0.") and f"together {mix['nats']:.3f}" in scored.err
    page = charlm(capsys, "score", tmp_path / "run", validation, "--mix", "--html", tmp_path / "p.html")
    assert page.code == 0 and (tmp_path / "p.html").exists()
    for count in (1, 3):
        written = charlm(capsys, "sample", tmp_path / "run", "--mix", "--rng-seed", 1, "-n", 20, "--count", count)
        assert written.code == 0 and written.err.startswith("Mixed: 0.")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"step": 1}', "null"]
    + [
        json.dumps(asdict(Mix(60, 0.5, 1.0, 2.0, 3.0)) | change)
        for change in ({"weight": 1.1}, {"weight": -0.1}, {"weight": None}, {"step": 0.5}, {"nats": "x"}, {"more": 1})
    ],
)
def test_a_hostile_weight(content: str, tmp_path: Path) -> None:
    """Law: a file that holds something else is refused in one line, which says what to do."""
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    run.figures_path("mix").write_text(content)
    with pytest.raises(RunError, match=r"mix\.json .*remove it, and charlm train --resume makes it again"):
        load(run.path, mix=True)


def test_the_smallest_run(tmp_path: Path) -> None:
    """Law: one validation character is enough to fit the weight."""
    corpus = short_corpus(tmp_path, 12)
    run = run_to_end(tiny_run(tmp_path / "run", corpus), corpus)
    measure_baselines(run, corpus)
    mix = fit_mix(run, corpus)
    assert mix.nats <= min(mix.network_nats, mix.ngram_nats)


def test_a_weight_is_that_of_its_checkpoint(tmp_path: Path) -> None:
    """Law: a weight of another checkpoint is fitted again, or used as it is if the text is gone."""
    run = Run.open(copy_of_trained_run(tmp_path / "run"))
    best, kept = load_checkpoint(run.best_path), Mix.of(run)
    assert kept is not None and mixture_for(run, best)[1] == kept
    with run.held():
        replace(kept, step=kept.step + 1, weight=0.123).save(run)
    assert mixture_for(run, best)[1] == kept
    run.config["corpus"]["sources"] = [str(tmp_path / "gone.txt")]
    assert mixture_for(run, best)[1].weight == 0.123
