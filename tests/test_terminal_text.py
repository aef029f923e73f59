"""A terminal obeys nothing in a text, a name or a message, whatever the command; a pipe gets all of it unchanged."""

from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from runs import LANTERNS, TINY_OPTIONS, charlm_command, environment

import charlm.cli
from charlm.cli import COMMANDS

EVIL = "\x1b[31m\x07\x08\x9b2J\u202e\u2066\u200b\u2028\u0085\x7f\ufeff"
NAME = f"a{EVIL}'b"
TEXT = f"The {EVIL} lamp.\tA{EVIL}!\n" * 60
SAMPLE = ("sample", NAME, "--rng-seed", "1", "--temperature", "1.5")
CALLS = {
    "sample": [*SAMPLE],
    "sample --seed": [*SAMPLE, "--seed", EVIL, "--stop", f"{EVIL}x"],
    "sample --count": [*SAMPLE, "--count", "2", "--novelty", "--seed", EVIL],
    "sample --json": [*SAMPLE, "--json", "--novelty", "--seed", EVIL],
    "sample --new": [*SAMPLE, "--new", "--unique", "--stop-line", "--length", "20"],
    "sample --rng-seed": ["sample", NAME, "--rng-seed", EVIL],
    "sample nothing": ["sample", f"no{NAME}"],
    "score": ["score", NAME, f"{NAME}.txt"],
    "score --per line": ["score", NAME, f"{NAME}.txt", "--per", "line", "--top", "3"],
    "score --per file": ["score", NAME, f"{NAME}.txt", "--per", "file", "--html", f"{NAME}.html"],
    "score --json": ["score", NAME, f"{NAME}.txt", "--per", "char", "--top", "20", "--json"],
    "score nothing": ["score", NAME, f"no{NAME}"],
    "score neither": ["score", f"no{NAME}", f"{NAME}.txt"],
    "inspect": ["inspect", NAME, f"{NAME}.txt", "-o", f"{NAME}.html"],
    "inspect nothing": ["inspect", NAME, f"no{NAME}", "--debug"],
    "inspect suffix": ["inspect", NAME, f"{NAME}.txt", "-o", NAME],
    "plot": ["plot", NAME, NAME, "-o", f"{NAME}.svg"],
    "plot --terminal": ["plot", NAME, NAME, "--terminal"],
    "plot suffix": ["plot", NAME, "-o", NAME],
    "info": ["info", NAME],
    "info --json": ["info", NAME, "--json"],
    "info nothing": ["info", f"no{NAME}"],
    "train": ["train", f"{NAME}.txt", *TINY_OPTIONS],
    "train --json": ["train", f"{NAME}.txt", *TINY_OPTIONS, "--json", "--quiet"],
    "train nothing": ["train", f"no{NAME}"],
    "train --resume": ["train", "--resume", NAME],
    "train --resume nothing": ["train", "--resume", f"no{NAME}"],
    "train --from": ["train", f"{NAME}.txt", *TINY_OPTIONS[4:], "--from", NAME],
    "train taken": ["train", f"{NAME}.txt", "--out", NAME],
    "no option": ["info", f"--{EVIL}"],
    "no command": [EVIL],
}
FAILING: dict[str, tuple[int, ...]] = {
    call: (1, 2) for call in CALLS if call.split()[-1] in ("nothing", "neither", "suffix", "taken")
}
FAILING |= {"sample --rng-seed": (2,), "sample --new": (0, 1), "no option": (2,), "no command": (2,)}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a text that is full of control characters, and a run on it, both with names full of them."""
    folder = tmp_path_factory.mktemp("evil")
    (folder / f"{NAME}.txt").write_text(TEXT, encoding="utf-8")
    command = charlm_command("train", f"{NAME}.txt", *TINY_OPTIONS, "--quiet", "--out", NAME)
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True, timeout=60)
    yield folder
    shutil.rmtree(folder)


def in_terminal(arguments: list[str], here: Path) -> tuple[int | None, bytes]:
    """The exit code of a command in a terminal, and all that it sent there."""
    child = pexpect.spawn(
        shlex.join(charlm_command(*arguments)), cwd=str(here), env=environment(), dimensions=(24, 100), timeout=60
    )
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before


def is_obeyed(character: str) -> bool:
    """Whether a terminal may do something else at a character than show it."""
    return unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp")


def test_every_command_is_called() -> None:
    """Law: the calls of this file cover all commands."""
    assert {name.split()[0] for name in CALLS} >= set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_terminal_obeys_nothing(call: str, here: Path) -> None:
    """Law: valid UTF-8, and besides line ends, tabs and the carriage returns of the bar nothing that is obeyed."""
    code, sent = in_terminal(CALLS[call], here)
    assert code in FAILING.get(call, (0,)), sent
    shown = sent.decode("utf-8").replace("\r\n", "\n")
    shown = shown.replace("\r", "") if CALLS[call][0] == "train" else shown
    assert [c for c in shown if is_obeyed(c) and c not in "\n\t"] == []
    if "--json" in call:
        assert all(isinstance(json.loads(line), dict) for line in shown.splitlines() if line.startswith("{"))


@pytest.mark.slow
def test_the_printed_command_can_be_typed(here: Path) -> None:
    """Law: bash runs what a terminal shows after training, for a name full of control characters."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    code, sent = in_terminal(["train", f"{NAME}.txt", *TINY_OPTIONS, "--quiet", "--out", f"{NAME} new"], here)
    (line,) = [line for line in sent.decode().splitlines() if line.startswith("Next: charlm ")]
    typed = shlex.join(charlm_command()) + line.removeprefix("Next: charlm") + " --rng-seed 1"
    done = subprocess.run([bash, "-c", typed], cwd=here, env=environment(), capture_output=True, timeout=60)
    assert (code, done.returncode, done.stderr) == (0, 0, b"") and done.stdout.startswith(b"T")


