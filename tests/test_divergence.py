"""Whatever explodes, the disk holds good files only, and what going back decided outlives a stop and a crash."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from runs import (
    TINY,
    Explosions,
    short_corpus,
    tiny_run,
)

from charlm.store.checkpoint import load_checkpoint
from charlm.store.corpus import Corpus
from charlm.training import train


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return short_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw"])
def test_a_memory_that_overflows_is_a_divergence(
    optimizer: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: a slope whose square is no number any more is seen, though loss, norm and parameters are finite."""
    run = tiny_run(tmp_path / "run", corpus, replace(TINY, optimizer=optimizer, clip_norm=None))
    Explosions(monkeypatch, {12}, nats=3.0, slope=1e25)
    for progress in train(run, corpus):
        assert math.isfinite(progress.gradient_norm)
        for path in run.path.glob("*.safetensors"):
            load_checkpoint(path)
    assert progress.rollbacks == 1
