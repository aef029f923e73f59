"""Files of the version before still mean the same: runs, checkpoints, counts and kept ids in tests/data."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from runs import run_to_end

import charlm
from charlm.corpus import cache
from charlm.parallel.blas import blas_name
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run

DATA = Path(__file__).parent / "data" / "version_0_1_0"
EXPECTED: dict[str, dict[str, Any]] = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
CELLS = [name for name in EXPECTED if (DATA / name).is_dir() and name not in ("from", "cache")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, in which their texts are found."""
    folder = tmp_path / "data"
    shutil.copytree(DATA, folder)
    monkeypatch.chdir(folder)
    return folder


def digest(run: Run) -> str:
    """All bits of a run's last parameters and optimizer memory; b_rn was called b_rc."""
    checkpoint = load_checkpoint(run.last_path)
    sha256 = hashlib.sha256()
    for arrays in (checkpoint.params, checkpoint.memory):
        for name in sorted(arrays, key=lambda name: name.replace("b_rn", "b_rc")):
            sha256.update(arrays[name].tobytes())
    return sha256.hexdigest()


@pytest.mark.parametrize("name", CELLS)
def test_a_run_goes_on_as_before(name: str, here: Path) -> None:
    """Law: a run of the version before, stopped in the middle, comes to what that version came to; to the bit, if the
    BLAS is the same."""
    expected, run = EXPECTED[name], Run.open(here / name)
    run_to_end(run, run.corpus())
    metrics = [(record["step"], record["split"], record["nats"]) for record in run.metrics()]
    assert [entry[:2] for entry in metrics] == [tuple(entry[:2]) for entry in expected["metrics"]]
    nats = [entry[2] for entry in metrics]
    assert nats == pytest.approx([entry[2] for entry in expected["metrics"]], rel=1e-4)
    if blas_name() == expected["blas"]:
        assert digest(run) == expected["sha256"]
    charlm.measure_baselines(run, run.corpus())
    assert vars(charlm.fit_mix(run, run.corpus())) == pytest.approx(expected["mix"], rel=1e-4)


@pytest.mark.parametrize("name", CELLS)
def test_a_model_says_the_same(name: str, here: Path) -> None:
    """Law: score, adapted score, mixture and sample of a model are those of the version before."""
    expected, run = EXPECTED[name], Run.open(here / name)
    run_to_end(run, run.corpus())
    model, text = charlm.load(run.path), "The lantern burns.\n"
    assert model.score(text).nats == pytest.approx(expected["nats"], rel=1e-4)
    adapted = model.surprisals(["The lantern burns at night, said the keeper.\n"], adapt=0.2)
    assert sum(nats.sum() for nats in adapted) == pytest.approx(expected["adapted"], rel=1e-4)
    assert "".join(model.sample("T", length=40, rng_seed=3)) == expected["sample"]
    charlm.measure_baselines(run, run.corpus())
    charlm.fit_mix(run, run.corpus())
    assert charlm.load(run.path, mix=True).score(text).nats == pytest.approx(expected["mixed_nats"], rel=1e-4)


def test_kept_results_are_read(here: Path) -> None:
    """Law: baselines, mixture weight and n-gram counts of the version before are taken as they are."""
    run = Run.open(here / "gru")
    before = {file.name: file.read_bytes() for file in (run.path).glob("*.json")} | {
        "ngram.counts": run.ngram_path.read_bytes()
    }
    baselines = charlm.measure_baselines(run, run.corpus())
    assert baselines.ngram_nats > 0 and charlm.Mix.of(run) is not None
    assert {name: (run.path / name).read_bytes() for name in before} == before


def test_a_run_from_a_model_goes_on(here: Path) -> None:
    """Law: a run that began with a trained model goes on, with its characters in their places."""
    run = Run.open(here / "from")
    run_to_end(run, run.corpus())
    expected = [entry[2] for entry in EXPECTED["from"]["metrics"]]
    assert [record["nats"] for record in run.metrics()] == pytest.approx(expected, rel=1e-4)
    found = charlm.forgetting(run)
    assert found is not None and found.old_after is not None


def test_kept_ids_are_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the ids of a large text that the version before kept are found by their content."""
    monkeypatch.setenv("CHARLM_CACHE", str(here / "cache"))
    data = (here / "text.txt").read_bytes()
    found = cache.find(len(data), cache.key_of([("text", hashlib.sha256(data).hexdigest())]))
    assert found is not None
    head, ids = found
    assert (head.sha256, len(ids)) == tuple(EXPECTED["cache"].values())
    text = "".join(head.vocabulary[one] for one in ids)
    assert text.encode() == data
