"""Bad lines are ranked above good ones: nonsense that is planted into lines that a model was not trained on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import study_triage as study
from hypothesis import given
from hypothesis import strategies as st
from runs import environment, run_to_end, trained_run

from charlm.config import TrainSpec
from charlm.corpus.corpus import read_corpus
from charlm.trained_model import load
from charlm.training.new_run import new_run

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "study_triage.py"
SCORES = st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0]) | st.floats(0, 9), min_size=1, max_size=20)


@given(bad=SCORES, good=SCORES)
def test_auc(bad: list[float], good: list[float]) -> None:
    """Law: the share of all pairs in which the bad one is above, ties half; exchanged, it is the rest."""
    pairs = [(b > g) + (b == g) / 2 for b in bad for g in good]
    assert study.auc(np.array(bad), np.array(good)) == pytest.approx(sum(pairs) / len(pairs))
    assert study.auc(np.array(good), np.array(bad)) == pytest.approx(1 - sum(pairs) / len(pairs))


@pytest.mark.parametrize("kind", study.KINDS)
@given(text=st.text("The lantern burns all night.", min_size=40, max_size=90), seed=st.integers(0, 99))
def test_nonsense(kind: str, text: str, seed: int) -> None:
    """Law: a text of about the same length; the same for the same seed."""
    spoilt = study.KINDS[kind](text, random.Random(seed))
    assert spoilt == study.KINDS[kind](text, random.Random(seed))
    assert len(text) - 1 <= len(spoilt) <= len(text) and "\n" not in spoilt
    if kind == "characters shuffled":
        assert sorted(spoilt) == sorted(text)
    if kind == "5 % OCR noise":
        wrong = sum(a != b for a, b in zip(text, spoilt, strict=True))
        eligible = sum(character in study.LOOK_ALIKE for character in text)
        assert wrong == min(eligible, round(0.05 * len(text)))


def log_lines(count: int, rng: random.Random) -> list[str]:
    """Lines of a regular kind, as a service writes them: a small model soon predicts them well."""
    verbs = {"opened": "reading", "stored": "writing", "closed": "archiving", "fetched": "inspection"}
    lines = []
    for _ in range(count):
        verb, purpose = rng.choice(list(verbs.items()))
        name = rng.choice(["harbour", "lantern", "market", "bridge", "garden", "station"])
        lines.append(
            f"{rng.choice(['info', 'note'])}: the keeper of the {name} {verb} record {rng.randrange(100)} for {purpose}"
        )
    return lines


@pytest.mark.slow
def test_planted_nonsense_comes_first(tmp_path: Path) -> None:
    """Law: with an AUC of at least 0.95, for every kind of nonsense and all of them together, by both measures."""
    lines = log_lines(2100, random.Random(0))
    (tmp_path / "log.txt").write_text("\n".join(lines[:2000]) + "\n")
    corpus = read_corpus(tmp_path / "log.txt")
    spec = TrainSpec(batch=16, window=50, steps=200, evaluations=1)
    run = run_to_end(new_run(corpus, tmp_path / "run", spec, hidden=48), corpus)
    found = study.table(load(run.path), study.long_lines("\n".join(lines[2000:])), seed=0)
    assert list(found) == [*study.KINDS, "all together"]
    for kind, by in found.items():
        assert by["mean"] >= 0.95 and by["worst"] >= 0.95, (kind, by)


@pytest.mark.slow
def test_the_study_runs(tmp_path: Path) -> None:
    """Law: it prints its figures and a row for every kind, and leaves no files."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "log.txt").write_text("\n".join(log_lines(300, random.Random(1))))
    done = subprocess.run(
        [sys.executable, SCRIPT, "log.txt", "--minutes", "0.01", "--seed", "3"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path / "tmp")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0][2:] for row in rows[2:]] == [*study.KINDS, "all together"]
    assert "updates in" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.txt", "tmp"]
    assert not list((tmp_path / "tmp").iterdir())


def test_the_study_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: a model that is there is used as it is, and nonsense is planted into every long line of the text."""
    lines = log_lines(40, random.Random(2))
    (tmp_path / "log.txt").write_text("\n".join([*lines, "short"]))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path / "log.txt"), "--run", str(trained_run())])
    study.main()
    shown = capsys.readouterr().out
    assert shown.startswith("40 lines of") and "updates" not in shown and shown.count("\n| ") == 7
