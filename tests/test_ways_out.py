"""Refusals and warnings name the command that does what was wanted, and a refusal changes nothing."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile_files import checkpoint_parts, forged
from runs import (
    LANTERNS,
    TINY,
    TINY_OPTIONS,
    Explosions,
    Outcome,
    charlm,
    charlm_process,
    copy_of_trained_run,
    lanterns,
    run_to_end,
    short_corpus,
    the_command,
    tiny_run,
)

from charlm import change_budget, change_sources, change_training, load
from charlm.cli import train as train_command
from charlm.cli.interrupts import Interrupts
from charlm.corpus.corpus import read_corpus
from charlm.errors import CheckpointError, CorpusError, DivergenceError, RunError, SpecError
from charlm.runs.figures import Divergence
from charlm.runs.run import Run
from charlm.training import resume
from charlm.training.loop import train_steps
from charlm.training.memory import require_memory_for
from charlm.training.report import summary

pytestmark = pytest.mark.usefixtures("quick_disk")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the beginning of a text, short.txt."""
    monkeypatch.chdir(tmp_path)
    short_corpus(tmp_path)
    return tmp_path


def trained(capsys: Capture, *options: object) -> Path:
    """A run of 24 updates on short.txt."""
    assert charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet", *options, "--out", "a run").code == 0
    return Path("a run")


