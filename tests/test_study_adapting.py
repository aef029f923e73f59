"""The study of dynamic evaluation gives the bits of `charlm score --adapt`, and does not change the constants."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import study_adapting as study
from runs import LANTERNS, environment, random_model, trained_run

from charlm.predict import dynamic_evaluation
from charlm.predict.network import Network
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import TrainedModel, load

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "study_adapting.py"


def test_a_row_is_what_score_says(tmp_path: Path) -> None:
    """Law: with the module's constants, the bits are those of `surprisals(adapt=...)`; with others they differ."""
    text = LANTERNS.read_text(encoding="utf-8")[:400]
    command = [sys.executable, str(SCRIPT), str(trained_run()), str(LANTERNS), "--limit", "400", "--rates", "0.1,0.3"]
    command += ["--decays", f"{dynamic_evaluation.DECAY},0.5"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| 20 \| (\S+) \| (\S+) \| (\S+) \|", done.stdout, re.MULTILINE)
    assert len(rows) == 4 and len({bits for _, _, bits in rows}) == 4
    for decay, rate, bits in rows[:2]:
        (nats,) = load(trained_run()).surprisals([text], adapt=float(rate))
        assert float(decay) == dynamic_evaluation.DECAY
        assert float(bits) == pytest.approx(nats.mean() / math.log(2), abs=1e-4)


def test_a_divergence_is_a_row(tmp_path: Path) -> None:
    """Law: a rate at which the model diverges costs infinitely much; the constants are restored."""
    model, params = random_model(3, vocabulary=8, dtype="float32", cell="rnn", activation="relu")
    params["layer0.U"][...] *= 1e30
    before = dynamic_evaluation.DECAY, dynamic_evaluation.WINDOW
    diverging = TrainedModel(Network(model, params, 0), Vocabulary("\nabcdef"), {}, tmp_path)
    assert study.bits(diverging, "abcabcde\n" * 20, 1.0, 0.5, 10) == math.inf
    assert before == (dynamic_evaluation.DECAY, dynamic_evaluation.WINDOW)
