"""The command line: what every command does, and one clear line for every error."""

from __future__ import annotations

import gzip
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from runs import (
    LANTERNS,
    TINY_OPTIONS,
    bits_of_run,
    charlm,
    charlm_command,
    charlm_process,
    copy_of_trained_run,
    environment,
    give_stdin,
    plain_nats,
    the_command,
    trained_run,
)

from charlm.cli import COMMANDS, progress
from charlm.plotting.loss import plot
from charlm.predict.run_mixture import fit_mix
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run
from charlm.training import train as life
from charlm.training.baselines import measure_baselines

Capture = pytest.CaptureFixture[str]
RUN_FILES = {".lock", "config.json", "baselines.json", "mix.json", "metrics.jsonl", "loss.png"}
RUN_FILES |= {"last.safetensors", "best.safetensors", "ngram.counts"}
TRAIN_KEYS = (
    "run steps epochs characters seconds evaluation_seconds train_nats validation_nats validation_bpc best_step "
    "parameters vocabulary"
)
SCORE_KEYS = "characters nats bits nats_per_char bits_per_char perplexity"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a folder of its own, with a short text in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "short.txt").write_bytes(LANTERNS.read_bytes()[:2000])
    return tmp_path


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training does not draw, which would take most of its time."""
    monkeypatch.setattr(progress, plot.__name__, lambda runs, output: None)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---------------------------------------------------------------------------------------------------------- train


def test_train(here: Path, capsys: Capture) -> None:
    """Law: a run directory with its files, the result on stdout, progress on stderr, exit code 0."""
    done = charlm(capsys, "train", "short.txt", *TINY_OPTIONS)
    assert done.code == 0
    run = here / "checkpoints" / "short"
    assert {file.name for file in run.iterdir()} == RUN_FILES
    assert "checkpoints/short" in done.out and "nats per character" in done.out
    assert "2,000 characters" in done.err and "\r" not in done.err and "Traceback" not in done.err
    (next_command,) = [line for line in done.out.splitlines() if line.startswith("Next: ")]
    assert charlm(capsys, *shlex.split(next_command)[2:]).code == 0


@pytest.mark.usefixtures("no_picture")
def test_train_json(here: Path, capsys: Capture) -> None:
    """Law: one JSON object with exactly these keys; its figures are those of the text and the options."""
    done = charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet", "--json", "--out", "my run")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    result = done.json
    assert list(result) == [*TRAIN_KEYS.split(), "chars_per_second", "baselines", "mix"]
    V = len(set((here / "short.txt").read_text(encoding="utf-8")))
    assert result["vocabulary"] == V
    ids = V + 1  # with the unknown character
    assert result["parameters"] == 3 * (ids * 8 + 8 * 8 + 8) + 8 * ids + ids
    assert (result["run"], result["steps"], result["characters"]) == ("my run", 24, 24 * 40)
    assert result["epochs"] == pytest.approx(24 / (1799 // 40), abs=1e-4)
    assert result["validation_bpc"] == pytest.approx(result["validation_nats"] / math.log(2))
    assert 0 < result["train_nats"] < 1.2 * math.log(V) and 1 <= result["best_step"] <= 24
    assert result["seconds"] > 0 and result["chars_per_second"] > 0
    validation = [r["nats"] for r in Run.open("my run").metrics() if r["split"] == "validation"]
    assert result["validation_nats"] == min(validation)
    assert len(validation) == 2  # 20 would take more than a twentieth of so short a training


@pytest.mark.usefixtures("no_picture")
def test_a_run_is_named_after_its_text(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: after the file, the folder or standard input; numbered if the name is taken; the same text trains alike."""
    (here / "texts").mkdir()
    (here / "texts" / "short.txt.gz").write_bytes(gzip.compress((here / "short.txt").read_bytes()))
    give_stdin(monkeypatch, (here / "short.txt").read_bytes())
    for source, name in (("short.txt", "short"), ("texts", "texts"), ("-", "stdin"), ("short.txt", "short-2")):
        done = charlm(capsys, "train", source, *TINY_OPTIONS, "--quiet", "--json")
        assert (done.code, done.json["run"]) == (0, f"checkpoints/{name}"), done.err
    first, *same = (bits_of_run(here / "checkpoints" / name) for name in ("short", "texts", "stdin", "short-2"))
    assert same == [first] * 3


