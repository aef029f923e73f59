"""Random lines of Unicode of every kind are scored without inf, nan or an exception."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import study_unicode as study
from runs import environment, trained_run

from charlm.trained_model import load

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "study_unicode.py"


def test_2000_lines() -> None:
    """Law: every character costs a finite number of nats, at least 0."""
    found = study.count(load(trained_run()), 2000, seed=1)
    assert found.is_good and (found.not_finite, found.negative) == (0, 0)
    assert found.lines == 2000 and found.characters > 40_000 and found.unseen > 15_000
    assert found.most_nats < 100


def test_the_lines_are_of_every_kind() -> None:
    """Law: each has one end; together they hold scalar values from all planes; the same seed gives the same lines."""
    rng, again = random.Random(5), random.Random(5)
    lines = [study.random_line(rng) for _ in range(2000)]
    assert lines == [study.random_line(again) for _ in range(2000)]
    text = "".join(lines)
    assert text.count("\n") == 2000 and not re.search("[\0\r\ud800-\udfff]", text)
    for character in "e\x1b\x7f\u202e\ufeff\uffff\U0010ffff\u3000\u0301\U0001f600":
        assert character in text, repr(character)
    assert len({ord(character) >> 16 for character in text}) == 17


@pytest.mark.parametrize("fault", ["inf", "nan", "-1"])
def test_impossible_costs_are_counted(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: with one of them, the count is not good."""
    model = load(trained_run())
    surprisals = model.surprisals

    def spoilt(pieces: object, **options: object) -> object:
        for nats in surprisals(pieces, **options):  # type: ignore[arg-type]
            nats[-1:] = float(fault) * (1e9 if fault == "-1" else 1)
            yield nats

    monkeypatch.setattr(model, surprisals.__name__, spoilt)
    assert not study.count(model, 20, seed=0).is_good


def test_the_script(tmp_path: Path) -> None:
    """Law: it prints the counts, and exits with 0."""
    command = [sys.executable, str(SCRIPT), str(trained_run()), "--lines", "50", "--seed", "2"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "50 lines of" in done.stdout and "0 lines with inf or nan" in done.stdout and "MB at most" in done.stdout
