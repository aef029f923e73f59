"""The command line: what every command promises, and one clear line for whatever is wrong."""

from __future__ import annotations

import gzip
import json
import math
import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
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
    trained_run,
)

from charlm.cli import COMMANDS
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.run import Run

Capture = pytest.CaptureFixture[str]
RUN_FILES = {".lock", "config.json", "baselines.json", "mix.json", "metrics.jsonl", "loss.png"}
RUN_FILES |= {"last.safetensors", "best.safetensors", "ngram.counts"}
TRAIN_KEYS = (
    "run steps epochs characters seconds train_nats validation_nats validation_bpc best_step parameters vocabulary"
)
SCORE_KEYS = "characters nats bits nats_per_char bits_per_char perplexity"
GREEK = "Τα φανάρια ανάβουν ένα ένα στο λιμάνι.\nΟ ψαράς μετράει τα δίχτυα του.\n" * 20
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a folder of its own, with a short text in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "short.txt").write_bytes(LANTERNS.read_bytes()[:2000])
    return tmp_path


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


def test_train_json(here: Path, capsys: Capture) -> None:
    """Law: one JSON object with exactly these keys; its figures are those of the text and the options."""
    done = charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet", "--json", "--out", "my run")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    result = done.json
    assert list(result) == [*TRAIN_KEYS.split(), "chars_per_second", "baselines", "mix"]
    V = len(set((here / "short.txt").read_text(encoding="utf-8")))
    assert result["vocabulary"] == V
    ids = V + 1  # and the escape
    assert result["parameters"] == 3 * (ids * 8 + 8 * 8 + 8) + 8 * ids + ids
    assert (result["run"], result["steps"], result["characters"]) == ("my run", 24, 24 * 40)
    assert result["epochs"] == pytest.approx(24 / (1799 // 40), abs=1e-4)
    assert result["validation_bpc"] == pytest.approx(result["validation_nats"] / math.log(2))
    assert 0 < result["train_nats"] < 1.2 * math.log(V) and 1 <= result["best_step"] <= 24
    assert result["seconds"] > 0 and result["chars_per_second"] > 0
    validation = [r["nats"] for r in Run.open("my run").metrics() if r["split"] == "validation"]
    assert result["validation_nats"] == min(validation)
    assert len(validation) == 20


def test_train_takes_every_kind_of_source(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: files, gzip, folders and standard input, several at once; runs are numbered, never overwritten."""
    (here / "texts").mkdir()
    (here / "texts" / "short.txt.gz").write_bytes(gzip.compress((here / "short.txt").read_bytes()))
    for number, sources in enumerate((["short.txt"], ["texts"], ["-"], ["short.txt", "texts"])):
        give_stdin(monkeypatch, (here / "short.txt").read_bytes())
        done = charlm(capsys, "train", *sources, *TINY_OPTIONS, "--quiet", "--json")
        assert done.code == 0, done.err
        expected = ["short", "texts", "stdin", "short-2"][number]
        assert done.json["run"] == f"checkpoints/{expected}"
    first, *same = (bits_of_run(here / "checkpoints" / name) for name in ("short", "texts", "stdin"))
    assert same == [first, first]


def test_train_never_overwrites(here: Path, capsys: Capture) -> None:
    """Law: a taken --out is an error, and all of it stays."""
    copy_of_trained_run(here / "run")
    (here / "file").write_text("x")
    before = files_below(here)
    for out in ("run", "file", ".", "file/below"):
        assert charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--out", out).is_clear_error(1)
    assert files_below(here) == before


def test_train_says_what_it_did_to_the_text(here: Path, capsys: Capture) -> None:
    """Law: a mark and CR line ends are told, even when it is quiet."""
    (here / "x.txt").write_bytes(b"\xef\xbb\xbf" + b"ab cd\r\n" * 50)
    done = charlm(capsys, "train", "x.txt", *TINY_OPTIONS, "--quiet")
    assert done.code == 0
    assert "byte order mark" in done.err and "line ends" in done.err


@pytest.mark.parametrize("characters", [3, 8, 40])
def test_a_text_shorter_than_one_window(characters: int, here: Path, capsys: Capture) -> None:
    """Law: trained on with a smaller window, which is said."""
    (here / "x.txt").write_text(("ab\n" * 40)[:characters])
    done = charlm(capsys, "train", "x.txt", *TINY_OPTIONS, "--quiet")
    assert done.code == 0
    assert "short" in done.err and done.err.count("\n") == 1


def test_resume(here: Path, capsys: Capture) -> None:
    """Law: with a larger budget it goes on; without one it says so; nothing else can be changed."""
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


@pytest.mark.parametrize(
    "fixed",
    [
        *("--hidden 8", "--layers 1", "--batch 4", "--window 10", "--lr 2", "--momentum 0.9", "--clip-norm 0.2"),
        *("--clip-value 1", "--val-fraction 0.1", "--val-limit 9", "--rng-seed 0", "--out x"),
    ],
)
def test_resume_with_a_fixed_option(fixed: str, here: Path, capsys: Capture) -> None:
    """Law: a usage error that names the option, even where the value is the same."""
    copy_of_trained_run(here / "run")
    before = files_below(here)
    done = charlm(capsys, "train", "--resume", "run", *fixed.split())
    assert done.is_clear_error(2) and fixed.split()[0] in done.err
    assert files_below(here) == before


@pytest.mark.parametrize("budget", ["", "--steps 99", "--epochs 99", "--minutes 99"])
def test_resume_after_the_text_changed(budget: str, here: Path, capsys: Capture) -> None:
    """Law: refused, nothing is changed, the budget neither."""
    charlm(capsys, "train", "short.txt", *TINY_OPTIONS, "--quiet")
    with (here / "short.txt").open("a") as file:
        file.write("more\n")
    before = files_below(here)
    assert charlm(capsys, "train", "--resume", "checkpoints/short", *budget.split()).is_clear_error(1)
    assert files_below(here) == before


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
    """Law: to stdout the seed text and exactly `length` characters more, nothing else; the same for the same number."""
    for seed in ("", "T", "The lantern"):
        done = charlm(capsys, "sample", trained_run(), "--seed", seed, "-n", 70, "--rng-seed", 5)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(seed) and len(done.out) == len(seed) + 70
        assert charlm(capsys, "sample", trained_run(), "--seed", seed, "-n", 70, "--rng-seed", 5).out == done.out
    assert charlm(capsys, "sample", trained_run(), "--seed", "T", "-n", 70, "--rng-seed", 6).out != done.out
    assert charlm(capsys, "sample", trained_run(), "-n", 0, "--rng-seed", 5).out == ""
    assert len(charlm(capsys, "sample", trained_run() / "last.safetensors").out) == 500


def test_sample_says_its_random_number(capsys: Capture) -> None:
    """Law: without --rng-seed each sample is new, and stderr tells the number that gives it again."""
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
    """Law: the sample ends with a line end, so that the prompt comes on a line of its own."""
    command = shlex.join(charlm_command("sample", trained_run(), "--seed", "The", "-n", "5", "--rng-seed", "1"))
    shown = pexpect.run(command, cwd=str(here), env=environment(), timeout=30).decode()
    assert shown.startswith("The") and shown.endswith("\r\n") and len(shown.replace("\r\n", "\n")) in (8, 9)


# --------------------------------------------------------------------------------------- plot, score, info, newest


def test_plot(here: Path, capsys: Capture) -> None:
    """Law: loss.png here, or what -o says; several runs; against what was asked."""
    assert charlm(capsys, "plot", trained_run()).out == "Wrote loss.png\n"
    assert (here / "loss.png").read_bytes().startswith(b"\x89PNG")
    copy_of_trained_run(here / "again")
    done = charlm(capsys, "plot", trained_run(), "again", "-o", "two.svg", "--against", "minutes")
    assert done.code == 0 and (here / "two.svg").read_bytes().startswith(b"<?xml")
    for wrong in (("-o", "x.jpg"), ("-o", "none/x.png"), ("--against", "hours")):
        assert charlm(capsys, "plot", trained_run(), *wrong).is_clear_error()
    assert charlm(capsys, "plot", "nowhere").is_clear_error(1)


def test_score(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the figures are those of the documented equations, whatever way the text comes."""
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


def test_score_refuses(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: an empty text and a missing one are one clear line each."""
    (here / "empty.txt").write_text("")
    for file in ("empty.txt", "missing.txt"):
        assert charlm(capsys, "score", trained_run(), file).is_clear_error()
    assert charlm(capsys, "score", "missing.safetensors", "short.txt").is_clear_error(1)
    give_stdin(monkeypatch, b"")
    assert charlm(capsys, "score", trained_run()).is_clear_error()


def test_score_writes_a_page(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: --html changes nothing that is printed; it adds a page of what was scored, whatever way the text comes."""
    plain = charlm(capsys, "score", trained_run(), "short.txt")
    done = charlm(capsys, "score", trained_run(), "short.txt", "--html", "page.html")
    assert (done.code, done.out, done.err) == (0, plain.out, "Wrote page.html\n")
    first = (here / "page.html").read_bytes()
    assert b"2,000 characters at" in first and b"short.txt" in first
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
    """Law: a name that is no page's, which may be a text that would be lost, and an adapting model's: one line."""
    before = files_below(here)
    for options in (("--html", "short.txt"), ("--html", "none/x.html"), ("--html", "x.html", "--adapt", "0.1")):
        assert charlm(capsys, "score", trained_run(), "short.txt", *options).is_clear_error(), options
    assert charlm(capsys, "score", trained_run(), "missing.txt", "--html", "x.html").is_clear_error(1)
    assert files_below(here) == before


def test_inspect(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a page or a picture by its ending, and a row or an object for every unit, the same ones each time."""
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
    """Law: where no run is named the newest is taken, and stderr says which; where there is none, one line."""
    for command in (["sample"], ["plot"], ["info"], ["score", "short.txt"], ["inspect", "short.txt"]):
        done = charlm(capsys, *command)
        assert done.is_clear_error(1) and "charlm train" in done.err
    for name in ("one", "two"):
        copy_of_trained_run(here / "checkpoints" / name)
    os.utime(here / "checkpoints" / "one" / "config.json", (2e9, 2e9))
    for command in (["sample", "-n", 3], ["plot"], ["info"], ["score", "short.txt"], ["inspect", "short.txt"]):
        done = charlm(capsys, *command)
        assert done.code == 0 and "checkpoints/one" in done.err and "checkpoints/two" not in done.err


# ------------------------------------------------------------------------------------------------------- bad input


def bad_texts(here: Path) -> dict[str, bytes | None]:
    return {
        "missing.txt": None,
        "empty.txt": b"",
        "one.txt": b"aaaa",
        "two.txt": b"ab",
        "latin.txt": "Märchen".encode("latin-1"),
        "nul.txt": b"ab\0cd",
        "wide.txt": "ab".encode("utf-16"),
        "cut.txt.gz": gzip.compress(b"ab" * 1000)[:-5],
    }


@pytest.mark.parametrize("name", [*bad_texts(Path()), "folder"])
def test_a_text_that_cannot_be_trained_on(name: str, here: Path, capsys: Capture) -> None:
    """Law: one clear line that names it, exit code 1, and no run."""
    (here / "folder").mkdir()
    if (data := bad_texts(here).get(name)) is not None:
        (here / name).write_bytes(data)
    before = files_below(here)
    done = charlm(capsys, "train", name, *TINY_OPTIONS)
    assert done.is_clear_error(1), done
    assert name in done.err or name == "two.txt"
    assert files_below(here) == before and not (here / "checkpoints").exists()


NOT_A_NUMBER = ("nan", "1e30", "x", "")
BAD_NUMBERS = {
    "--hidden": ("0", "-1", "inf", 10**12, *NOT_A_NUMBER),
    "--layers": ("0", "-1", "inf", 10**12, *NOT_A_NUMBER),
    "--batch": ("0", "-1", "inf", *NOT_A_NUMBER),
    "--window": ("0", "-1", "inf", *NOT_A_NUMBER),
    "--lr": ("0", "-1", "nan", "inf"),
    "--momentum": ("-1", "1", "nan", "inf", "1e30", 10**12),
    "--clip-norm": ("-1", "nan", "inf"),
    "--clip-value": ("-1", "nan", "inf"),
    "--dropout": ("-1", "1", "nan", "inf"),
    "--input-dropout": ("-1", "1", "nan", "inf"),
    "--patience": ("-1", "inf", *NOT_A_NUMBER),
    "--weight-decay": ("-1", "1", "nan", "inf"),
    "--minutes": ("0", "-1", "nan", "inf"),
    "--steps": ("0", "-1", "inf", *NOT_A_NUMBER),
    "--epochs": ("0", "-1", "nan", "inf"),
    "--val-fraction": ("0", "-1", "1", "nan", "inf", "1e30", 10**12),
    "--val-limit": ("0", "-1", "inf", *NOT_A_NUMBER),
    "--rng-seed": ("-1", "inf", *NOT_A_NUMBER),
    "--threads": ("0", "-1", "inf", *NOT_A_NUMBER),
}


@pytest.mark.parametrize("option", BAD_NUMBERS)
def test_numbers_that_train_refuses(option: str, here: Path, capsys: Capture) -> None:
    """Law: one clear line that names the option, exit code 1 or 2, and no run."""
    for value in BAD_NUMBERS[option]:
        budget = () if option in ("--minutes", "--steps", "--epochs") else ("--steps", "2")
        done = charlm(capsys, "train", "short.txt", *budget, option, value)
        assert done.is_clear_error(), (option, value, done)
        named = {"--lr": "learning-rate"}.get(option, option.strip("-"))
        assert named in done.err or option in done.err, (value, done.err)
        assert not (here / "checkpoints").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((option, 10**12) for option in ("--batch", "--window", "--val-limit", "--rng-seed")),
        *((option, "1e30") for option in ("--clip-norm", "--clip-value")),
        *((option, "1e-30") for option in ("--val-fraction", "--lr")),
        *((option, "0") for option in ("--clip-norm", "--clip-value", "--momentum", "--dropout", "--patience")),
    ],
)
def test_large_numbers_that_train_takes(option: str, value: object, here: Path, capsys: Capture) -> None:
    """Law: what has a meaning is done, at the size of the text."""
    done = charlm(capsys, "train", "short.txt", "--hidden", "4", "--steps", "2", "--json", "--quiet", option, value)
    assert done.code == 0 and done.json["steps"] == 2
    assert math.isfinite(done.json["validation_nats"])


@pytest.mark.parametrize("option", ["--lr 1e6", "--lr 1e300", f"--threads {10**12}", f"--threads {10**30}"])
def test_numbers_that_may_or_may_not_work(option: str, here: Path) -> None:
    """Law: it trains, or says that it went back, and ends with one clear line: no warning, no traceback, no crash."""
    options = ("--hidden", "8", "--batch", "4", "--window", "10", "--steps", "60", "--quiet", "--json")
    done = charlm_process("train", "short.txt", *options, *option.split(), cwd=here)
    told = [line for line in done.err.splitlines() if not line.startswith("The loss exploded: went back")]
    if done.code == 0:
        assert not told and math.isfinite(done.json["validation_nats"])
    else:
        assert done.code in (1, 3) and len(told) == 1 and not done.out and "Traceback" not in done.err


def test_divergence_is_told(here: Path) -> None:
    """Law: training that explodes before there is anything to draw is told as what it is."""
    for budget in ((), ("--steps", "2")):  # at 2 every step is evaluated, the one that explodes, too
        done = charlm_process("train", "short.txt", "--hidden", "8", "--lr", "1e300", "--quiet", *budget, cwd=here)
        assert done.code == 3 and "diverged" in done.err.splitlines()[-1]
        assert "Warning" not in done.err


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--length", ("-1", "inf", *NOT_A_NUMBER)),
        ("--temperature", ("-1", "nan", "inf", "1e30", 10**12)),
        ("--top-k", ("0", "-1", "inf", *NOT_A_NUMBER)),
        ("--top-p", ("0", "-1", "nan", "inf", "1e30", "2")),
        ("--count", ("0", "-1", "inf", *NOT_A_NUMBER)),
        ("--rng-seed", ("-1", "inf", *NOT_A_NUMBER)),
        ("--stop", ("",)),
    ],
)
def test_what_sample_refuses(option: str, values: tuple[object, ...], capsys: Capture) -> None:
    """Law: one clear line, exit code 1 or 2, and nothing on stdout."""
    for value in values:
        repeatable = () if option == "--rng-seed" else ("--rng-seed", 1)
        done = charlm(capsys, "sample", trained_run(), *repeatable, option, value)
        assert done.is_clear_error(), (option, value, done)


def test_large_numbers_that_sample_takes(capsys: Capture) -> None:
    """Law: more characters than there are means all of them."""
    same = ("sample", trained_run(), "-n", 20, "--rng-seed", 1)
    assert charlm(capsys, *same, "--top-k", 10**12).out == charlm(capsys, *same).out
    assert charlm(capsys, *same, "--top-p", 1).out == charlm(capsys, *same).out
    assert charlm(capsys, "sample", trained_run(), "-n", 20, "--rng-seed", 10**30).code == 0


def test_a_seed_text_with_unknown_characters(capsys: Capture) -> None:
    """Law: it is gone on from, with one note that names them; what is written after it is all known."""
    done = charlm(capsys, "sample", trained_run(), "--seed", "Grüße €", "--rng-seed", 1)
    assert done.code == 0 and done.out.startswith("Grüße €")
    assert len(done.err.splitlines()) == 1 and all(name in done.err for name in ("U+00FC", "U+00DF", "U+20AC"))
    assert set(done.out.removeprefix("Grüße €")) <= set(LANTERNS.read_text(encoding="utf-8"))
    many = charlm(capsys, "sample", trained_run(), "--seed", "".join(map(chr, range(0x400, 0x480))), "--rng-seed", 1)
    assert many.code == 0 and "and 125 more kinds" in many.err and len(many.err) < 200


@pytest.mark.parametrize("command", ["sample", "plot", "score", "info", "train --resume"])
def test_a_directory_that_is_no_run(command: str, here: Path, capsys: Capture) -> None:
    """Law: an empty folder, a damaged configuration, a file, nothing at all: one clear line."""
    (here / "empty").mkdir()
    (here / "damaged").mkdir()
    (here / "damaged" / "config.json").write_text("{")
    before = files_below(here)
    for target in ("empty", "damaged", "missing", "short.txt"):
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
    """Law: exit code 2 and one line that says what is missing or too much."""
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


# --------------------------------------------------------------------------------------------------- the house rules


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, capsys: Capture) -> None:
    """Law: every command has help, every option is explained, all in 80 columns; -h is --help."""
    done = charlm(capsys, *command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out == charlm(capsys, *command.split(), "-h").out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    if command:
        found = import_module(f"charlm.cli.{command}").command
        assert found.short_help == COMMANDS[command]
        for option in found.params:
            assert not isinstance(option, click.Option) or option.help
    else:
        for name, short_help in COMMANDS.items():
            assert name in done.out and short_help in done.out


def test_version(capsys: Capture) -> None:
    done = charlm(capsys, "--version")
    assert done.code == 0 and done.out.startswith("charlm ") and done.out.count("\n") == 1


@pytest.mark.parametrize(
    "program", ["import charlm", "from charlm.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
)
def test_it_starts_at_once(program: str) -> None:
    """Law: neither the import nor --help loads numpy, matplotlib, safetensors or any room that needs them."""
    check = "\nimport sys; print('LOADED', *sorted(m for m in sys.modules if m.split('.')[0] in "
    check += "('numpy', 'matplotlib', 'safetensors', 'tqdm', 'charlm')))"
    done = subprocess.run([sys.executable, "-c", program + check], capture_output=True, text=True, timeout=30)
    loaded = set(done.stdout.split("LOADED ")[1].split())
    assert loaded <= {"charlm", "charlm.cli", "charlm.cli.streams", "charlm.errors", "charlm.version"}


def test_no_public_name_is_that_of_a_room() -> None:
    """Law: `from charlm import x` is the same whatever was imported before: a module of that name would hide it."""
    import charlm as package

    rooms = {path.stem for path in Path(package.__file__).parent.iterdir()}
    assert not rooms & set(package.__all__)


def test_another_locale(here: Path) -> None:
    """Law: text is UTF-8 whatever the locale: in files, on the command line, on stdout."""
    (here / "greek.txt").write_text(GREEK, encoding="utf-8")
    trained = charlm_process("train", "greek.txt", *TINY_OPTIONS, cwd=here, **C_LOCALE)
    assert (trained.code, "Traceback" in trained.err) == (0, False)
    run = "checkpoints/greek"
    options = ("--seed", "φ", "-n", "40", "--rng-seed", "1")
    done = charlm_process("sample", run, *options, cwd=here, **C_LOCALE)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("φ") and len(done.out) == 41 and set(done.out) <= set(GREEK)
    assert charlm_process("sample", run, *options, cwd=here).out == done.out
    assert charlm_process("score", run, cwd=here, text=GREEK.encode(), **C_LOCALE).code == 0
    unknown = charlm_process("sample", run, "--seed", "я", "--rng-seed", "1", cwd=here, **C_LOCALE)
    assert unknown.code == 0 and unknown.out.startswith("я") and "'я' (U+044F)" in unknown.err


@pytest.mark.parametrize(
    ("name", "locale"), [("φανάρια.txt".encode(), C_LOCALE), (b"caf\xe9.txt", {})], ids=["greek in C", "not UTF-8"]
)
def test_a_file_name_of_any_bytes(name: bytes, locale: dict[str, str], here: Path) -> None:
    """Law: a text can have any name, and its run goes on under another locale."""
    Path(os.fsdecode(name)).write_text(GREEK, encoding="utf-8")
    done = charlm_process("train", os.fsdecode(name), *TINY_OPTIONS, "--quiet", cwd=here, **locale)
    assert done.code == 0 and "Traceback" not in done.err, done.err[-300:]
    (run,) = (here / "checkpoints").iterdir()
    for steps, same_or_another in (("25", locale), ("26", {})):
        done = charlm_process("train", "--resume", run, "--steps", steps, "--quiet", cwd=here, **same_or_another)
        assert done.code == 0, done.err[-300:]


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