def files_of(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"}


def command_in(message: str) -> list[str]:
    """The arguments of the command `charlm ...` that a message shows, up to a word that no command has."""
    words = shlex.split(message[message.rindex("charlm train ") :])
    return words[1 : min(words.index(word) for word in ("starts", "makes", "trains", "finds") if word in words)]


# ------------------------------------------------------------------------------------------------ what a run keeps


def test_another_rate(here: Path, capsys: Capture) -> None:
    """Law: the command that is named trains the model on with that rate; the run stays as it is."""
    run = trained(capsys)
    before = files_of(run)
    done = charlm(capsys, "train", "--resume", run, "--lr", "0.001", "--clip-norm", "0", "--steps", "3")
    assert done.is_clear_error(2) and "cannot change --clip-norm, --lr" in done.err
    command = command_in(done.err)
    assert command == [
        *("train", str(here / "short.txt"), "--from", "a run"),
        *("--clip-norm", "0.0", "--lr", "0.001", "--steps", "3"),
    ]
    again = charlm(capsys, *command, "--quiet", "--json")
    assert again.code == 0 and again.json["validation_nats_before"] == pytest.approx(
        load(run).progress["best_nats"], rel=1e-5
    )
    assert files_of(run) == before


def test_another_size(here: Path, capsys: Capture) -> None:
    """Law: sizes cannot be changed: the command makes a new run."""
    run = trained(capsys)
    done = charlm(capsys, "train", "--resume", run, "--hidden", 9, "--no-residual", "--steps", "3")
    assert done.is_clear_error(2) and done.err.rstrip().endswith("makes a new run")
    command = command_in(done.err)
    assert command == ["train", str(here / "short.txt"), "--hidden", "9", "--no-residual", "--steps", "3"]
    assert charlm(capsys, *command, "--batch", 4, "--quiet").code == 0


@pytest.mark.parametrize(("option", "said"), [("--out", "leave --out out"), ("--from", "leave one out")])
def test_resume_with_what_only_a_new_run_has(option: str, said: str, here: Path, capsys: Capture) -> None:
    run = trained(capsys)
    done = charlm(capsys, "train", "--resume", run, option, "x")
    assert done.is_clear_error(2) and said in done.err
    assert charlm(capsys, "train", "--resume", run, option, "x", "--lr", 1).is_clear_error(2)


# ---------------------------------------------------------------------------------------------------------- the text


def test_a_grown_text(here: Path, capsys: Capture) -> None:
    """Law: it is told from another text, and the command that is named trains on all of it, from the model."""
    run = trained(capsys)
    with Path("short.txt").open("a") as file:
        file.write("More of it.\n" * 30)
    done = charlm(capsys, "train", "--resume", run)
    assert done.is_clear_error(1) and "the text is longer now" in done.err
    command = command_in(done.err)
    assert command == ["train", str(here / "short.txt"), "--from", "a run"]
    assert charlm(capsys, *command, "--steps", 2, "--quiet").code == 0


@pytest.mark.parametrize("text", ["Another text.\n" * 40, "x", "Another\ntext, \x7f" * 2000])
def test_another_text(text: str, here: Path, capsys: Capture) -> None:
    run = trained(capsys)
    Path("short.txt").write_text(text + "y")
    done = charlm(capsys, "train", "--resume", run)
    assert done.is_clear_error(1) and "not the one" in done.err and "longer now" not in done.err
    assert command_in(done.err) == ["train", str(here / "short.txt"), "--from", "a run"]


def test_a_renamed_text(here: Path, capsys: Capture) -> None:
    """Law: the command says how to go on with it, and the run remembers where it is."""
    run = trained(capsys)
    before = files_of(run)
    Path("short.txt").rename("new name.txt")
    done = charlm(capsys, "train", "--resume", run, "--steps", 30)
    assert done.is_clear_error(1) and str(here / "short.txt") in done.err
    assert command_in(done.err) == ["train", "NEW", "--resume", "a run"]
    novelty = charlm(capsys, "sample", run, "--novelty")
    assert novelty.is_clear_error(1) and "--corpus FILE" in novelty.err and files_of(run) == before

    asked = ("sample", run, "--novelty", "--rng-seed", 1, "-n", 50)
    found = charlm(capsys, *asked, "--corpus", "new name.txt")
    assert found.code == 0 and "Longest run copied" in found.err and files_of(run) == before
    assert charlm(capsys, *asked, "--corpus", LANTERNS).is_clear_error(1)
    assert charlm(capsys, "sample", run, "--corpus", "new name.txt").is_clear_error(2)

    done = charlm(capsys, "train", "new name.txt", "--resume", run, "--steps", 30, "--quiet")
    assert done.code == 0 and f"read from {here / 'new name.txt'} from here on" in done.err
    assert Run.open(run).sources == [str(here / "new name.txt")]
    again = charlm(capsys, "train", "--resume", run, "--steps", 33, "--quiet")
    assert again.code == 0 and "from here on" in again.err and "read from" not in again.err
    assert charlm(capsys, *asked).err.splitlines()[-1:] == found.err.splitlines()[-1:]


def test_another_text_is_not_remembered(here: Path, capsys: Capture) -> None:
    """Law: only the same text is; from standard input it is not, because that cannot be read again."""
    run = trained(capsys)
    before = files_of(run)
    assert charlm(capsys, "train", LANTERNS, "--resume", run).is_clear_error(1)
    with pytest.raises(CorpusError):
        change_sources(Run.open(run), lanterns())
    assert files_of(run) == before
    corpus = read_corpus("short.txt")
    assert change_sources(Run.open(run), corpus) == []
    assert change_sources(Run.open(run), replace(corpus, sources=("-",))) == []
    assert files_of(run) == before


# ------------------------------------------------------------------------------------------------------- other files


def test_a_checkpoint_file_to_resume(here: Path, capsys: Capture) -> None:
    run = trained(capsys)
    done = charlm(capsys, "train", "--resume", run / "best.safetensors")
    assert done.is_clear_error(1) and done.err.rstrip().endswith("name its run directory, a run")
    shutil.copy(run / "best.safetensors", "alone.safetensors")
    done = charlm(capsys, "train", "--resume", "alone.safetensors")
    assert done.is_clear_error(1) and "not a run directory" in done.err


@pytest.mark.parametrize("options", [["--mix"], ["--novelty"]])
def test_a_lone_checkpoint(options: list[str], here: Path, capsys: Capture) -> None:
    """Law: what lies beside a checkpoint is missed by name."""
    shutil.copy(trained(capsys) / "best.safetensors", "alone.safetensors")
    done = charlm(capsys, "sample", "alone.safetensors", *options)
    assert done.is_clear_error(1) and "n-gram" in done.err and "name a run directory" in done.err
    assert charlm(capsys, "sample", "alone.safetensors", "-n", 5).code == 0


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(300), b"once upon a time", b"\xff\xd8", b"abc"]
)
def test_a_file_that_is_no_checkpoint(data: bytes, here: Path, capsys: Capture) -> None:
    Path("cat.png").write_bytes(data)
    done = charlm(capsys, "sample", "cat.png")
    assert done.is_clear_error(1) and "cat.png is not a checkpoint file" in done.err and "bytes" not in done.err


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("99.1.0", {"attention_heads": 3}, "was made by a newer charlm (99.1.0, this is "),
    ("99.1.0", {"optimizer": "lion"}, "was made by a newer charlm (99.1.0, this is "),
    ("0.0.1", {"attention_heads": 3}, "does not fit"),
    ("9" * 30, {"attention_heads": 3}, "does not fit"),
    ("9.\n9", {"attention_heads": 3}, "does not fit"),
]


