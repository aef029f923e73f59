"""The report of a run: why training ended, and a verdict on the result in words."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, TINY, HandClock, charlm, few_examples, run_to_end, short_corpus, tiny_run

from charlm.config import TrainSpec
from charlm.corpus.corpus import Corpus
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.figures import Baselines
from charlm.runs.run import Run
from charlm.scoring.score import Score, score_ids
from charlm.training import coordinator, judgement, report
from charlm.training.loop import train_steps
from charlm.training.report import ending, summary, verdict
from charlm.training.resume import change_budget

pytestmark = pytest.mark.usefixtures("quick_disk")

SOME = Baselines(characters=5000, ngram_order=5, ngram_nats=1.634, bzip2_nats=1.827, xz_nats=2.04)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return short_corpus(tmp_path)


@pytest.fixture
def only_the_second_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let validation losses be 3, 2, 2, 2 ..., and let evaluations take no time, so that none is put off."""
    HandClock(monkeypatch, 1e-3)
    losses = iter([3.0])
    monkeypatch.setattr(coordinator, score_ids.__name__, lambda *what: Score(1, next(losses, 2.0)))


PATIENT = replace(TINY, steps=None, minutes=60.0, epochs=1e4, evaluations=10**5, patience=3)


def evaluations(run: Run) -> list[float]:
    return [record["nats"] for record in run.metrics() if record["split"] == "validation"]


def test_patience_ends_a_training(corpus: Corpus, tmp_path: Path, only_the_second_is_best: None) -> None:
    """Law: after so many evaluations that were no better, and not before; equal is not better. It stays ended until
    another budget is given.
    """
    run = run_to_end(tiny_run(tmp_path / "run", corpus, PATIENT), corpus)
    assert evaluations(run) == [3, 2, 2, 2, 2]
    assert list(train_steps(Run.open(run.path), corpus)) == []
    best = load_checkpoint(run.best_path)
    assert f"step {best.step:,}" in ending(run) and "--patience" in ending(run)
    assert ending(run).startswith("Stopped after ") and " of 1:00:00: 3 evaluations in a row" in ending(run)

    step = best.step + 9
    change_budget(run, steps=step)
    assert [progress.step for progress in train_steps(Run.open(run.path), corpus)][-1] == step
    assert Run.open(run.path).spec.patience is None


def test_patience_counts_on_after_a_resume(corpus: Corpus, tmp_path: Path, only_the_second_is_best: None) -> None:
    """Law: a run that was stopped between two evaluations counts on from where it was."""
    run = tiny_run(tmp_path / "run", corpus, PATIENT)
    for _ in range(20):
        updates = train_steps(Run.open(run.path), corpus)
        if next(updates, None) is None:
            break
        updates.close()
    assert evaluations(run) == [3, 2, 2, 2, 2]


def test_without_patience_a_training_goes_on(corpus: Corpus, tmp_path: Path, only_the_second_is_best: None) -> None:
    """Law: None is off."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, evaluations=12, patience=None)), corpus)
    assert evaluations(run) == [3] + [2] * 11 and ending(run) == ""


def test_passes_end_a_training_before_its_minutes(corpus: Corpus, tmp_path: Path) -> None:
    """Law: it is reported with the minutes, if there were any left."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, replace(TINY, steps=None, epochs=2.0, minutes=9.0)), corpus)
    assert " of 9:00: 2 passes over the text are done" in ending(run)
    alone = run_to_end(tiny_run(tmp_path / "alone", corpus, replace(TINY, steps=None, epochs=2.0)), corpus)
    assert ending(alone) == ""


def test_a_stopped_training_has_no_ending(corpus: Corpus, tmp_path: Path) -> None:
    """Law: a stop by a signal or an error is not reported as an end."""
    run = tiny_run(tmp_path / "run", corpus, TrainSpec(batch=4, window=10, minutes=5.0, epochs=100.0))
    updates = train_steps(run, corpus)
    next(updates)
    updates.close()
    assert ending(run) == ""


# -------------------------------------------------------------------------------------------------------- the verdict


def verdict_on(run: Run, monkeypatch: pytest.MonkeyPatch, baselines: Baselines | None = SOME, **figures: Any) -> str:
    """The verdict on a run with these figures."""
    usual = {"validation_nats": 1.48, "vocabulary": 65, "best_step": 90, "steps": 100, "seconds": 200.0, "epochs": 1.0}
    run.figures_path("baselines").unlink(missing_ok=True)
    if baselines:
        baselines.save(run)
    monkeypatch.setattr(report, summary.__name__, lambda run: usual | figures)
    return verdict(run)


