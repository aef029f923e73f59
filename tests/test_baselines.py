"""Baselines: what the validation part costs without a network, measured once, kept with the run, and said."""

from __future__ import annotations

import bz2
import json
import lzma
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, TINY, charlm, lanterns, run_to_end, short_corpus, tiny_run

from charlm.training import baselines as module
from charlm.training import report as standing
from charlm.runs.figures import Baselines
from charlm.training.baselines import measure_baselines, xz_bytes
from charlm.errors import RunError
from charlm.predict.ngram import Counts, NGram
from charlm.config import split
from charlm.training.report import summary, verdict
from charlm.runs.run import Run

SOME = Baselines(characters=5000, ngram_order=5, ngram_nats=1.634, bzip2_nats=1.827, xz_nats=2.04)


def test_what_is_measured(tmp_path: Path) -> None:
    """Law: the n-gram's nats are those of its order, scored like the network; the compressors' are their lengths."""
    corpus = lanterns()
    run = tiny_run(tmp_path / "run", corpus)
    found = measure_baselines(run, corpus)
    training, validation = split(corpus.ids, TINY.val_fraction)
    V, start = len(corpus.vocabulary) + 1, corpus.vocabulary.start
    ngram = NGram.of(Counts.of(training, V, found.ngram_order))
    assert found.ngram_nats == pytest.approx(float(ngram.nats(validation, [start]).mean()), rel=1e-12)
    text = LANTERNS.read_text("utf-8")[-len(validation) :]
    assert found.characters == len(text)
    bits = 8 * len(bz2.compress(text.encode(), 9)) / len(text)
    assert found.bzip2_nats == pytest.approx(bits * math.log(2), rel=1e-12)
    bits = 8 * len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)) / len(text)
    assert found.xz_nats == pytest.approx(bits * math.log(2), rel=1e-12)
    assert found.ngram_nats < min(found.bzip2_nats, found.xz_nats)


@given(st.binary(max_size=3000), st.integers(1, 40))
def test_a_small_dictionary_compresses_as_well(data: bytes, times: int) -> None:
    """Law: the length is that of xz -9e, whatever the data."""
    data *= times
    assert xz_bytes(data) == len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def test_a_long_validation_part_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: where only a part is tried and compressed, the n-gram is still scored on all of it."""
    corpus, found = lanterns(), []
    for name, most in (("whole", 2**20), ("pieces", 301)):
        monkeypatch.setattr(module, "MOST_TRIED", most)
        found.append(measure_baselines(tiny_run(tmp_path / name, corpus), corpus))
    whole, pieces = found
    training, validation = split(corpus.ids, TINY.val_fraction)
    ngram = NGram.of(Counts.of(training, len(corpus.vocabulary) + 1, pieces.ngram_order))
    nats = ngram.nats(validation, [corpus.vocabulary.start])
    assert pieces.characters == whole.characters and pieces.ngram_nats == pytest.approx(float(nats.mean()), rel=1e-12)


def test_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: what is kept is read, not measured again; what was lost is measured anew."""
    corpus = short_corpus(tmp_path)
    run = tiny_run(tmp_path / "run", corpus)
    assert Baselines.of(run) is None and summary(run)["baselines"] is None
    found = measure_baselines(run, corpus)
    assert Baselines.of(run) == found and summary(run)["baselines"] == asdict(found)
    with monkeypatch.context() as patch:
        patch.setattr(module, "best_ngram", lambda *_: pytest.fail("measured again"))
        assert measure_baselines(run, corpus) == found
    run.figures_path("baselines").unlink()
    assert measure_baselines(run, corpus) == found


