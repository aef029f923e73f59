"""Ctrl-C in a real terminal: in the first update, in an evaluation, at a bar; once and twice."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest
from runs import LANTERNS, TINY, bits_of_run, charlm_command, environment, run_to_end, the_command, tiny_run, wait_until

from charlm.corpus.corpus import read_corpus
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run

pytestmark = pytest.mark.slow

SMALL = ("--hidden", 8, "--batch", 4, "--window", 10)
STEPS = 3  # and as many evaluations, each of a third of a second or more
VALIDATION = ("--val-fraction", 0.9, "--val-limit", 10**7)
EVALUATED = ("text.txt", *SMALL, "--steps", STEPS, "--evaluate-every", 1, *VALIDATION, "--quiet", "--out", "run")
SPEC = replace(TINY, steps=STEPS, val_fraction=0.9, val_limit=10**7, evaluations=None, evaluate_every=1, reports=200)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_bytes(LANTERNS.read_bytes() * 40)
    return tmp_path


Terminal = Callable[..., Any]


@pytest.fixture
def terminal(here: Path) -> Iterator[Terminal]:
    """Starts `charlm train` in a terminal of its own; what still runs at the end is killed."""
    children = []

    def typed(*arguments: object) -> Any:
        command = shlex.join(charlm_command("train", *arguments))
        child = pexpect.spawn(
            command, cwd=str(here), env=environment(), dimensions=(24, 100), timeout=30, encoding="utf-8"
        )
        children.append(child)
        return child

    yield typed
    for child in children:
        child.close(force=True)


def code_of(child: Any) -> int | None:
    """The exit code, after all output."""
    child.expect(pexpect.EOF)
    child.close()
    code: int | None = child.exitstatus
    return code


def in_an_evaluation(run: Path) -> None:
    """Wait until the second evaluation has begun: the first picture is drawn, and an update takes little time."""
    wait_until((run / "loss.png").exists)
    time.sleep(0.1)


def test_at_the_bar(terminal: Terminal, here: Path) -> None:
    """Law: a message, a checkpoint, the command that resumes, and 130; typed in a terminal, the command resumes."""
    child = terminal(LANTERNS, *SMALL, "--steps", 10**5, "--out", "run")
    child.expect(r"%\|")
    child.sendintr()
    child.expect("Finishing the step and saving")
    child.expect("Stopped and saved. Go on with: charlm train --resume run\r\n")
    assert code_of(child) == 130 and "Traceback" not in child.before
    step = load_checkpoint(here / "run" / "last.safetensors").step
    assert step >= 1
    child = terminal("--resume", "run", "--steps", step + 20)
    assert code_of(child) == 0 and "Validation loss" in child.before
    assert load_checkpoint(here / "run" / "last.safetensors").step == step + 20


def test_in_the_first_update(terminal: Terminal, here: Path) -> None:
    """Law: it is finished and saved."""
    child = terminal(LANTERNS, "--hidden", 512, "--batch", 64, "--window", 100, "--minutes", 600, "--out", "run")
    wait_until((here / "run" / "metrics.jsonl").exists)  # written before the first update
    child.sendintr()
    assert code_of(child) == 130 and "Traceback" not in child.before
    assert the_command(child.before)[3:] == ["train", "--resume", "run"]
    assert load_checkpoint(here / "run" / "last.safetensors").step == 1


def test_in_an_evaluation(terminal: Terminal, here: Path) -> None:
    """Law: it is finished and kept; resumed, the run comes to the bits of one that never stopped."""
    child = terminal(*EVALUATED)
    in_an_evaluation(here / "run")
    child.sendintr()
    assert code_of(child) == 130 and "Traceback" not in child.before
    stopped = Run.open(here / "run")
    step = load_checkpoint(stopped.last_path).step
    assert step < STEPS and stopped.metrics()[-1]["step"] == step
    assert code_of(terminal("--resume", "run", "--quiet")) == 0
    corpus = read_corpus(here / "text.txt")
    assert bits_of_run(stopped) == bits_of_run(run_to_end(tiny_run(here / "straight", corpus, SPEC), corpus))


def test_twice_in_an_evaluation(terminal: Terminal, here: Path) -> None:
    """Law: the second one ends the process at once, unsaved; the checkpoints are whole, and the run can be resumed."""
    child = terminal(*EVALUATED)
    in_an_evaluation(here / "run")
    child.sendintr()
    child.expect("once more to leave at once")
    child.sendintr()
    assert code_of(child) == 130 and "Traceback" not in child.before and "saved" not in child.before
    run = Run.open(here / "run")
    assert [load_checkpoint(path).step for path in (run.last_path, run.best_path)] == [1, 1]
    assert code_of(terminal("--resume", "run", "--quiet", "--steps", 2)) == 0