@pytest.fixture
def run(corpus: Corpus, tmp_path: Path) -> Run:
    """A run on a text of a million characters, according to its configuration."""
    run = tiny_run(tmp_path / "run", corpus)
    run.config["corpus"] |= {"characters": 10**6, "training_characters": 9 * 10**5}
    return run


def test_verdicts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the figures side by side, and what they mean in words."""
    metrics = Run.metrics.__name__
    assert verdict_on(run, monkeypatch) == (
        "1.48 nats (2.14 bpc); 5-gram 1.63, bzip2 1.83: the network does better than the n-gram."
    )
    assert verdict_on(run, monkeypatch, replace(SOME, ppm_nats=1.5)) == (
        "1.48 nats (2.14 bpc); 5-gram 1.63, PPM 1.50, bzip2 1.83: the network does better than the n-gram."
    )
    assert verdict_on(run, monkeypatch, replace(SOME, ppm_nats=1.4)).endswith(
        "the n-gram; PPM, which goes on learning while it is scored, does better than the network."
    )
    assert verdict_on(run, monkeypatch, replace(SOME, xz_nats=1.5)).startswith(
        "1.48 nats (2.14 bpc); 5-gram 1.63, xz 1.50:"
    )
    assert verdict_on(run, monkeypatch, validation_nats=1.63).endswith(
        "the network is as good as the n-gram; more time would help."
    )
    assert verdict_on(run, monkeypatch, validation_nats=1.7).endswith(": the n-gram does better; more time would help.")
    for last, said in ((1.2, "began to overfit"), (1.9, "did not improve"), (math.nan, "did not improve")):
        losses = [{"split": "train", "step": step, "nats": nats} for step, nats in ((10, 2.0), (19, 1.4), (99, last))]
        monkeypatch.setattr(Run, metrics, lambda run, losses=losses: losses)
        overtaken = verdict_on(run, monkeypatch, validation_nats=1.7, best_step=20)
        assert f": the n-gram does better; after step 20 training {said}" in overtaken
    run.config["training"] |= {"steps": None, "minutes": 3.0, "epochs": 9.0}
    ended = verdict_on(run, monkeypatch, validation_nats=1.7, seconds=20.0, epochs=9.0)  # its minutes were not used up
    assert ended.endswith(": the n-gram does better.")
    run.config["corpus"]["training_characters"] = 18_000
    assert verdict_on(run, monkeypatch, validation_nats=1.7).endswith(": the n-gram does better on a text this small.")
    rough = verdict_on(run, monkeypatch, replace(SOME, characters=40))
    assert "bzip2" not in rough and rough.endswith("Only 40 characters were scored, so this is a rough measure.")
    assert "another --lr may help" in verdict_on(run, monkeypatch, validation_nats=4.3, steps=5000, best_step=4990)
    assert "more time would help" in verdict_on(run, monkeypatch, validation_nats=4.3, steps=2, best_step=2)
    neither = verdict_on(run, monkeypatch, replace(SOME, ngram_nats=4.2), validation_nats=4.3)
    assert ": neither does better than chance: the text is too short to learn from, or random." in neither
    assert verdict_on(run, monkeypatch, None) == ""
    assert verdict_on(run, monkeypatch, validation_nats=None) == ""


@few_examples
@given(
    nats=st.floats(0.1, 4),
    counting=st.floats(0.1, 4),
    scored=st.integers(1, 10**6),
    text=st.integers(1, 10**7),
    best=st.integers(1, 100),
)
def test_a_better_n_gram_is_reported(nats: float, counting: float, scored: int, text: int, best: int, run: Run) -> None:
    """Law: whatever the figures, a network that does worse than the n-gram is not praised, and the n-gram is named."""
    baselines = replace(SOME, characters=scored, ngram_nats=counting)
    run.config["corpus"]["characters"] = text + scored
    with pytest.MonkeyPatch.context() as patch:
        sentence = verdict_on(run, patch, baselines, validation_nats=nats, best_step=best).split(". ")[0]
    assert "5-gram" in sentence
    if nats > counting:
        assert "the network" not in sentence and "the n-gram" in sentence
    if nats > counting + judgement.EQUAL:
        assert "does better" in sentence


OPPOSITE = (  # groups of statements of which a verdict may make one at most
    ("network does better than the n-gram", "n-gram does better", "as good", "neither does better", "neither predicts"),
    ("network does better than the n-gram", "neither does better than chance", "below chance"),
    ("more time would help", "began to overfit", "less time", "did not improve", "larger budget"),
    ("neither does better than chance", "more time would help", "may help"),
    ("neither predicts more", "more time would help", "may help"),
)
LOSSES = st.one_of(st.floats(0.01, 5), st.sampled_from([0.5, 0.505, 0.51, math.log(20), math.log(20) + 0.005]))


def contradictions(said: str) -> list[list[str]]:
    """The statements that cannot both be true, of a verdict or a whole report."""
    found = [[words for words in group if words in said] for group in OPPOSITE]
    return [words for words in found if len(words) > 1 and not all(a in b or b in a for a, b in pairwise(words))]


@given(
    nats=LOSSES,
    baselines=st.builds(
        Baselines,
        characters=st.integers(1, 10**6),
        ngram_order=st.integers(1, 9),
        ngram_nats=LOSSES,
        bzip2_nats=LOSSES,
        xz_nats=LOSSES,
        ppm_nats=st.none() | LOSSES,
        unigram_nats=st.none() | LOSSES,
    ),
    characters=st.sampled_from([2, 40_000, 10**7]),
    steps=st.sampled_from([1, 2, 250, 9000]),
    share=st.floats(0, 1),
    flags=st.tuples(*[st.booleans()] * 4),
)
def test_no_verdict_contradicts_itself(
    nats: float, baselines: Baselines, characters: int, steps: int, share: float, flags: tuple[bool, bool, bool, bool]
) -> None:
    """Law: whatever the figures, no two statements of opposite direction, and one sentence."""
    stalled, overfitted, ended, began = flags
    said = judgement.judge(
        judgement.Facts(
            nats=nats,
            baselines=baselines,
            vocabulary=20,
            characters=characters,
            best_step=round(share * steps),
            steps=steps,
            has_stalled=stalled,
            has_overfitted=stalled and overfitted,
            has_ended=ended,
            began_with_model=began,
        )
    )
    assert contradictions(said) == [], said
    assert said.endswith(".") and ". " not in said
    if nats > math.log(20) + 0.03:
        assert "network does better than the n-gram" not in said and "network is as good" not in said


def random_text(alphabet: str, weights: list[float] | None, length: int) -> str:
    """Characters that are drawn independently of each other."""
    return "".join(random.Random(1).choices(alphabet, weights, k=length))


LETTERS = "".join(map(chr, range(65, 65 + 64)))
TEXTS = {  # a text, options, and what the verdict says
    "4 characters": ("abcd", ["--steps", 20], "neither does better than chance"),
    "2 characters, alternating": ("ab" * 100, ["--steps", 40], "on a text this small"),
    "3 characters": ("aba", ["--steps", 20], ""),
    "random, uneven": (random_text("ab", [9, 1], 10_000), ["--steps", 200], "how often each character"),
    "random, even": (random_text(LETTERS, None, 60_000), ["--steps", 60, "--lr", 0.001], "neither does better than"),
    "2 steps": (LANTERNS.read_text("utf-8") * 3, ["--steps", 2, "--lr", 1e-5], "2 updates did not bring the loss"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_verdicts_on_texts(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: on texts that nothing, or little, can be learned from, the report is true and of one opinion."""
    text, options, said = TEXTS[name]
    (tmp_path / "x.txt").write_text(text, "utf-8")
    size = ["--hidden", 16, "--batch", 8, "--window", 32, "--dropout", 0, "--input-dropout", 0]
    done = charlm(capsys, "train", tmp_path / "x.txt", "--out", tmp_path / "run", *size, *options)
    assert done.code == 0 and said in done.out, done.out
    assert contradictions(done.out + done.err) == [], done.out + done.err


def test_an_ending_and_its_verdict_agree(corpus: Corpus, tmp_path: Path, only_the_second_is_best: None) -> None:
    """Law: of a training that patience ended, nobody says that a larger budget or more time would help."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus, PATIENT), corpus)
    SOME.save(run)
    said = f"{ending(run)}. {verdict(run)}"
    assert "larger" not in said and "more time" not in said and contradictions(said) == [], said


def test_a_better_n_gram_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: charlm train says so if the n-gram does better, and charlm info repeats it."""
    out = tmp_path / "run"
    done = charlm(capsys, "train", LANTERNS, "--out", out, "--steps", 8, "--hidden", 8, "--batch", 4, "--window", 10)
    figures = summary(Run.open(out))
    assert figures["validation_nats"] > figures["baselines"]["ngram_nats"] + 0.1
    (line,) = [line for line in done.out.splitlines() if "the n-gram does better on a text this small" in line]
    assert f"{figures['baselines']['ngram_order']}-gram {figures['baselines']['ngram_nats']:.2f}, PPM " in line
    assert line in charlm(capsys, "info", out).out
    assert charlm(capsys, "info", out, "--json").json["verdict"] == line
