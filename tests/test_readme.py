"""The commands and the Python of the documents work as they are written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("c*s/README.md"))]
FIRST = "charlm train corpora/lanterns.txt"
BUDGET = {"CHARLM_TRAIN_MINUTES": "0.01"}  # instead of the default; options in the documents take precedence
SCRIPTS = """
import runpy, sys
for script in sys.argv[1:]:
    runpy.run_path(script, run_name="__main__")
"""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The charlm commands in the shell blocks, and those of its modules."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(("charlm ", "python -m charlm"))]


@pytest.fixture(scope="module")
def trained_clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the texts of a clone, in which the first command was typed."""
    folder = tmp_path_factory.mktemp("clone") / "clone"
    shutil.copytree(ROOT / "corpora", folder / "corpora", ignore=shutil.ignore_patterns("shakespeare*"))
    subprocess.run(FIRST, shell=True, cwd=folder, env=environment(), capture_output=True, check=True)
    return folder


@pytest.fixture
def clone(trained_clone: Path, tmp_path: Path) -> Path:
    """A copy of it, for one page."""
    return Path(shutil.copytree(trained_clone, tmp_path / "clone"))


def environment() -> dict[str, str]:
    """The environment of an activated virtual environment, with a short budget."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"OPENBLAS_NUM_THREADS": "1", **os.environ, **BUDGET, "PATH": path}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_its_commands_run(page: Path, clone: Path) -> None:
    """Law: every charlm command, in the order of the page, exits with 0. The first one has been typed in the clone."""
    for line in commands(page):
        if line.removesuffix(" --quiet") == FIRST:
            continue
        done = subprocess.run(line, shell=True, cwd=clone, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_its_python_runs(page: Path, clone: Path) -> None:
    """Law: every Python block runs as a script of its own, in the order of the page."""
    scripts = []
    for number, block in enumerate(blocks(page, "python")):
        scripts.append(clone / f"{page.stem}_{number}.py")
        scripts[-1].write_text(block, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS, *scripts], cwd=clone, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_left_to_fill_in(page: Path) -> None:
    """Law: no placeholder, and every file that is linked or shown exists."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"@@|\bTODO\b|\bSAMPLE\b|\bRESULTS\b", text)
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target


def test_the_two_commands_of_a_fresh_clone_are_there() -> None:
    """Law: both scripts at the beginning of the README can be executed, and the checks of a change call the second."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for script in ("./scripts/demo", "./scripts/test"):
        assert f"```sh\n{script}\n```" in text
        assert os.access(ROOT / script, os.X_OK)
    assert "./scripts/test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.network
def test_the_demo_runs_on_a_fresh_clone_and_again(tmp_path: Path) -> None:
    """Law: with tracked files only it installs, fetches, trains and samples; the second time it makes a second run."""
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
