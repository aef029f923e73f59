"""The recipes of CONTRIBUTING.md work as they are written: they are applied to a copy, and its tests run there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = (
    "charlm",
    "tests",
    "scripts",
    "docs",
    "corpora",
    "README.md",
    "CONTRIBUTING.md",
    "pyproject.toml",
    "setup.cfg",
)

pytestmark = pytest.mark.slow


class Block(NamedTuple):
    """A fenced block of the page: its language, the file that it is about, and its lines."""

    language: str
    file: str
    text: str


def recipe(heading: str) -> list[Block]:
    """The blocks with file names under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [Block(*found) for found in re.findall(r"^```(python|diff) (\S+)\n(.*?)^```", section, re.M | re.S)]


def apply(block: Block, root: Path) -> None:
    """Write a new file, or replace the lines of a diff, which must stand in the file exactly once."""
    path = root / block.file
    if block.language == "python":
        assert not path.exists(), f"{block.file} is there already"
        path.write_text(block.text, encoding="utf-8")
        return
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{block.file} does not have these lines once:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "shakespeare*"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(copy: Path, *arguments: str) -> str:
    """Run Python in the copy, on the copy's charlm; returns its output."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_adding_a_cell(copy: Path) -> None:
    """Law: a new cell takes at most four files of charlm/ and docs/, and passes the tests of cells as it is."""
    blocks = recipe("How to add a cell")
    files = {block.file for block in blocks if block.file.startswith(("charlm/", "docs/"))} | {"docs/cli.md"}
    assert len(files) <= 4
    for block in blocks:
        apply(block, copy)
    run(copy, "scripts/make_cli_reference.py")
    tests = [f"tests/{name}.py" for name in ("test_cell", "test_gradients", "test_activations", "test_cli_reference")]
    passed = run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-k", "mgu or reference", *tests)
    assert "passed" in passed
    run(
        copy,
        "-m",
        "charlm",
        "train",
        "corpora/lanterns.txt",
        "--cell",
        "mgu",
        "--steps",
        "5",
        "--out",
        "run",
        "--quiet",
    )


def test_adding_an_optimizer(copy: Path) -> None:
    """Law: a new optimizer is a file, and three lines of the registry."""
    for block in recipe("How to add an optimizer"):
        apply(block, copy)
    run(copy, "scripts/make_cli_reference.py")
    passed = run(
        copy, "-m", "pytest", "-p", "no:cacheprovider", "-k", "lion", "tests/test_optimizers.py", "tests/test_lion.py"
    )
    assert "passed" in passed
    run(
        copy,
        "-m",
        "charlm",
        "train",
        "corpora/lanterns.txt",
        "--optimizer",
        "lion",
        "--steps",
        "5",
        "--out",
        "run",
        "--quiet",
    )


def test_adding_a_command(copy: Path) -> None:
    """Law: a new command is a file, a row of the list, and a line of the README."""
    for block in recipe("How to add a command"):
        apply(block, copy)
    run(copy, "scripts/make_cli_reference.py")
    tests = ["tests/test_vocabulary_command.py", "tests/test_cli_reference.py"]
    assert "passed" in run(copy, "-m", "pytest", "-p", "no:cacheprovider", *tests)