@pytest.mark.parametrize("text", ["aba", "ab\n", "aaab", "日本" * 3, "😀 \n" * 4, "ab" * 100])
def test_the_smallest_texts(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: every text that can be trained on has baselines, down to one character of validation."""
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    done = charlm(capsys, "train", tmp_path / "x.txt", "--out", tmp_path / "run", "--steps", 2, "--hidden", 4, "--json")
    figures = done.json["baselines"]
    assert done.code == 0 and figures["characters"] >= 1
    assert all(math.isfinite(value) and value > 0 for value in figures.values())


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "[1]", "5", "null", '{"characters": 1}', "{}", '"x"', "[[1, 2]]"),
        *(json.dumps(asdict(SOME) | change) for change in ({"x": 1}, {"ngram_order": 0}, {"ngram_order": 1.5})),
        *(json.dumps(asdict(SOME) | {"xz_nats": value}) for value in (None, "1", True, -1, 1e300, [], {})),
        json.dumps(asdict(SOME)).replace("1.827", "NaN"),
        "\0" * 2**17,
    ],
)
def test_a_hostile_file(content: str, tmp_path: Path) -> None:
    """Law: a file that holds something else is told in one line, with the way out."""
    run = tiny_run(tmp_path / "run", short_corpus(tmp_path))
    run.figures_path("baselines").write_text(content)
    advice = r"baselines\.json .*remove it, and charlm train --resume makes it again"
    with pytest.raises(RunError, match=advice) as told:
        Baselines.of(run)
    assert "\n" not in str(told.value) and len(str(told.value)) < 600


def test_an_old_run_gets_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a run from before there were baselines is shown as it is, and gets them when it goes on."""
    corpus = short_corpus(tmp_path)
    run = run_to_end(tiny_run(tmp_path / "run", corpus), corpus)
    assert charlm(capsys, "info", run.path).code == 0
    done = charlm(capsys, "train", "--resume", run.path, "--steps", 30, "--json")
    assert done.code == 0 and done.json["baselines"] == asdict(Baselines.of(run) or SOME) != asdict(SOME)


# -------------------------------------------------------------------------------------------------------- the verdict


def told(run: Run, monkeypatch: pytest.MonkeyPatch, baselines: Baselines | None = SOME, **figures: Any) -> str:
    """The verdict on a run with these figures."""
    usual = {"validation_nats": 1.48, "vocabulary": 65, "best_step": 90, "steps": 100}
    usual |= {"seconds": 200.0, "epochs": 1.0}
    run.figures_path("baselines").unlink(missing_ok=True)
    if baselines:
        baselines.save(run)
    monkeypatch.setattr(standing, "summary", lambda run: usual | figures)
    return verdict(run)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run on a text of a million characters, so its configuration says."""
    run = tiny_run(tmp_path / "run", short_corpus(tmp_path))
    run.config["corpus"]["characters"] = 10**6
    return run


def test_verdicts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the figures side by side, and what they mean in words."""
    assert told(run, monkeypatch) == (
        "1.48 nats (2.14 bpc); 5-gram 1.63; bzip2 1.83: the network learned beyond counting."
    )
    assert told(run, monkeypatch, replace(SOME, xz_nats=1.5)).startswith("1.48 nats (2.14 bpc); 5-gram 1.63; xz 1.50:")
    assert told(run, monkeypatch, validation_nats=1.63).endswith(
        "the network is as good as an n-gram, which only counts; more time would help."
    )
    assert told(run, monkeypatch, validation_nats=1.7).endswith(
        ": an n-gram, which only counts, does better; more time would help."
    )
    for last, said in ((1.2, "it began to memorise"), (1.9, "it got no better"), (math.nan, "it got no better")):
        losses = [{"split": "train", "step": step, "nats": nats} for step, nats in ((10, 2.0), (19, 1.4), (99, last))]
        monkeypatch.setattr(Run, "metrics", lambda run, losses=losses: losses)
        overtaken = told(run, monkeypatch, validation_nats=1.7, best_step=20)
        assert f": an n-gram, which only counts, does better. After step 20 {said}" in overtaken
    run.config["training"] |= {"steps": None, "minutes": 3.0, "epochs": 9.0}
    ended = told(run, monkeypatch, validation_nats=1.7, seconds=20.0, epochs=9.0)  # its minutes were not of use
    assert ended.endswith(": an n-gram, which only counts, does better.")
    run.config["corpus"]["characters"] = 20_000
    assert told(run, monkeypatch, validation_nats=1.7).endswith(": an n-gram does better on a text this small.")
    rough = told(run, monkeypatch, replace(SOME, characters=40))
    assert "bzip2" not in rough and rough.endswith("Only 40 characters were scored, so this is a rough measure.")
    assert "no better than chance" in told(run, monkeypatch, validation_nats=4.3)
    assert told(run, monkeypatch, None) == ""
    assert told(run, monkeypatch, validation_nats=None) == ""


@given(st.floats(0.1, 4), st.floats(0.1, 4), st.integers(1, 10**6), st.integers(1, 10**7), st.integers(1, 100))
def test_an_n_gram_that_is_better_is_told(nats: float, counting: float, scored: int, text: int, best: int) -> None:
    """Law: whatever the figures, a network that did worse than its n-gram is never praised, and the n-gram is named."""
    baselines = replace(SOME, characters=scored, ngram_nats=counting)
    sentence = standing._comparison(nats, baselines, is_small=text < standing.SMALL, is_done=best < 70)
    assert "5-gram" in sentence
    if nats > counting:
        assert "the network" not in sentence and "an n-gram" in sentence
    if nats > counting + standing.ALIKE:
        assert "does better" in sentence


def test_training_says_where_an_n_gram_does_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: charlm train never ends worse than its n-gram without saying so, and charlm info repeats it."""
    out = tmp_path / "run"
    done = charlm(capsys, "train", LANTERNS, "--out", out, "--steps", 8, "--hidden", 8, "--batch", 4, "--window", 10)
    figures = summary(Run.open(out))
    assert figures["validation_nats"] > figures["baselines"]["ngram_nats"] + 0.1
    (line,) = [line for line in done.out.splitlines() if "an n-gram does better on a text this small" in line]
    assert f"{figures['baselines']['ngram_order']}-gram {figures['baselines']['ngram_nats']:.2f}; " in line
    assert line in charlm(capsys, "info", out).out
    assert charlm(capsys, "info", out, "--json").json["verdict"] == line
