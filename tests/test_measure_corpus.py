"""scripts/measure_corpus.py prints its measurements and removes its files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from runs import environment

pytestmark = pytest.mark.slow

SMALL = {"CHARLM_TRAIN_HIDDEN": "4", "CHARLM_TRAIN_VAL_LIMIT": "1000"}
SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "measure_corpus.py"


def test_measurements(tmp_path: Path) -> None:
    """Law: it prints figures for both runs, reading and encoding; the temporary folder is empty afterwards."""
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, SCRIPT, "--megabytes", "17", "--letters", "english"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path / "tmp"), CHARLM_CACHE=str(tmp_path / "cache"), **SMALL),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for pattern in (
        r"17 MB of english letters",
        r"first run: +[\d.]+ s to the first step, +[\d.]+ s in all, peak memory [\d,]+ MB, anonymous [\d,]+ MB",
        r"second run: ",
        r"reading: +\d+ MB/s",
        r"encoding: +\d+ MB/s",
    ):
        assert re.search(pattern, done.stdout), done.stdout
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]
