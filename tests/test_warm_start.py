"""A run that starts from a trained model has its parameters, for the characters of both texts."""

from __future__ import annotations

import json
import math
import shlex
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import (
    LANTERNS,
    TINY,
    TINY_OPTIONS,
    Faults,
    bits_of,
    bits_of_run,
    charlm,
    copy_of_trained_run,
    random_model,
    run_to_end,
    stop_at,
    trained_run,
)

from charlm.arrays import NamedArrays
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.errors import CharlmError, CorpusError, RunError
from charlm.nn.model import CharLM, ModelSpec
from charlm.predict.network import Network
from charlm.runs.checkpoint import load_checkpoint, sha256_of
from charlm.runs.config import is_run
from charlm.runs.resume import last_checkpoint
from charlm.runs.run import Run
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import TrainedModel, load
from charlm.training.loop import train_steps
from charlm.training.new_run import new_run
from charlm.training.report import verdict
from charlm.training.warm_start import carried_params, forgetting, new_run_from

pytestmark = pytest.mark.usefixtures("quick_disk")

Capture = pytest.CaptureFixture[str]
NETWORKS: list[dict[str, Any]] = [
    {"cell": "gru"},
    {"cell": "gru", "reset": "after"},
    {"cell": "lstm", "layers": 2},
    {"cell": "rnn"},
    {"cell": "gru", "embedding": 3, "layers": 2},
    {"cell": "lstm", "embedding": 5, "tied": True},
]
GREEK = "Τα φανάρια ανάβουν ένα ένα στο λιμάνι.\nThe lantern burns, and the harbour sleeps.\n" * 12
OLD = "ba\nc"  # in no order, as the vocabulary of a checkpoint may be


def random_old(network: dict[str, Any], seed: int = 0) -> TrainedModel:
    """A model of five ids, the last of them the unknown character."""
    _, params = random_model(seed, vocabulary=len(OLD) + 1, dtype=np.float32, scale=0.7, **network)
    return model_of(ModelSpec(len(OLD) + 1, 5, **network), params, Vocabulary(OLD))


def model_of(spec: ModelSpec, params: NamedArrays, vocabulary: Vocabulary) -> TrainedModel:
    return TrainedModel(Network(CharLM(spec), params, vocabulary.start), vocabulary, {}, Path("nowhere"))


def carried(old: TrainedModel, new: str) -> TrainedModel:
    vocabulary = Vocabulary.of(OLD + new)
    spec = replace(old.spec, vocabulary=len(vocabulary) + 1)
    return model_of(spec, carried_params(old, vocabulary), vocabulary)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@settings(max_examples=10)