@pytest.mark.parametrize(("version", "change", "said"), CHANGES)
def test_a_newer_configuration(version: str, change: dict[str, Any], said: str, here: Path, capsys: Capture) -> None:
    """Law: it is the version that is told, and the advice is to update; not so for an older run with a fault."""
    run = copy_of_trained_run(here / "run")
    config = json.loads((run / "config.json").read_text())
    config["charlm"] = version
    config["training"] |= change
    (run / "config.json").write_text(json.dumps(config))
    done = charlm(capsys, "train", "--resume", run)
    assert done.is_clear_error(1) and said in done.err and ("update charlm" in done.err) == ("newer" in said)


@pytest.mark.parametrize("part", ["model", "progress"])
def test_a_newer_checkpoint(part: str, here: Path) -> None:
    """Law: what this charlm does not know in a checkpoint is named, with the advice to update."""
    path = copy_of_trained_run(here / "run") / "last.safetensors"
    head, tensors = checkpoint_parts(path.read_bytes())
    head[part] = head[part] | {"attention_heads": 3}
    path.write_bytes(forged(head, tensors))
    with pytest.raises(CheckpointError, match="attention_heads, which this charlm does not know: update charlm"):
        load(path) if part == "model" else summary(Run.open(path.parent))


# --------------------------------------------------------------------------------------------- budgets and workers


def test_a_budget_that_is_used_up(here: Path, capsys: Capture) -> None:
    """Law: refused before anything is written, whatever else is asked for, and it says how far the run is."""
    run = trained(capsys)
    before = files_of(run)
    for asked in (["--epochs", 2], ["--steps", 23], ["--steps", 5, "--workers", 2], ["--minutes", 1e-9]):
        done = charlm(capsys, "train", "--resume", run, *asked)
        assert done.is_clear_error(1) and "24 updates" in done.err and "give more" in done.err, asked
        assert files_of(run) == before
    done = charlm(capsys, "train", "--resume", run, "--epochs", 99, "--workers", 5)  # of a batch of 4
    assert done.is_clear_error(2) and files_of(run) == before
    with pytest.raises(SpecError):
        change_training(Run.open(run), steps=99, workers=5)
    assert files_of(run) == before