@pytest.mark.slow
def test_a_pipe_gets_the_text_unchanged(here: Path) -> None:
    """Law: samples and messages as they are, colours too; JSON holds the same text."""
    seed = f"The {EVIL}"
    outputs = []
    for options in ([], ["--count", "2"], ["--json"]):
        command = charlm_command(*SAMPLE, "--seed", seed, *options)
        done = subprocess.run(command, cwd=here, env=environment(), capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
        outputs.append(done.stdout.decode())
    assert all(output.startswith(seed) for output in outputs[:2])
    assert outputs[1].startswith(outputs[0]) and json.loads(outputs[2])["text"] == outputs[0]
    done = subprocess.run(charlm_command("info", f"no{NAME}"), cwd=here, env=environment(), capture_output=True)
    assert "\x1b[31m\x07\x08\x9b2J\u202e" in done.stderr.decode()


@pytest.mark.slow
def test_a_name_that_is_not_utf8(here: Path) -> None:
    """Law: JSON is UTF-8 and gives the name back; a terminal gets its bytes escaped, and can be told to train it on."""
    name = os.fsdecode(b"\x9b31m caf\xe9")
    text, run = here / f"{name}.txt", here / name
    text.write_bytes(LANTERNS.read_bytes()[:1000])
    command = charlm_command("train", text.name, *TINY_OPTIONS, "--quiet", "--json", "--out", name)
    done = subprocess.run(command, cwd=here, env=environment(), capture_output=True, timeout=60)
    assert os.fsencode(json.loads(done.stdout.decode("utf-8"))["run"]) == os.fsencode(name), done
    for arguments in (["score", name, text.name, "--per", "line", "--json"], ["info", name, "--json"]):
        done = subprocess.run(charlm_command(*arguments), cwd=here, env=environment(), capture_output=True, timeout=60)
        assert done.returncode == 0 and done.stdout.decode("utf-8")
    code, sent = in_terminal(["train", "--resume", name, "--steps", "26", "--quiet"], here)
    assert code == 0 and "Next: charlm sample $'\\x9b31m caf\\xe9' --seed" in sent.decode("utf-8")
    assert run.is_dir()


def test_no_command_prints_past_the_guard() -> None:
    """Law: no module of the command line uses click.echo, which removes colours from what goes into a pipe."""
    for path in Path(charlm.cli.__file__).parent.glob("*.py"):
        names = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert not names & {"click.echo", "click.secho", "print", "tqdm.write"}, path.name
