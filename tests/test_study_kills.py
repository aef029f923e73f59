"""scripts/study_kills.py, with few kills: it kills, finds nothing wrong, and says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from runs import environment

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "study_kills.py"


@pytest.mark.slow
def test_a_few_kills(tmp_path: Path) -> None:
    """Law: after kill -9 at random moments all files are whole, and the end is that of a run without any."""
    command = [sys.executable, str(SCRIPT), "--kills", "2", "--steps", "40"]
    changes = {"TMPDIR": str(tmp_path), "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, env=environment(**changes), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done
    rows = dict(line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:])
    counts = {name: int(count) for name, count in rows.items()}
    assert counts.pop("kills") == 2 and counts.pop("runs compared") >= 1
    assert not any(count for name, count in counts.items() if not name.startswith("kills"))
    assert not list(tmp_path.iterdir())
