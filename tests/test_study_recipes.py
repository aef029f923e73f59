"""scripts/study_recipes.py trains what its words say, and leaves charlm as it was."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import study_recipes as study
from runs import LANTERNS, trained_run

from charlm.arrays import Floats
from charlm.nn.model import CharLM, ModelSpec
from charlm.optim.schedules import Schedule
from charlm.training import coordinator


def test_words_are_values() -> None:
    """Law: numbers are numbers, None is None, and any other word is itself."""
    words = "hidden=256 dropout=0.2 patience=None optimizer=sgd update_bias=-1"
    expected = {"hidden": 256, "dropout": 0.2, "patience": None, "optimizer": "sgd", "update_bias": -1}
    assert study.setting(words) == expected


def test_another_initialisation_and_schedule() -> None:
    """Law: inside the block, biases of update gates and recurrent weights differ, and nothing else; then all is as
    before."""
    model = CharLM(ModelSpec(9, hidden=8, layers=2))

    def params() -> dict[str, Floats]:
        return dict(model.initial_params(np.random.default_rng(1)).items())

    before = params()
    with study.changed({"final": 0.5}, {"update_bias": -1, "recurrent": "uniform"}):
        inside = params()
        assert getattr(coordinator, Schedule.__name__)(1.0, "cosine", 50)(100, 1.0) == 0.5
    differ = {name for name in before if not np.array_equal(before[name], inside[name])}
    assert differ == {f"layer{k}.{name}" for k in range(2) for name in "Ub"}
    assert (inside["layer1.b"] == [-1] * 8 + [0] * 16).all()
    assert getattr(coordinator, Schedule.__name__) is Schedule
    assert all(np.array_equal(before[name], after) for name, after in params().items())


def test_a_row_for_every_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a row per setting, with a loss for every seed, and their median."""
    study.compare(LANTERNS.read_text("utf-8"), ["steps=3 hidden=8 batch=2 window=9 warmup=0", "steps=2"], 3, tmp_path)
    rows = [row.split(" | ") for row in capsys.readouterr().out.splitlines()[4:]]
    assert [row[0] for row in rows] == ["| steps=3 hidden=8 batch=2 window=9 warmup=0", "| steps=2"]
    for row in rows:
        losses = row[6].split()
        assert len(set(losses)) == 3 and sorted(losses)[1] == row[7].removesuffix(" |")


def test_crops_begin_anew(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: crops are read without the text before them, so they cost more than one long pass; too short a text is
    refused."""
    monkeypatch.setattr(study, "CROPS", 50)
    text = LANTERNS.read_text("utf-8")
    study.crops(str(trained_run()), text * (1 + 3000 // len(text)))
    long, short = (float(found) for found in re.findall(r": (\d\.\d+)", capsys.readouterr().out))
    assert 0 < long < short
    with pytest.raises(SystemExit, match="5,120"):
        study.crops(str(trained_run()), text[:1000])