@given(new=st.text("AZdé€", max_size=5), text=st.text(OLD, max_size=30))
def test_known_characters_keep_their_odds(network: dict[str, Any], new: str, text: str) -> None:
    """Law: after any text of old characters, the probabilities of these and of the unknown character are in the old
    proportions, and a new character's is the geometric mean of the old characters'.
    """
    old = random_old(network)
    model = carried(old, new)
    before, after = old.next_probs(old.read(text)), model.next_probs(model.read(text))
    ids = [model.vocabulary.characters.index(character) for character in OLD]
    known = after[[*ids, -1]]
    np.testing.assert_allclose(known / known.sum(), before, rtol=1e-4)
    mean = math.exp(np.log(after[ids]).mean())
    for character in new:
        assert after[model.vocabulary.characters.index(character)] == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_new_character_is_read_as_the_mean(network: dict[str, Any]) -> None:
    """Law: its row is the mean of the old characters'."""
    old, model = random_old(network), carried(random_old(network), "Zé")
    name = "embedding.E" if network.get("embedding") else "layer0.W"
    for character in "Zé":
        row = model.params[name][model.vocabulary.characters.index(character)]
        np.testing.assert_allclose(row, old.params[name][: len(OLD)].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_rows_move_with_their_character(network: dict[str, Any]) -> None:
    """Law: the rows of a character, or of the unknown one, are the same to the bit, whatever its new id."""
    old, model = random_old(network), carried(random_old(network), "AZé")
    ids = [*map(model.vocabulary.characters.index, OLD), model.vocabulary.unknown]
    assert ids[:-1] != list(range(len(OLD)))
    moved = 0
    for name, array in model.params.items():
        for axis, (size, was) in enumerate(zip(array.shape, old.params[name].shape, strict=True)):
            if size != was:
                array = array.take(ids, axis=axis)
                moved += 1
        np.testing.assert_array_equal(array, old.params[name])
    assert moved == (2 if network.get("tied") else 3)


def test_nothing_new() -> None:
    """Law: for the same characters in the same order, the parameters are the model's."""
    old = load(trained_run())
    assert carried_params(old, old.vocabulary).flat.tobytes() == old.params.flat.tobytes()


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    path = tmp_path / "greek.txt"
    path.write_text(GREEK, encoding="utf-8")
    return read_corpus(path, known=load(trained_run()).vocabulary.characters)


def first_of(path: Path, corpus: Corpus, **changes: Any) -> Run:
    return new_run_from(load(trained_run()), corpus, path, replace(TINY, **changes))


def test_a_new_run(tmp_path: Path, corpus: Corpus) -> None:
    """Law: before its first update it has the carried parameters as its best and its last, and names their origin."""
    old = load(trained_run())
    run = Run.open(first_of(tmp_path / "run", corpus).path)
    assert set(corpus.vocabulary.characters) == set(GREEK) | set(old.vocabulary.characters)
    for path in (run.best_path, run.last_path):
        checkpoint = load_checkpoint(path)
        params = NamedArrays(checkpoint.spec.shapes)
        params.copy_from(checkpoint.params)
        assert params.flat.tobytes() == carried_params(old, corpus.vocabulary).flat.tobytes()
        assert (checkpoint.step, checkpoint.vocabulary) == (0, corpus.vocabulary)
    assert run.origin is not None
    assert run.origin["checkpoint"] == str(old.path) and run.origin["sha256"] == sha256_of(old.path)
    (beginning,) = run.metrics()
    text = corpus.vocabulary.decode(corpus.ids[-round(len(GREEK) * TINY.val_fraction) :])
    assert beginning["nats"] == pytest.approx(load(run.path).score(text).nats_per_char, abs=1e-6)
    assert run.origin["validation_nats"] == beginning["nats"]


def test_resume(tmp_path: Path, corpus: Corpus) -> None:
    """Law: stopped anywhere, it comes to the same bits."""
    straight = run_to_end(first_of(tmp_path / "straight", corpus), corpus)
    run = first_of(tmp_path / "run", corpus)
    for step in (1, 5, 13):
        stop_at(Run.open(run.path), corpus, step)
    run_to_end(Run.open(run.path), corpus)
    assert bits_of_run(run) == bits_of_run(straight)
    fresh = bits_of(load_checkpoint(straight.best_path))["params"]
    assert fresh != bits_of(load_checkpoint(trained_run() / "best.safetensors"))["params"]


def test_a_divergence_goes_back_to_the_model(tmp_path: Path, corpus: Corpus) -> None:
    """Law: a divergence before the first evaluation goes back to the model, not to random numbers."""
    run = first_of(tmp_path / "run", corpus, learning_rate=1e30, clip_norm=None)
    before = bits_of(load_checkpoint(run.best_path))
    with pytest.raises(CharlmError):
        run_to_end(run, corpus)
    assert bits_of(load_checkpoint(run.best_path)) == before


def test_a_killed_creation(tmp_path: Path, corpus: Corpus) -> None:
    """Law: at whichever call the process is stopped, there is no run, or one that begins with the model."""
    (tmp_path / "alone.safetensors").write_bytes((trained_run() / "best.safetensors").read_bytes())
    old = load(tmp_path / "alone.safetensors")
    first = bits_of(load_checkpoint(new_run_from(old, corpus, tmp_path / "whole", TINY).last_path))
    runs, fail_at = 0, 0
    while True:
        fail_at += 1
        path = tmp_path / f"run{fail_at}"
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, fail_at, KeyboardInterrupt())
            with suppress(KeyboardInterrupt):
                new_run_from(old, corpus, path, TINY)
        if not faults.happened:
            break
        if is_run(path):
            runs += 1
            assert bits_of(load_checkpoint(Run.open(path).last_path)) == first, faults.failed_call
            next(train_steps(Run.open(path), corpus))
            continue
        again = new_run_from(old, corpus, path, TINY) if fail_at % 2 else new_run(corpus, path, TINY, hidden=4)
        last = last_checkpoint(again)
        assert (bits_of(last) == first) if last else not fail_at % 2, faults.failed_call
        next(train_steps(again, corpus))
    assert fail_at > 10 and runs > 0


