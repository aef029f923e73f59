"""The recipes of CONTRIBUTING.md work as they are written: they are applied to a copy, and its tests run there."""

from __future__ import annotations

import importlib.util
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
    ".ci",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
    "setup.cfg",
)
QUICK = "not slow and not network"
TESTS_OF_ALL = ("test_cli_reference", "test_rooms")
TESTS_OF_CELLS = (
    *("test_cell", "test_cell_memory", "test_gated_cells", "test_activations", "test_tapes", "test_gradients"),
    *("test_model", "test_sequence", "test_predictors", "test_scoring", "test_exact_resume", "test_reference"),
)
TESTS_OF_OPTIMIZERS = ("test_optimizers", "test_exact_resume", "test_compatibility", "test_divergence")
TESTS_OF_COMMANDS = ("test_cli", "test_cli_streams", "test_readme", "test_api")

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


def apply_recipe(heading: str, root: Path) -> list[Block]:
    """Do what a recipe says; returns its blocks. Skips the test if the repository has the example already."""
    blocks = recipe(heading)
    for block in blocks:
        if block.language == "python" and (root / block.file).exists():
            pytest.skip(f"{block.file} is there already")
    for block in blocks:
        apply(block, root)
    run(root, "scripts/make_cli_reference.py")
    return blocks


def check(copy: Path, *names: str) -> None:
    """Hold the copy against the linter and the formatter, where there is one, and run the quick tests of some files."""
    if importlib.util.find_spec("ruff"):
        run(copy, "-m", "ruff", "check", "--no-cache", ".")
        run(copy, "-m", "ruff", "format", "--check", "--no-cache", ".")
    files = [f"tests/{name}.py" for name in names]
    assert "passed" in run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-m", QUICK, *files)


def check_slowly(copy: Path, example: str, *names: str) -> None:
    """Run the slow tests of some files that have the example as a parameter."""
    files = [f"tests/{name}.py" for name in names]
    assert "passed" in run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-m", "slow", "-k", example, *files)


def check_training(copy: Path, *options: str) -> None:
    """A few updates from the command line."""
    train = ("train", "corpora/lanterns.txt", "--steps", "5", "--out", "run", "--quiet")
    run(copy, "-m", "charlm", *train, *options)


def test_adding_a_cell(copy: Path) -> None:
    """Law: a new cell takes at most four files of charlm/ and docs/, and passes the tests of every cell as they are."""
    blocks = apply_recipe("How to add a cell", copy)
    files = {block.file for block in blocks if block.file.startswith(("charlm/", "docs/"))} | {"docs/cli.md"}
    assert len(files) <= 4
    check(copy, *TESTS_OF_ALL, *TESTS_OF_CELLS)
    check_slowly(copy, "mgu", "test_cell_memory", "test_gradients")
    check_training(copy, "--cell", "mgu")


def test_adding_an_optimizer(copy: Path) -> None:
    """Law: a new optimizer is a file, and three lines of the registry."""
    apply_recipe("How to add an optimizer", copy)
    check(copy, *TESTS_OF_ALL, *TESTS_OF_OPTIMIZERS, "test_lion")
    check_training(copy, "--optimizer", "lion")


def test_adding_a_command(copy: Path) -> None:
    """Law: a new command is a file, a row of the list, two rows of the tests, and a line of the README."""
    apply_recipe("How to add a command", copy)
    check(copy, *TESTS_OF_ALL, *TESTS_OF_COMMANDS, "test_vocabulary_command")
    check_slowly(copy, "vocabulary", "test_options", "test_cli_streams")
