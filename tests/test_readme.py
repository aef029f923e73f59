"""What the README and the pages under docs/ say can be typed, works when it is typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BUDGET = {"CHARLM_TRAIN_MINUTES": "0.03"}  # the commands' own default is minutes; the rest of them is as written


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines to type that are charlm's own commands."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("charlm ")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the texts that a clone has, in which the first command was typed; it goes with all that is made."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "corpora", folder / "corpora", ignore=shutil.ignore_patterns("shakespeare*"))
    first = "charlm train corpora/lanterns.txt --quiet"
    subprocess.run(first, shell=True, cwd=folder, env=environment(), capture_output=True, check=True)
    return folder


def environment() -> dict[str, str]:
    """As after activating the virtual environment, with a short budget."""
    return {**os.environ, **BUDGET, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_commands_run(page: Path, clone: Path) -> None:
    """Every charlm command, in the order of the page, exits with 0."""
    for line in commands(page):
        done = subprocess.run(line, shell=True, cwd=clone, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_python_runs(page: Path, clone: Path) -> None:
    """Every Python block, as a script of its own."""
    for number, block in enumerate(blocks(page, "python")):
        script = clone / f"{page.stem}_{number}.py"
        script.write_text(block, encoding="utf-8")
        done = subprocess.run([sys.executable, script], cwd=clone, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page: Path) -> None:
    """No placeholder is left, and every file that is linked or shown is there."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"@@|\bTODO\b|\bSAMPLE\b|\bRESULTS\b", text)
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target


def test_every_command_is_mentioned() -> None:
    """A command that the README does not show is a command that nobody finds."""
    typed = " ".join(commands(ROOT / "README.md"))
    assert all(f"charlm {name}" in typed for name in COMMANDS)


def test_the_two_commands_of_a_fresh_clone_are_there() -> None:
    """Both scripts that the README begins with can be started, and the checks of a change call the second."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for script in ("./scripts/demo", "./scripts/test"):
        assert f"```sh\n{script}\n```" in text
        assert os.access(ROOT / script, os.X_OK)
    assert "./scripts/test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.network
def test_the_demo_runs_on_a_fresh_clone_and_again(tmp_path: Path) -> None:
    """From tracked files only: it installs, fetches, trains and samples; and a second time makes a second run."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    for run in ("shakespeare", "shakespeare-2"):
        done = subprocess.run(["./scripts/demo"], cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "checkpoints" / run / "loss.png").stat().st_size > 10_000
        assert "\nT" in done.stdout
