"""Baselines: what the validation part costs without a network, measured once, and kept with the run."""

from __future__ import annotations

import bz2
import json
import lzma
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, charlm, lanterns, run_to_end, short_corpus, tiny_run

from charlm.corpus.corpus import Corpus
from charlm.errors import RunError
from charlm.predict import run_mixture
from charlm.predict.ngram import NGram
from charlm.predict.ngram_counts import Counts
from charlm.predict.ppm import ppm_nats
from charlm.runs.figures import Baselines
from charlm.runs.run import Run
from charlm.scoring.score import score_ids
from charlm.training import baselines
from charlm.training.baselines import measure_baselines, xz_bytes
from charlm.training.report import summary, verdict

pytestmark = pytest.mark.usefixtures("quick_disk")

SOME = Baselines(characters=5000, ngram_order=5, ngram_nats=1.634, bzip2_nats=1.827, xz_nats=2.04)


def ngram_nats(run: Run, corpus: Corpus, order: int) -> float:
    """Of the validation part, by an n-gram of that order of the training part."""
    training, validation = corpus.split(run.spec)
    ngram = NGram.of(Counts.of(training, len(corpus.vocabulary) + 1, order), corpus.vocabulary.start)
    return score_ids(ngram, validation).nats_per_char


def test_what_is_measured(tmp_path: Path) -> None:
    """Law: the n-gram's nats are those of its order, scored like the network; the compressors' are their lengths."""
    corpus = lanterns()
    run = tiny_run(tmp_path / "run", corpus)
    found = measure_baselines(run, corpus)
    _, validation = corpus.split(run.spec)
    assert found.ngram_nats == pytest.approx(ngram_nats(run, corpus, found.ngram_order), rel=1e-12)
    text = LANTERNS.read_text("utf-8")[-len(validation) :]
    assert found.characters == len(text)
    bits = 8 * len(bz2.compress(text.encode(), 9)) / len(text)
    assert found.bzip2_nats == pytest.approx(bits * math.log(2), rel=1e-12)
    bits = 8 * len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)) / len(text)
    assert found.xz_nats == pytest.approx(bits * math.log(2), rel=1e-12)
    training, _ = corpus.split(run.spec)
    adaptive = ppm_nats(training, validation, len(corpus.vocabulary) + 1, corpus.vocabulary.start)
    assert found.ppm_nats == pytest.approx(adaptive.mean(), rel=1e-12)
    assert found.unigram_nats == pytest.approx(ngram_nats(run, corpus, 1), rel=1e-12)
    assert found.ngram_nats < min(found.bzip2_nats, found.xz_nats)


@given(st.binary(max_size=3000), st.integers(1, 40))
def test_a_small_dictionary_compresses_as_well(data: bytes, times: int) -> None:
    """Law: the length is that of xz -9e, whatever the data."""
    data *= times
    assert xz_bytes(data) == len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def test_a_long_validation_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: if orders are compared on its beginning only, the n-gram is still scored on all of it."""
    corpus = lanterns()
    whole = measure_baselines(tiny_run(tmp_path / "whole", corpus), corpus)
    for module in (baselines, run_mixture):
        monkeypatch.setattr(module, "MOST_TRIED", 301)
    run = tiny_run(tmp_path / "run", corpus)
    found = measure_baselines(run, corpus)
    assert found.characters == whole.characters and found.xz_nats != whole.xz_nats
    assert found.ngram_nats == pytest.approx(ngram_nats(run, corpus, found.ngram_order), rel=1e-12)


def test_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: kept baselines are read, not measured again; if the file is lost, they are measured again."""
    corpus = short_corpus(tmp_path)
    run = tiny_run(tmp_path / "run", corpus)
    assert Baselines.of(run) is None and summary(run)["baselines"] is None
    found = measure_baselines(run, corpus)
    assert Baselines.of(run) == found and summary(run)["baselines"] == asdict(found)
    with monkeypatch.context() as patch:
        patch.setattr(baselines, run_mixture.measure_ngram.__name__, lambda *_: pytest.fail("measured again"))
        assert measure_baselines(run, corpus) == found
    run.figures_path("baselines").unlink()
    assert measure_baselines(run, corpus) == found


@pytest.mark.parametrize("text", ["aba", "aaab", "😀 \n" * 4, "ab" * 100])
def test_the_smallest_texts(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: every text that can be trained on has baselines, down to one character of validation."""
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    done = charlm(capsys, "train", tmp_path / "x.txt", "--out", tmp_path / "run", "--steps", 2, "--hidden", 4, "--json")
    figures = done.json["baselines"]
    assert done.code == 0 and figures["characters"] >= 1
    assert all(math.isfinite(value) and value > 0 for value in figures.values())


IMPOSSIBLE: list[Any] = [None, "1", True, -1, 1e300, [], {}]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "[1]", "5", "null", '{"characters": 1}', "{}", '"x"', "[[1, 2]]"),
        *(json.dumps(asdict(SOME) | change) for change in ({"x": 1}, {"ngram_order": 0}, {"ngram_order": 1.5})),
        *(json.dumps({**asdict(SOME), "xz_nats": value}) for value in IMPOSSIBLE),
        *(json.dumps({**asdict(SOME), "ppm_nats": value}) for value in IMPOSSIBLE[1:]),
        json.dumps(asdict(SOME)).replace("1.827", "NaN"),
        "\0" * 2**17,
    ],
)
def test_a_hostile_file(content: str, tmp_path: Path) -> None:
    """Law: a file that holds something else is refused in one line, with advice."""
    run = tiny_run(tmp_path / "run", short_corpus(tmp_path))
    run.figures_path("baselines").write_text(content)
    advice = r"baselines\.json .*remove it, and charlm train --resume makes it again"
    with pytest.raises(RunError, match=advice) as raised:
        Baselines.of(run)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


def test_a_file_of_before_ppm(tmp_path: Path) -> None:
    """Law: figures of a version that did not measure PPM are read, and nothing is said about PPM."""
    run = run_to_end(tiny_run(tmp_path / "run", corpus := short_corpus(tmp_path)), corpus)
    before = {name: value for name, value in asdict(SOME).items() if name not in ("ppm_nats", "unigram_nats")}
    run.figures_path("baselines").write_text(json.dumps(before))
    found = Baselines.of(run)
    assert (
        found is not None
        and asdict(found) == before | {"ppm_nats": None, "unigram_nats": None}
        and "PPM" not in verdict(run)
    )


def test_an_old_run_gets_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a run without baselines is shown as it is, and gets them when it is resumed."""
    corpus = short_corpus(tmp_path)
    run = run_to_end(tiny_run(tmp_path / "run", corpus), corpus)
    assert charlm(capsys, "info", run.path).code == 0
    done = charlm(capsys, "train", "--resume", run.path, "--steps", 30, "--json")
    assert done.code == 0 and done.json["baselines"] == asdict(Baselines.of(run) or SOME) != asdict(SOME)