def test_train_never_overwrites(here: Path, capsys: Capture) -> None:
    """Law: a taken --out is an error, and all of it stays."""
    copy_of_trained_run(here / "run")
    (here / "file").write_text("x")
    before = files_below(here)
    for out in ("run", "file", ".", "file/below"):
        assert charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--out", out).is_clear_error(1)
    assert files_below(here) == before


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("characters", [3, 40])
def test_a_text_shorter_than_one_window(characters: int, here: Path, capsys: Capture) -> None:
    """Law: trained on with a smaller window, and a note on that."""
    (here / "x.txt").write_text(("ab\n" * 40)[:characters])
    done = charlm(capsys, "train", "x.txt", *TINY_OPTIONS, "--quiet")
    assert done.code == 0
    assert "short" in done.err and done.err.count("\n") == 1


@pytest.mark.usefixtures("no_picture")
def test_resume(here: Path, capsys: Capture) -> None:
    """Law: with a larger budget it continues; without one a note asks for it; the text may have moved."""
    charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet")
    run = "checkpoints/short"
    before = bits_of_run(here / run)
    done = charlm(capsys, "train", "--resume", run, "--quiet", "--json")
    assert done.code == 0 and "budget" in done.err and done.json["steps"] == 24
    assert bits_of_run(here / run) == before
    done = charlm(capsys, "train", "--resume", run, "--steps", "30", "--quiet", "--json")
    assert (done.code, done.json["steps"]) == (0, 30)
    (here / "short.txt").rename(here / "moved.txt")
    assert charlm(capsys, "train", "--resume", run, "--steps", "40").is_clear_error(1)
    done = charlm(capsys, "train", "--resume", run, "moved.txt", "--steps", "40", "--quiet", "--json")
    assert (done.code, done.json["steps"]) == (0, 40)


def test_resume_with_a_fixed_option(here: Path, capsys: Capture) -> None:
    """Law: a usage error that names the option, even for the value that the run has."""
    copy_of_trained_run(here / "run")
    before = files_below(here)
    for fixed in (
        *("--hidden 8", "--layers 1", "--batch 4", "--window 10", "--lr 2", "--momentum 0.9", "--clip-norm 0.2"),
        *("--clip-value 1", "--val-fraction 0.1", "--val-limit 9", "--rng-seed 0", "--out x"),
    ):
        done = charlm(capsys, "train", "--resume", "run", *fixed.split())
        assert done.is_clear_error(2) and fixed.split()[0] in done.err, fixed
    assert files_below(here) == before


@pytest.mark.usefixtures("no_picture")
def test_resume_after_the_text_changed(here: Path, capsys: Capture) -> None:
    """Law: refused, and nothing is changed, not even the budget."""
    charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet")
    with (here / "short.txt").open("a") as file:
        file.write("more\n")
    before = files_below(here)
    for budget in ("", "--steps 99", "--epochs 99", "--minutes 99"):
        assert charlm(capsys, "train", "--resume", "checkpoints/short", *budget.split()).is_clear_error(1), budget
    assert files_below(here) == before