def test_a_run_that_needs_more_memory(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(capsys)
    before = files_of(run)

    def refuse(*_: object) -> None:
        raise SpecError("too little memory")

    monkeypatch.setattr(resume, require_memory_for.__name__, refuse)
    with pytest.raises(SpecError, match="memory"):
        change_training(Run.open(run), steps=99)
    assert files_of(run) == before


def test_a_replaced_budget_is_told(here: Path) -> None:
    """Law: what the budget was and what it is, in one note; nothing for the same one."""
    corpus = read_corpus("short.txt")
    run = tiny_run(here / "run", corpus, replace(TINY, steps=None, minutes=3.0, epochs=18.0, patience=6))
    (note,) = change_budget(run, epochs=2.5)
    assert "was 3 minutes or 18 passes and is 2.5 passes from here on" in note
    assert "--patience 6" in note
    assert change_budget(run, epochs=2.5) == []
    (note,) = change_budget(run, minutes=1.0)
    assert note == "the budget was 2.5 passes and is 1 minute from here on"
    (note,) = change_training(run, steps=1_500)
    assert note == "the budget was 1 minute and is 1,500 updates from here on"
    assert change_training(run) == [] and Run.open(run.path).spec.steps == 1500


# ---------------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize(("clip", "said"), [(0.2, "a lower --lr or --clip-norm;"), (None, "or with --clip-norm;")])
def test_a_model_of_a_training_that_diverged(
    clip: float | None, said: str, here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: `sample`, `score` and `load` say so until the run is resumed and comes further; advice fits its settings."""
    corpus = read_corpus("short.txt")
    run = tiny_run(here / "run", corpus, replace(TINY, clip_norm=clip))
    with monkeypatch.context() as patch, pytest.raises(DivergenceError) as raised:
        Explosions(patch, {8, 10, 17, 24})
        run_to_end(run, corpus)
    assert said in str(raised.value)
    warning = load(run.path).warning
    assert "step 18 of a training that diverged at step 19" in warning
    assert load(run.last_path).warning == warning
    for asked in (["sample", run.path, "-n", 5, "--rng-seed", 1], ["score", run.path, "short.txt"]):
        done = charlm(capsys, *asked)
        assert done.code == 0 and done.err.splitlines() == [warning]
    run.figures_path(Divergence.NAME).write_text("{")
    assert load(run.path).warning == ""
    Divergence(19).save(run)

    run_to_end(Run.open(run.path), corpus)
    assert load(run.path).warning == load(run.best_path).warning == ""


def test_a_good_run_has_no_warning(here: Path) -> None:
    assert load(copy_of_trained_run(here / "run")).warning == ""


# ------------------------------------------------------------------------------------------------------- small things


def test_ctrl_c_repeats_the_threads(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the printed command has the same number of threads, so it comes to the same bits."""

    class Interrupted(Interrupts):
        """A Ctrl-C before the first update."""

        def __init__(self) -> None:
            super().__init__()
            self.signal = 2

    monkeypatch.setattr(train_command, Interrupts.__name__, Interrupted)
    done = charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet", "--out", "my run", "--threads", 1)
    assert done.code == 130 and the_command(done.err)[3:] == ["train", "--resume", "my run", "--threads", "1"]
    done = charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet", "--out", "other")
    assert the_command(done.err)[3:] == ["train", "--resume", "other"]


@pytest.mark.parametrize("arguments", [["score"], ["score", "--per", "line"], ["inspect"]])
def test_no_file_and_no_input(arguments: list[str], here: Path) -> None:
    """Law: in a script without a FILE it is the FILE that is missed; text that is piped in is read, all of it."""
    run = copy_of_trained_run(here / "run")
    done: Outcome = charlm_process(*arguments, run, cwd=here)
    assert done.is_clear_error(2) and "FILE" in done.err and "empty" not in done.err
    if arguments == ["score"]:
        piped = charlm_process("score", run, "--json", cwd=here, text=LANTERNS.read_bytes())
        assert json.loads(piped.out)["characters"] == len(lanterns().ids)


def test_a_directory_that_is_no_run(here: Path, capsys: Capture) -> None:
    with pytest.raises(RunError, match="charlm train makes one"):
        Run.open(here)
    assert next(train_steps(tiny_run(here / "run", read_corpus("short.txt")), read_corpus("short.txt"))).step == 1