def test_a_run_without_its_checkpoints(tmp_path: Path, corpus: Corpus) -> None:
    """Law: it is refused, and never begins anew with random numbers."""
    run = first_of(tmp_path / "run", corpus)
    for path in (run.best_path, run.last_path):
        path.unlink()
    with pytest.raises(RunError, match="no checkpoint left"):
        next(train_steps(Run.open(run.path), corpus))


def test_a_text_that_was_read_without_the_model(tmp_path: Path, corpus: Corpus) -> None:
    """Law: ids of other characters are refused, by a new run and by one that is resumed."""
    run = first_of(tmp_path / "run", corpus)
    without = read_corpus(tmp_path / "greek.txt")
    for attempt in (lambda: first_of(tmp_path / "other", without), lambda: next(train_steps(run, without))):
        with pytest.raises(CorpusError, match="known="):
            attempt()
    assert not (tmp_path / "other").exists()
    run_to_end(run, read_corpus(tmp_path / "greek.txt", known=run.known))


def test_forgetting(tmp_path: Path, corpus: Corpus) -> None:
    """Law: the old text's validation part, scored by the first parameters and by the best ones."""
    run = first_of(tmp_path / "run", corpus, steps=200, learning_rate=1.0)
    first = load(run.path)
    run_to_end(run, corpus)
    text = LANTERNS.read_text(encoding="utf-8")
    text = text[-round(len(text) * TINY.val_fraction) :]
    found = forgetting(run)
    assert found is not None and found.reason == ""
    assert found.old_before == pytest.approx(first.score(text).nats_per_char, abs=1e-6)
    assert found.old_after == pytest.approx(load(run.path).score(text).nats_per_char, abs=1e-6)
    assert found.new_after is not None and found.new_after < found.new_before - 0.3
    assert forgetting(Run.open(trained_run())) is None


def test_when_no_update_helps(tmp_path: Path) -> None:
    """Law: the best model is the one it began with, and the verdict says so."""
    path = tmp_path / "same.txt"
    path.write_bytes(LANTERNS.read_bytes()[-3000:])
    corpus = read_corpus(path, known=load(trained_run()).vocabulary.characters)
    run = run_to_end(first_of(tmp_path / "run", corpus, learning_rate=1e-30), corpus)
    found = forgetting(run)
    assert found is not None and found.new_after == found.new_before and found.old_after == found.old_before
    assert found.old_before == pytest.approx(load(trained_run()).progress["best_nats"], abs=1e-6)
    assert "No step improved on the initial model" in verdict(run)


# ------------------------------------------------------------------------------------------------ the command line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text, a copy of the trained run, and that run's text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greek.txt").write_text(GREEK, encoding="utf-8")
    (tmp_path / "old.txt").write_bytes(LANTERNS.read_bytes())
    config = copy_of_trained_run(tmp_path / "old") / "config.json"
    changed = json.loads(config.read_text(encoding="utf-8"))
    changed["corpus"]["sources"] = [str(tmp_path / "old.txt")]
    config.write_text(json.dumps(changed), encoding="utf-8")
    return tmp_path


OPTIONS = (*TINY_OPTIONS[2:], "--quiet", "--out", "new")


def test_from(here: Path, capsys: Capture) -> None:
    """Law: losses of both texts, before and after, printed and as JSON; the next command works."""
    done = charlm(capsys, "train", "greek.txt", "--from", "old", *OPTIONS)
    assert done.code == 0
    found = forgetting(Run.open("new"))
    assert found is not None and found.old_before is not None and found.old_after is not None
    assert f"{found.new_before:.4f}  {found.new_after:.4f}  this text" in done.out
    assert f"{found.old_before:.4f}  {found.old_after:.4f}  the text that" in done.out
    assert f"it knows {len(load('old').vocabulary)} characters" in done.err
    (following,) = [line for line in done.out.splitlines() if line.startswith("Next: ")]
    assert charlm(capsys, *shlex.split(following)[2:]).code == 0
    resumed = charlm(capsys, "train", "--resume", "new", "--steps", "30", "--quiet", "--json")
    assert resumed.code == 0 and resumed.json["steps"] == 30
    names = ("validation_nats_before", "old_validation_nats_before", "old_validation_nats")
    assert resumed.json["old_validation_nats_before"] == pytest.approx(found.old_before)
    assert list(resumed.json)[-3:] == list(names)
    shown = charlm(capsys, "info", "new")
    assert f"origin  checkpoint {here / 'old' / 'best.safetensors'}" in shown.out
    assert charlm(capsys, "info", "new", "--json").json["origin"]["sha256"] == sha256_of(Path("old/best.safetensors"))