def interrupting(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is interrupted by Ctrl-C when it begins."""

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return function(*arguments)

    return interrupted


@pytest.mark.usefixtures("no_picture")
def test_ctrl_c_before_the_first_update(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: while the baselines are measured it stops after one update, saved, and prints the command that resumes."""
    monkeypatch.setattr(life, measure_baselines.__name__, interrupting(measure_baselines))
    done = charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet", "--json", "--out", "run")
    assert (done.code, done.out) == (130, "") and the_command(done.err)[3:] == ["train", "--resume", "run"]
    assert load_checkpoint(here / "run" / "last.safetensors").step == 1


@pytest.mark.usefixtures("no_picture")
def test_ctrl_c_after_the_last_update(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: while the mixture is fitted it ends as always, whether the budget or the patience is used up."""
    monkeypatch.setattr(life, fit_mix.__name__, interrupting(fit_mix))
    for budget in (("--steps", 24), ("--epochs", 1000, "--patience", 1, "--lr", 1)):
        done = charlm(capsys, "train", "short.txt", *TINY_OPTIONS[:-4], *budget, "--quiet", "--json")
        assert done.code == 0 and done.json["mix"] and "Stopped and saved" not in done.err, done
    assert "(--patience)" in done.err


@pytest.mark.slow
def test_train_in_a_terminal(here: Path) -> None:
    """Law: a bar that fits into 80 columns, no traceback, exit code 0."""
    child = pexpect.spawn(
        shlex.join(charlm_command("train", "short.txt", *TINY_OPTIONS)),
        cwd=str(here),
        env=environment(),
        dimensions=(24, 80),
        timeout=30,
        encoding="utf-8",
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    shown = child.before or ""
    assert "100%|" in shown and "Traceback" not in shown and "Validation loss" in shown
    assert all(len(line) <= 80 for row in shown.splitlines() for line in row.split("\r") if "%|" in line)


# --------------------------------------------------------------------------------------------------------- sample


def test_sample(capsys: Capture) -> None:
    """Law: stdout has the seed text and `length` characters more, nothing else; the same number gives the same."""
    for seed in ("", "T", "The lantern"):
        done = charlm(capsys, "sample", trained_run(), "--seed", seed, "-n", 70, "--rng-seed", 5)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(seed) and len(done.out) == len(seed) + 70
        assert charlm(capsys, "sample", trained_run(), "--seed", seed, "-n", 70, "--rng-seed", 5).out == done.out
    assert charlm(capsys, "sample", trained_run(), "--seed", "T", "-n", 70, "--rng-seed", 6).out != done.out
    assert charlm(capsys, "sample", trained_run(), "-n", 0, "--rng-seed", 5).out == ""
    assert len(charlm(capsys, "sample", trained_run() / "last.safetensors").out) == 500


def test_sample_prints_its_random_seed(capsys: Capture) -> None:
    """Law: without --rng-seed each sample is new, and stderr has the number that gives it again."""
    first, second = (charlm(capsys, "sample", trained_run()) for _ in range(2))
    assert first.out != second.out
    number = first.err.split("--rng-seed ")[1].split()[0]
    assert charlm(capsys, "sample", trained_run(), "--rng-seed", number).out == first.out


def test_sample_count_and_json(capsys: Capture) -> None:
    """Law: --count gives different samples, each ended by a line end; the first is the one of --count 1."""
    options = ("--seed", "T", "-n", 30, "--rng-seed", 1)
    one = charlm(capsys, "sample", trained_run(), *options, "--json").json
    assert one["text"] == charlm(capsys, "sample", trained_run(), *options).out
    done = charlm(capsys, "sample", trained_run(), *options, "--count", 3, "--json")
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["number"] for record in records] == [0, 1, 2]
    assert records[0] == one
    assert len({record["text"] for record in records}) == 3
    assert all((record["seed"], record["rng_seed"], len(record["text"])) == ("T", 1, 31) for record in records)
    plain = charlm(capsys, "sample", trained_run(), *options, "--count", 3)
    assert plain.out == "".join(r["text"] + "\n" * (not r["text"].endswith("\n")) for r in records)


def test_sample_options(capsys: Capture) -> None:
    """Law: --stop, --temperature, --top-k and --top-p do what the library does."""
    options = ("--seed", "T", "-n", 200, "--rng-seed", 1)
    whole = charlm(capsys, "sample", trained_run(), *options).out
    stopped = charlm(capsys, "sample", trained_run(), *options, "--stop", "e").out
    assert stopped == "T" + whole[1:].split("e")[0]
    cold = {
        charlm(capsys, "sample", trained_run(), "-n", 50, "--rng-seed", seed, *choice).out
        for seed in (1, 2)
        for choice in (("--temperature", 0), ("--top-k", 1), ("--top-p", 1e-9))
    }
    assert len(cold) == 1


def test_sample_in_a_terminal(here: Path) -> None:
    """Law: the sample ends with a line end, so the prompt has a line of its own."""
    command = shlex.join(charlm_command("sample", trained_run(), "--seed", "The", "-n", "5", "--rng-seed", "1"))
    shown = pexpect.run(command, cwd=str(here), env=environment(), timeout=30).decode()
    assert shown.startswith("The") and shown.endswith("\r\n") and len(shown.replace("\r\n", "\n")) in (8, 9)


# --------------------------------------------------------------------------------------- plot, score, info, newest


def test_plot(here: Path, capsys: Capture) -> None:
    """Law: loss.png, or the file of -o; several runs; against steps or time."""
    assert charlm(capsys, "plot", trained_run()).out == "Wrote loss.png\n"
    assert (here / "loss.png").read_bytes().startswith(b"\x89PNG")
    copy_of_trained_run(here / "again")
    done = charlm(capsys, "plot", trained_run(), "again", "-o", "two.svg", "--against", "minutes")
    assert done.code == 0 and (here / "two.svg").read_bytes().startswith(b"<?xml")
    for wrong in (("-o", "x.jpg"), ("-o", "none/x.png"), ("--against", "hours")):
        assert charlm(capsys, "plot", trained_run(), *wrong).is_clear_error()
    assert charlm(capsys, "plot", "nowhere").is_clear_error(1)


def test_score(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the figures are those of the documented equations, for a file and for standard input."""
    text = (here / "short.txt").read_text(encoding="utf-8")
    checkpoint = load_checkpoint(trained_run() / "best.safetensors")
    characters = checkpoint.vocabulary.characters
    ids = [characters.index(c) for c in text]
    expected = plain_nats(checkpoint.spec, checkpoint.params, ids, characters.index("\n"))
    done = charlm(capsys, "score", trained_run(), "short.txt", "--json")
    assert (done.code, done.err, list(done.json)) == (0, "", SCORE_KEYS.split())
    assert done.json["characters"] == len(text)
    assert done.json["nats"] == pytest.approx(expected.sum(), rel=1e-5)
    assert done.json["bits"] == pytest.approx(expected.sum() / math.log(2), rel=1e-5)
    assert done.json["nats_per_char"] == pytest.approx(expected.mean(), rel=1e-5)
    assert done.json["bits_per_char"] == pytest.approx(expected.mean() / math.log(2), rel=1e-5)
    assert done.json["perplexity"] == pytest.approx(math.exp(expected.mean()), rel=1e-4)
    for arguments in ([trained_run()], [trained_run(), "-"], [trained_run() / "best.safetensors", "-"]):
        give_stdin(monkeypatch, text.encode())
        assert charlm(capsys, "score", *arguments, "--json").json == done.json
    twice = charlm(capsys, "score", trained_run(), "short.txt", "short.txt", "--json").json
    assert twice["nats"] == pytest.approx(2 * done.json["nats"])
    assert "nats per char" in charlm(capsys, "score", trained_run(), "short.txt").out


def test_score_writes_a_page(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: --html writes a page of the text, from a file or standard input, and changes nothing that is printed."""
    plain = charlm(capsys, "score", trained_run(), "short.txt")
    done = charlm(capsys, "score", trained_run(), "short.txt", "--html", "page.html")
    assert (done.code, done.out, done.err) == (0, plain.out, "Wrote page.html\n")
    first = (here / "page.html").read_bytes()
    assert b"2,000 characters, " in first and b"short.txt" in first
    rows = charlm(capsys, "score", trained_run(), "short.txt", "--per", "line", "--json")
    done = charlm(capsys, "score", trained_run(), "short.txt", "--per", "line", "--json", "--html", "page.HTML")
    assert (done.code, done.out) == (0, rows.out)
    assert (here / "page.HTML").read_bytes() == first
    give_stdin(monkeypatch, (here / "short.txt").read_bytes())
    assert charlm(capsys, "score", trained_run(), "--html", "page.html").code == 0
    assert (here / "page.html").read_bytes() == first.replace(b"short.txt", b"standard input")
    (here / "long.txt").write_text("ab\n" * 20_000)
    done = charlm(capsys, "score", trained_run(), "long.txt", "--html", "page.html")
    assert "60,000 characters" in done.out and "the first 50,000 of 60,000 characters" in done.err


def test_score_refuses_a_page(here: Path, capsys: Capture) -> None:
    """Law: one line for a name that is not a page's (it may be a text), a missing folder, and --adapt."""
    before = files_below(here)
    for options in (("--html", "short.txt"), ("--html", "none/x.html"), ("--html", "x.html", "--adapt", "0.1")):
        assert charlm(capsys, "score", trained_run(), "short.txt", *options).is_clear_error(), options
    assert charlm(capsys, "score", trained_run(), "missing.txt", "--html", "x.html").is_clear_error(1)
    assert files_below(here) == before


def test_inspect(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a page or a picture by the suffix, and a row or an object per unit, the same each time."""
    done = charlm(capsys, "inspect", trained_run(), "short.txt")
    assert (done.code, done.err) == (0, "Wrote inspect.html\n")
    assert (here / "inspect.html").read_bytes().startswith(b"<!DOCTYPE html>")
    rows = [line for line in done.out.splitlines() if "[" in line]
    assert len(rows) == 8 and "layer0 gate z: " in done.out
    give_stdin(monkeypatch, (here / "short.txt").read_bytes())
    again = charlm(capsys, "inspect", trained_run(), "-", "--units", 3, "--json", "-o", "units.png")
    assert again.code == 0 and (here / "units.png").read_bytes().startswith(b"\x89PNG")
    units = [json.loads(line) for line in again.out.splitlines()]
    assert [list(unit) for unit in units] == [["layer", "unit", "feature", "correlation"]] * 3
    for unit, row in zip(units, rows, strict=False):
        r, name, feature = row.split(maxsplit=2)
        assert (f"layer{unit['layer']}[{unit['unit']}]", unit["feature"]) == (name, feature)
        assert float(r) == round(unit["correlation"], 2)
    (here / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (here / "texts" / name).write_bytes((here / "short.txt").read_bytes())
    assert charlm(capsys, "inspect", trained_run(), "texts").code == 0
    assert b"4,000 characters of <bdi>texts" in (here / "inspect.html").read_bytes()


def test_inspect_refuses(here: Path, capsys: Capture) -> None:
    """Law: one clear line each, and nothing is written."""
    (here / "little.txt").write_text("ab\n" * 33)
    before = files_below(here)
    for arguments in (
        ("little.txt",),
        ("missing.txt",),
        ("short.txt", "short.txt"),
        ("short.txt", "--units", "0"),
        ("short.txt", "--units", "65"),
        ("short.txt", "-o", "x.jpg"),
        ("short.txt", "-o", "none/x.html"),
        ("short.txt", "-o", "none/x.png"),
    ):
        assert charlm(capsys, "inspect", trained_run(), *arguments).is_clear_error(), arguments
    assert files_below(here) == before


def test_info(here: Path, capsys: Capture) -> None:
    """Law: sizes, vocabulary and where training stands; of a run, of a checkpoint file, as text or JSON."""
    text = LANTERNS.read_text(encoding="utf-8")
    for target in (trained_run(), trained_run() / "last.safetensors"):
        facts = charlm(capsys, "info", target, "--json").json
        assert facts["vocabulary"] == len(set(text)) and facts["steps"] == 60
        assert sorted(facts["characters_known"]) == sorted(set(text))
        shown = charlm(capsys, "info", target)
        assert (shown.code, shown.err) == (0, "")
        assert f"{facts['parameters']:,}" in shown.out
    assert set(charlm(capsys, "info", trained_run(), "--json").json["files"]) == RUN_FILES - {"loss.png", ".lock"}
    assert charlm(capsys, "info", "nowhere").is_clear_error(1)


def test_the_newest_run(here: Path, capsys: Capture) -> None:
    """Law: without RUN the newest is used, and stderr names it; without any run there is one line."""
    for arguments in ("sample", "plot", "info", "score short.txt", "inspect short.txt"):
        done = charlm(capsys, *arguments.split())
        assert done.is_clear_error(1) and "charlm train" in done.err
    for name in ("one", "two"):
        copy_of_trained_run(here / "checkpoints" / name)
    os.utime(here / "checkpoints" / "one" / "config.json", (2e9, 2e9))
    for arguments in ("sample -n 3", "plot", "info", "score short.txt", "inspect short.txt"):
        done = charlm(capsys, *arguments.split())
        assert done.code == 0 and "checkpoints/one" in done.err and "checkpoints/two" not in done.err


# ------------------------------------------------------------------------------------------------------- bad input


NOT_A_NUMBER = ("nan", "1e30", "x", "")
REFUSED = {
    "train short.txt --hidden": ("0", "-1", "inf", 10**12, *NOT_A_NUMBER),
    "train short.txt --layers": ("0", "-1", "inf", 10**12, *NOT_A_NUMBER),
    "train short.txt --batch": ("0", "-1", "inf", *NOT_A_NUMBER),
    "train short.txt --window": ("0", "-1", "inf", *NOT_A_NUMBER),
    "train short.txt --lr": ("0", "-1", "nan", "inf"),
    "train short.txt --momentum": ("-1", "1", "nan", "inf", "1e30", 10**12),
    "train short.txt --clip-norm": ("-1", "nan", "inf"),
    "train short.txt --clip-value": ("-1", "nan", "inf"),
    "train short.txt --dropout": ("-1", "1", "nan", "inf"),
    "train short.txt --input-dropout": ("-1", "1", "nan", "inf"),
    "train short.txt --patience": ("-1", "inf", *NOT_A_NUMBER),
    "train short.txt --weight-decay": ("-1", "1", "nan", "inf"),
    "train short.txt --minutes": ("0", "-1", "nan", "inf"),
    "train short.txt --steps": ("0", "-1", "inf", *NOT_A_NUMBER),
    "train short.txt --epochs": ("0", "-1", "nan", "inf"),
    "train short.txt --val-fraction": ("0", "-1", "1", "nan", "inf", "1e30", 10**12),
    "train short.txt --val-limit": ("0", "-1", "inf", *NOT_A_NUMBER),
    "train short.txt --rng-seed": ("-1", "inf", *NOT_A_NUMBER),
    "train short.txt --threads": ("0", "-1", "inf", *NOT_A_NUMBER),
    "sample {run} --length": ("-1", "inf", *NOT_A_NUMBER),
    "sample {run} --temperature": ("-1", "nan", "inf", "1e30", 10**12),
    "sample {run} --top-k": ("0", "-1", "inf", *NOT_A_NUMBER),
    "sample {run} --top-p": ("0", "-1", "nan", "inf", "1e30", "2"),
    "sample {run} --count": ("0", "-1", "inf", *NOT_A_NUMBER),
    "sample {run} --rng-seed": ("-1", "inf", *NOT_A_NUMBER),
    "sample {run} --stop": ("",),
}


@pytest.mark.parametrize("call", REFUSED)
def test_values_that_are_refused(call: str, here: Path, capsys: Capture) -> None:
    """Law: one clear line that names the option, exit code 1 or 2, and no run."""
    *arguments, option = call.format(run=trained_run()).split()
    names = [option, option.strip("-"), {"--lr": "learning-rate"}.get(option, option)]
    if option not in ("--minutes", "--steps", "--epochs") and arguments[0] == "train":
        arguments += ["--steps", "2"]
    for value in REFUSED[call]:
        done = charlm(capsys, *arguments, option, value)
        assert done.is_clear_error() and any(name in done.err for name in names), (value, done)
        assert not (here / "checkpoints").exists()


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((option, 10**12) for option in ("--batch", "--window", "--val-limit", "--rng-seed", "--threads")),
        *((option, "1e30") for option in ("--clip-norm", "--clip-value")),
        *((option, "1e-30") for option in ("--val-fraction", "--lr")),
        *((option, "0") for option in ("--clip-norm", "--clip-value", "--momentum", "--dropout", "--patience")),
    ],
)
def test_large_numbers_that_train_takes(option: str, value: object, here: Path, capsys: Capture) -> None:
    """Law: values with a meaning are accepted, at the size of the text."""
    done = charlm(capsys, "train", "short.txt", "--hidden", "4", "--steps", "2", "--json", "--quiet", option, value)
    assert done.code == 0 and done.json["steps"] == 2
    assert math.isfinite(done.json["validation_nats"])


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 60])
def test_divergence(steps: int, here: Path) -> None:
    """Law: exit code 3, and a last line that says so, without a warning; also if the first evaluation diverges."""
    done = charlm_process("train", "short.txt", "--hidden", 8, "--lr", "1e300", "--quiet", "--steps", steps, cwd=here)
    assert done.code == 3 and "diverged" in done.err.splitlines()[-1]
    assert not done.out and "Warning" not in done.err and "Traceback" not in done.err


def test_large_numbers_that_sample_takes(capsys: Capture) -> None:
    """Law: more characters than the vocabulary has mean all of them."""
    same = ("sample", trained_run(), "-n", 20, "--rng-seed", 1)
    assert charlm(capsys, *same, "--top-k", 10**12).out == charlm(capsys, *same).out
    assert charlm(capsys, *same, "--top-p", 1).out == charlm(capsys, *same).out
    assert charlm(capsys, "sample", trained_run(), "-n", 20, "--rng-seed", 10**30).code == 0


def test_a_seed_text_with_unknown_characters(capsys: Capture) -> None:
    """Law: continued with known characters, and one note names the unknown ones."""
    done = charlm(capsys, "sample", trained_run(), "--seed", "Grüße €", "--rng-seed", 1)
    assert done.code == 0 and done.out.startswith("Grüße €")
    assert len(done.err.splitlines()) == 1 and all(name in done.err for name in ("U+00FC", "U+00DF", "U+20AC"))
    assert set(done.out.removeprefix("Grüße €")) <= set(LANTERNS.read_text(encoding="utf-8"))
    many = charlm(capsys, "sample", trained_run(), "--seed", "".join(map(chr, range(0x400, 0x480))), "--rng-seed", 1)
    assert many.code == 0 and "and 125 more kinds" in many.err and len(many.err) < 200


@pytest.mark.parametrize("command", ["sample", "plot", "score", "info", "train --resume"])
def test_a_path_that_is_not_a_run(command: str, here: Path, capsys: Capture) -> None:
    """Law: one clear line for an empty folder, a damaged configuration, a file and a missing path."""
    (here / "empty").mkdir()
    (here / "damaged").mkdir()
    (here / "damaged" / "config.json").write_text("{")
    before = files_below(here)
    for target in ("empty", "damaged", "missing", "missing.safetensors", "short.txt"):
        if (command, target) == ("score", "short.txt"):  # a text to score
            continue
        done = charlm(capsys, *command.split(), target)
        assert done.is_clear_error(1), (target, done)
    assert files_below(here) == before


@pytest.mark.parametrize(
    "command",
    ["sample {}", "score {} short.txt", "inspect {} short.txt", "info {}", "train --resume {} --steps 70 --quiet"],
)
def test_a_checkpoint_that_is_cut_short(command: str, here: Path, capsys: Capture) -> None:
    """Law: one clear line that names the file, and nothing is changed."""
    run = copy_of_trained_run(here / "run")
    for name in ("best.safetensors", "last.safetensors"):
        (run / name).write_bytes((run / name).read_bytes()[:-100])
    before = files_below(here)
    done = charlm(capsys, *command.format("run").split())
    assert done.is_clear_error(1) and ".safetensors" in done.err
    if "train" not in command:
        assert files_below(here) == before
    else:
        before.pop("run/config.json")  # holds the new budget
        assert before.items() <= files_below(here).items()


def test_places_that_cannot_be_written(here: Path, capsys: Capture) -> None:
    """Law: one clear line, exit code 1."""
    if Path("/proc/self").exists():
        assert charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--out", "/proc/charlm/run").is_clear_error(1)
        assert charlm(capsys, "plot", trained_run(), "-o", "/proc/loss.png").is_clear_error(1)
    (here / "closed").mkdir(mode=0o500)
    if os.access(here / "closed", os.W_OK):
        pytest.skip("this user may write everywhere")
    assert charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--out", "closed/run").is_clear_error(1)
    assert charlm(capsys, "plot", trained_run(), "-o", "closed/loss.png").is_clear_error(1)


def test_usage_errors(here: Path, capsys: Capture) -> None:
    """Law: exit code 2 and one line that says what is wrong."""
    for arguments in (
        ["train"],
        ["train", "short.txt", "--no-such-option"],
        ["no-such-command"],
        ["sample", "a", "b"],
        ["train", "short.txt", "--out", "a\0b"],
    ):
        assert charlm(capsys, *arguments).is_clear_error(2), arguments


def test_debug(here: Path, capsys: Capture) -> None:
    """Law: --debug, before or after the command, shows the traceback and the same last line and exit code."""
    plain = charlm(capsys, "train", "missing.txt")
    for arguments in (("--debug", "train", "missing.txt"), ("train", "missing.txt", "--debug")):
        done = charlm(capsys, *arguments)
        assert done.code == 1 and "Traceback" in done.err
        assert done.err.splitlines()[-1] == plain.err.strip()


# --------------------------------------------------------------------------------------------------- what holds for all


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, capsys: Capture) -> None:
    """Law: --help and -h show the same, in 80 columns; that of charlm lists the commands."""
    done = charlm(capsys, *command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out == charlm(capsys, *command.split(), "-h").out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    if not command:
        assert all(name in done.out and short_help in done.out for name, short_help in COMMANDS.items())


def test_version(capsys: Capture) -> None:
    """Law: one line."""
    done = charlm(capsys, "--version")
    assert done.code == 0 and done.out.startswith("charlm ") and done.out.count("\n") == 1


@pytest.mark.parametrize(
    "program", ["import charlm", "from charlm.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
)
def test_it_starts_at_once(program: str) -> None:
    """Law: neither the import nor --help loads numpy, matplotlib, safetensors or a module that needs them."""
    check = "\nimport sys; print('LOADED', *sorted(m for m in sys.modules if m.split('.')[0] in "
    check += "('numpy', 'matplotlib', 'safetensors', 'tqdm', 'charlm')))"
    done = subprocess.run([sys.executable, "-c", program + check], capture_output=True, text=True, timeout=30)
    loaded = set(done.stdout.split("LOADED ")[1].split())
    assert loaded <= {
        "charlm",
        "charlm.cli",
        "charlm.cli.screen",
        "charlm.cli.streams",
        "charlm.errors",
        "charlm.version",
    }


def test_no_public_name_is_that_of_a_module() -> None:
    """Law: `from charlm import x` does not depend on earlier imports: a module of that name would hide it."""
    import charlm as package

    modules = {path.stem for path in Path(package.__file__).parent.iterdir()}
    assert not modules & set(package.__all__)


def test_a_reader_that_has_enough(here: Path) -> None:
    """Law: `charlm sample | head -c 10` is silent and no error."""
    command = charlm_command("sample", trained_run(), "-n", 10**6, "--rng-seed", 1)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here, env=environment()
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


@pytest.mark.parametrize("command", ["sample {} >&-", "score {} <&-", "train - <&-"])
def test_streams_that_are_closed(command: str, here: Path) -> None:
    """Law: never a traceback."""
    line = shlex.join(charlm_command()) + " " + command.format(trained_run())
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, env=environment(), timeout=30)
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