def test_an_old_text_that_is_gone(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: gone, changed, or read from standard input: the old loss is not available, with the reason."""
    corpus = read_corpus("greek.txt", known=load("old").vocabulary.characters)

    def reason(old: str, out: str) -> str:
        found = forgetting(new_run_from(load(old), corpus, out, TINY))
        assert found is not None and found.old_before is None and found.old_after is None and found.new_before > 0
        return found.reason

    (here / "old.txt").rename(here / "moved.txt")
    assert "no such file" in reason("old", "1")
    (here / "old.txt").write_text("another text\n" * 9)
    assert "holds another text now" in reason("old", "2")
    (here / "alone.safetensors").write_bytes((here / "old" / "last.safetensors").read_bytes())
    assert "not in a run directory" in reason("alone.safetensors", "3")
    config = here / "old" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace(str(here / "old.txt"), "-"), encoding="utf-8")
    assert "standard input" in reason("old", "4")

    done = charlm(capsys, "train", "greek.txt", "--from", "old", *OPTIONS)
    assert done.code == 0 and "?  the text that the model came with: it came from standard input" in done.out
    done = charlm(capsys, "train", "--resume", "new", "--quiet", "--json")
    assert done.json["old_validation_nats"] is None and done.json["validation_nats_before"] > 0


def test_options_that_contradict(here: Path, capsys: Capture) -> None:
    """Law: a usage error of one line that names the option and the run, and no run."""
    for options in (
        "--hidden 9",
        "--cell lstm",
        "--reset after",
        "--layers 2",
        "--embedding 3",
        "--tied",
        "--no-residual",
    ):
        done = charlm(capsys, "train", "greek.txt", "--from", "old", *OPTIONS, *options.split())
        name = options.split()[0].replace("--no-", "--")
        assert done.is_clear_error(2) and name in done.err and " in old" in done.err
        assert not (here / "new").exists()


def test_a_preset_of_another_size(here: Path, capsys: Capture) -> None:
    """Law: it is refused, not dropped: the line names the preset's size, the model's, and what to do."""
    done = charlm(capsys, "train", "greek.txt", "--from", "old", "--preset", "textbook", *OPTIONS)
    assert done.is_clear_error(2) and not (here / "new").exists()
    for part in ("--preset textbook has hidden 64", "--from has 8", "leave one out"):
        assert part in done.err


def test_options_that_agree(here: Path, capsys: Capture) -> None:
    """Law: repeating the model's sizes is allowed; options without effect on the model's cell are refused."""
    same = ("--hidden", "8", "--cell", "gru", "--reset", "before", "--layers", "1")
    assert charlm(capsys, "train", "greek.txt", "--from", "old", *OPTIONS, *same).code == 0
    for options in (("--from", "nowhere"), ("--from", "greek.txt"), ("--from", "old", "--activation", "tanh")):
        done = charlm(capsys, "train", "greek.txt", *options, *OPTIONS[:-1], "other")
        assert done.is_clear_error(), done
    done = charlm(capsys, "train", "--resume", "new", "--from", "old")
    assert done.is_clear_error(2) and "--from" in done.err
    assert not (here / "other").exists()


@pytest.mark.parametrize(
    ("key", "inner"),
    [
        *((key, None) for key in ("checkpoint", "step", "vocabulary", "old_validation_nats", "old_corpus")),
        *(("old_corpus", key) for key in ("sources", "sha256", "val_fraction", "val_limit")),
    ],
)
def test_an_altered_origin(key: str, inner: str | None, tmp_path: Path, corpus: Corpus) -> None:
    """Law: whatever config.json says of the origin, everything works or a CharlmError of one line is raised."""
    run = first_of(tmp_path / "run", corpus)
    whole = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    values: list[Any] = ["missing", None, "x", -1, [], {}, 2.5, [3]]
    for value in values:
        config = json.loads(json.dumps(whole))
        part = config["origin"][key] if inner else config["origin"]
        part[inner or key] = value
        if value == "missing":
            del part[inner or key]
        (run.path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        try:
            forgetting(Run.open(run.path))
            next(train_steps(Run.open(run.path), corpus))
        except CharlmError as error:
            assert len(str(error).splitlines()) == 1
