"""Whatever is in the files of a run: it is refused by a CharlmError, soon and with little memory, or it works."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hostile_files import (
    HOSTILE,
    Tensors,
    changed_text,
    checkpoint_parts,
    forged,
    nested,
    safetensors_file,
)
from hypothesis import given, settings
from refusals import (
    DEEP,
    SEEDS,
    at_little_memory,
    is_short_line,
    metrics_of,
    put,
    refusal,
    refused_or,
    soon,
    summary_of,
    use_run,
)
from runs import (
    LANTERNS,
    charlm,
    charlm_process,
    copy_of_trained_run,
    lanterns,
    run_to_end,
    tiny_run,
    trained_run,
)

from charlm import TrainSpec, plot
from charlm.errors import CharlmError, RunError, StorageError
from charlm.files.atomic import write_atomic
from charlm.files.strict_json import MOST_VALUES
from charlm.nn.model import ModelSpec
from charlm.runs.checkpoint import MOST_HEADER, load_checkpoint
from charlm.runs.config import MOST_CONFIG
from charlm.runs.find import newest_run
from charlm.runs.metrics import MOST_METRICS
from charlm.runs.run import Run
from charlm.training.baselines import measure_baselines
from charlm.training.progress import Tally

Capture = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with something left to train, to be damaged."""
    path = copy_of_trained_run(tmp_path / "run")
    config = json.loads((path / "config.json").read_bytes())
    config["training"]["steps"] += 5
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------------ config.json


def plain_config() -> bytes:
    return (trained_run() / "config.json").read_bytes()


def small_record(**changes: Any) -> bytes:
    record = {"step": 1, "characters": 1, "seconds": 1, "nats": 1, "split": ""}
    return json.dumps(record | changes, separators=(",", ":")).encode() + b"\n"


FILLING_RUNS: dict[str, tuple[Callable[[], bytes], Callable[[], bytes]]] = {
    "config of brackets": (lambda: b"[" * MOST_CONFIG, bytes),
    "config of lists": (lambda: b'{"a":[' + b"[]," * (MOST_CONFIG // 3 - 9) + b"[]]}", bytes),
    "config of as many lists as are read": (lambda: b'{"a":[' + b"[]," * (MOST_VALUES // 2 - 9) + b"[]]}", bytes),
    "config of as many objects as are read": (lambda: b'{"a":[' + b'{"a":0},' * (MOST_VALUES // 2 - 9) + b"0]}", bytes),
    "config of a wide string": (lambda: b'"\xf0\x9f\x98\x80' + b"a" * (MOST_CONFIG - 9) + b'"', bytes),
    "config of a wide string escaped": (lambda: b'"\\ud83d\\ude00' + b"a" * (MOST_CONFIG - 20) + b'"', bytes),
    "config too long": (lambda: b" " * (MOST_CONFIG + 1), bytes),
    "config of one number": (lambda: b"1" * MOST_CONFIG, bytes),
    "config of one number that is too large": (lambda: b"1" * (MOST_CONFIG - 2) + b".0", bytes),
    "config of bytes that are none": (lambda: b'"' + b"\xff" * (MOST_CONFIG - 2) + b'"', bytes),
    "metrics too long": (plain_config, lambda: small_record() * (MOST_METRICS // len(small_record()) + 1)),
    "metrics of small records": (
        plain_config,
        lambda: small_record() * (MOST_METRICS // len(small_record()) - 1) + b"\n",
    ),
    "metrics of small objects": (
        plain_config,
        lambda: small_record(a={}, b={}, c={}, d={}) * (MOST_METRICS // 90) + b"{}\n",
    ),
    "metrics of line ends": (plain_config, lambda: b"\n" * MOST_METRICS),
    "metrics of one line": (plain_config, lambda: b"[" * (MOST_METRICS - 1) + b"\n"),
    "metrics of one wide line": (plain_config, lambda: b'"\\ud83d\\ude00' + b"a" * (MOST_METRICS - 20) + b'"\n'),
}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_process_without_more_memory(tmp_path: Path) -> None:
    """Law: with no more memory than the file's size and 100 MB, the error is still one of charlm's, and soon."""
    for name, (config, metrics) in FILLING_RUNS.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        put(folder / "config.json", config())
        put(folder / "metrics.jsonl", metrics())
    at_little_memory(sorted(tmp_path.iterdir()))


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_an_endless_file(name: str, run: Path) -> None:
    """Law: only the beginning is read of a file of many gigabytes, or of a device without an end."""
    os.truncate(run / name, 2**36)  # holes
    assert name in refusal(RunError, metrics_of, run)
    (run / name).unlink()
    (run / name).symlink_to("/dev/zero")
    assert name in refusal(RunError, metrics_of, run)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "last.safetensors", "best.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "link to itself"])
def test_what_is_not_a_file(kind: str, name: str, run: Path) -> None:
    """Law: a pipe does not block; a folder, or a link to nothing, counts as a damaged file."""
    (run / name).unlink()
    match kind:
        case "pipe":
            os.mkfifo(run / name)
        case "folder":
            (run / name).mkdir()
        case "link to nothing":
            (run / name).symlink_to(run / "nothing")
        case "link to itself":
            (run / name).symlink_to(run / name)
    refused_or(use_run, run)
    refused_or(metrics_of, run)
    if name != "config.json":
        assert newest_run(run.parent) == run


def test_leftovers_that_are_folders(run: Path) -> None:
    """Law: if a leftover cannot be removed, a StorageError names it."""
    (run / ".x.tmp").mkdir()
    assert ".x.tmp" in refusal(StorageError, use_run, run)
    (run / ".x.tmp").rmdir()
    (run / "step-000000001.safetensors").mkdir()
    with pytest.raises(StorageError, match="step-000000001"):
        Run.open(run).prune(0)


def test_config_cut_at_every_64th_byte(run: Path) -> None:
    """Law: no beginning of a configuration is one."""
    whole = (run / "config.json").read_bytes()
    for length in sorted({*range(0, len(whole), 64), len(whole) - 1}):
        put(run / "config.json", whole[:length])
        refusal(RunError, Run.open, run)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_flip_in_a_text(name: str, run: Path) -> None:
    """Law: it is refused, or the run still works."""
    whole, rng = (run / name).read_bytes(), Random(2)
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        put(run / name, changed)
        refused_or(summary_of, run)
        refused_or(metrics_of, run)


MISSING = object()
PLACES = [
    *(("model", field.name) for field in fields(ModelSpec)),
    *(("training", field.name) for field in fields(TrainSpec)),
    *(("corpus", name) for name in ("name", "sources", "sha256", "characters")),
    *((name, None) for name in ("model", "training", "corpus")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("part", "key"), PLACES, ids=str)
def test_every_entry_of_a_configuration(part: str, key: str | None, run: Path) -> None:
    """Law: whatever its value, or without it, a run is refused, or works."""
    whole = json.loads((run / "config.json").read_bytes())
    if key in ("minutes", "epochs"):
        whole["training"]["steps"] = None  # which would be the budget instead
    for value in (
        MISSING,
        *HOSTILE,
        ["\0"],
        ["\ud800"],
        [1],
        ["/nowhere"],
        nested(90),
        nested(DEEP // 200),
        "a" * 10**5,
    ):
        config = json.loads(json.dumps(whole))
        entries, name = (config, part) if key is None else (config[part], key)
        entries[name] = value
        if value is MISSING:
            del entries[name]
        put(run / "config.json", json.dumps(config).encode())
        refused_or(use_run, run)


@pytest.mark.parametrize(
    "text", ["[" * DEEP, '{"a":' * DEEP, "[" * DEEP + "]" * DEEP, '{"model": {}, "model": {}}', "1" * DEEP]
)
def test_hostile_configurations(text: str, run: Path) -> None:
    """Law: deep nesting, duplicate keys, long numbers: refused in one line that names the file."""
    put(run / "config.json", text.encode())
    assert "config.json" in refusal(RunError, Run.open, run)
    whole = plain_config()
    for key in (b'"model"', b'"hidden"', b'"sources"'):
        put(run / "config.json", whole.replace(key, key + b": 0, " + key, 1))
        assert "more than once" in refusal(RunError, Run.open, run)


@settings(max_examples=40)
@given(SEEDS)
def test_any_configuration(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Law: the same for any change."""
    run = tmp_path_factory.getbasetemp() / "any-configuration"
    if not run.exists():
        copy_of_trained_run(run)
    put(run / "config.json", changed_text(plain_config(), Random(seed)))
    refused_or(use_run, run)


# --------------------------------------------------------------------------------------------------- metrics.jsonl


def test_metrics_cut_at_every_64th_byte(run: Path) -> None:
    """Law: the whole lines before the cut are read, the cut one is skipped."""
    whole = (run / "metrics.jsonl").read_bytes()
    records = Run.open(run).metrics()
    for length in range(0, len(whole), 64):
        put(run / "metrics.jsonl", whole[:length])
        assert Run.open(run).metrics() == records[: whole[:length].count(b"\n")]


@pytest.mark.parametrize("key", ["step", "characters", "seconds", "nats", "split", "bpc", "learning_rate"])
def test_every_entry_of_a_record(key: str, run: Path) -> None:
    """Law: impossible values are refused with their line; others are read, and a rewrite keeps them."""
    wrong = 0
    for value in (*HOSTILE, nested(150)):
        put(run / "metrics.jsonl", small_record() + small_record(**{key: value}))
        if refused_or(metrics_of, run):
            records = Run.open(run).metrics()
            Run.open(run).forget_metrics_after(2**63)
            assert Run.open(run).metrics() == records
        else:
            wrong += 1
            assert "line 2" in refusal(RunError, metrics_of, run)
    assert wrong > (15 if key in ("step", "characters", "seconds", "nats") else 2)


LINES = [b"[" * DEEP, b"1" * DEEP, b'{"step": 1, "step": 1}', b'{"step": NaN}', b"\0" * 64]
LINES += [small_record(**{key: -1}).strip() for key in ("step", "characters", "seconds")]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_hostile_lines(line: bytes, run: Path) -> None:
    """Law: refused, with their number."""
    put(run / "metrics.jsonl", small_record() + line + b"\n")
    assert "line 2" in refusal(RunError, metrics_of, run)


RECORDS: dict[str, list[dict[str, Any]]] = {
    "zero": [{"nats": 0}],
    "all zero": [{"nats": 0, "step": 0, "characters": 0, "seconds": 0}] * 2,
    "below zero": [{"nats": -1}, {"nats": -2}],
    "tiny": [{"nats": 5e-324}, {"nats": 5e-324}],
    "large": [{"nats": 9e18, "step": 2**62, "characters": 2**62, "seconds": 9e18}],
    "far apart": [{"nats": -9e18}, {"nats": 1e-300, "step": 2**62}],
    "before the beginning": [{"step": -21}, {"step": -1}],
    "backwards": [{"step": 9}, {"step": 3}, {"step": 3}],
    "of no kind": [{"split": "test"}],
    "of two kinds": [{"split": "validation"}, {"split": "train", "nats": True}],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
def test_odd_losses(name: str, run: Path, tmp_path: Path) -> None:
    """Law: what can be read can be plotted, without a warning."""
    records = [small_record(**({"split": "validation"} | record)) for record in RECORDS[name]]
    put(run / "metrics.jsonl", b"".join(records))
    assert refused_or(plot, [run], tmp_path / "loss.svg") == (name not in ("before the beginning", "of no kind"))


@settings(max_examples=60)
@given(SEEDS)
def test_any_metrics(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Law: the same for any change."""
    run = tmp_path_factory.getbasetemp() / "any-metrics"
    if not run.exists():
        copy_of_trained_run(run)
    whole = (trained_run() / "metrics.jsonl").read_bytes()
    put(run / "metrics.jsonl", changed_text(whole, Random(seed)))
    refused_or(metrics_of, run)


# ------------------------------------------------------------------------------------------ found only when used


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two optimizers with steps left."""
    runs = {}
    for optimizer in ("sgd", "adam"):
        run = tiny_run(
            tmp_path_factory.mktemp(optimizer) / "run", lanterns(), TrainSpec(**TINY_STEPS, optimizer=optimizer)
        )
        run_to_end(run, lanterns())
        measure_baselines(run, lanterns())
        run.config["training"]["steps"] += 5
        run.save_config()
        runs[optimizer] = run.path
    return runs


TINY_STEPS: dict[str, Any] = {"batch": 4, "window": 10, "steps": 4, "evaluations": 2, "reports": 2}


def go_on(path: Path, change: Callable[[dict[str, Any], Tensors], object]) -> None:
    """Train a run from a changed checkpoint with a right checksum."""
    run = Run.open(path)
    whole = {file: file.read_bytes() for file in path.iterdir()}  # training changes them
    try:
        for checkpoint in (run.last_path, run.best_path):
            head, tensors = checkpoint_parts(whole[checkpoint])
            change(head, tensors)
            put(checkpoint, forged(head, tensors))
        use_run(path)
    finally:
        for file, data in whole.items():
            put(file, data)


FRACTIONS = (0.5, -0.5, 1e308, 5e-324, math.nan)


@pytest.mark.slow
@pytest.mark.parametrize("field", [*(field.name for field in fields(Tally)), "x"])
def test_impossible_tallies(field: str, stopped: dict[str, Path]) -> None:
    """Law: impossible counts are refused; with anything else training goes on."""
    for value in (None, True, -1, 0, 2**63 - 1, 2**63, 10**400, *FRACTIONS, "1", [1]):
        refused_or(go_on, stopped["sgd"], progress_of(field, value))


def progress_of(field: str, value: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head["progress"].update({field: value})


def drop(start: str) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(start)]


def fill(start: str, value: float, kind: Any = np.float32) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: tensors.update(
        {name: np.full(array.shape, value, kind) for name, array in tensors.items() if name.startswith(start)}
    )


@pytest.mark.parametrize(
    ("optimizer", "change"),
    [
        ("sgd", drop("optimizer/")),
        ("adam", drop("optimizer/")),
        ("adam", drop("optimizer/updates")),
        ("adam", drop("optimizer/mean")),
        ("adam", fill("optimizer/updates", -1.0, np.float64)),
        ("adam", fill("optimizer/updates", -7.0, np.float64)),
        ("adam", fill("optimizer/updates", 3.0)),
        ("adam", fill("optimizer/square", -1.0)),
        ("adam", fill("optimizer/mean", 1e300, np.float64)),
        ("sgd", fill("optimizer/velocity", 1e300, np.float64)),
        ("sgd", lambda head, tensors: tensors.update({"optimizer/mean.readout.b": np.zeros(4, np.float32)})),
        ("sgd", drop("state/")),
        ("sgd", lambda head, tensors: tensors.update({"state/0": np.zeros((5, 8), np.float32)})),
        ("sgd", lambda head, tensors: tensors.update({"state/0": np.zeros((4, 8, 1), np.float32)})),
        ("sgd", lambda head, tensors: tensors.update({"state/0": np.zeros((), np.float32)})),
    ],
)
def test_impossible_memories_and_states(
    optimizer: str, change: Callable[[dict[str, Any], Tensors], object], stopped: dict[str, Path]
) -> None:
    """Law: an optimizer's memory or a state that is missing, or does not fit the run, is refused."""
    refusal(CharlmError, go_on, stopped[optimizer], change)


@pytest.mark.parametrize("start", ["params/", "params/readout.b", "optimizer/", "optimizer/updates", "state/"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_numbers_that_overflow(optimizer: str, start: str, stopped: dict[str, Path]) -> None:
    """Law: finite numbers that overflow in use are found there: without a warning, and without a NaN in the results."""
    kind = np.float64 if start == "optimizer/updates" else np.float32
    for value in (3e38, -3e38, 1e30):
        refused_or(go_on, stopped[optimizer], fill(start, value, kind))


# ------------------------------------------------------------------------------------------------- the commands

COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "sample": lambda path: ["sample", path, "-n", 3, "--rng-seed", 0],
    "score": lambda path: ["score", path, LANTERNS],
    "info": lambda path: ["info", path],
    "info --json": lambda path: ["info", path, "--json"],
    "plot": lambda path: ["plot", path, "-o", path / "x.png"],
    "train": lambda path: ["train", "--resume", path, LANTERNS, "--quiet"],
}
READS = {
    "config.json": {"plot", "train", "info", "info --json", "sample", "score"},
    "metrics.jsonl": {"plot", "train"},
    "best.safetensors": {"sample", "score"},
    "last.safetensors": {"info", "info --json"},
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 3] + b"\n",
    "deep": lambda data: b"[" * DEEP + b"\n",
    "large": lambda data: b" " * (MOST_HEADER + 9) + b"\n",
    "zeros": lambda data: bytes(len(data)) + b"\n",
    "lying": lambda data: safetensors_file({"__metadata__": {"charlm": '{"format": 2, "a\\nb": 1}'}}) + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", READS)
def test_commands_and_damaged_files(name: str, damage: str, run: Path, capsys: Capture) -> None:
    """Law: exit code 1 and one line on standard error from every command that reads the file."""
    if (name, damage) == ("metrics.jsonl", "empty"):
        pytest.skip("that is a run which has not logged anything yet")
    put(run / name, DAMAGES[damage]((run / name).read_bytes()))
    for command in sorted(READS[name]):
        with soon():
            outcome = charlm(capsys, *COMMANDS[command](run))
        assert outcome.is_clear_error(1), (command, outcome)
        assert outcome.err.startswith("charlm: ") and is_short_line(outcome.err.strip())
        assert name.split(".")[0] in outcome.err


@pytest.mark.parametrize("name", ["ngram.counts", "mix.json"])
def test_a_damaged_mixture_is_found_before_training(name: str, run: Path, capsys: Capture) -> None:
    """Law: not after it: the run has not made a step when the message comes, which names the file."""
    put(run / name, b"damaged")
    before = load_checkpoint(run / "last.safetensors").step
    outcome = charlm(capsys, "train", "--resume", run, "--quiet")
    assert outcome.is_clear_error(1) and name in outcome.err
    assert load_checkpoint(run / "last.safetensors").step == before


def test_the_newest_run_while_one_is_training(run: Path) -> None:
    """Law: files that come and go meanwhile do not disturb the search."""
    stopped = threading.Event()

    def write() -> None:
        while not stopped.is_set():
            write_atomic(run / "mix.json", b"{}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(500):
            assert newest_run(run.parent) == run
    finally:
        stopped.set()
        writer.join()


def test_commands_and_a_network_that_overflows(run: Path, capsys: Capture) -> None:
    """Law: exit code 3, as for divergence, and one line, in a process of its own as well."""
    best = run / "best.safetensors"
    head, tensors = checkpoint_parts(best.read_bytes())
    put(best, forged(head, {name: np.full_like(array, 3e38) for name, array in tensors.items()}))
    for command in ("sample", "score"):
        outcome = charlm(capsys, *COMMANDS[command](run))
        assert outcome.code == 3 and len(outcome.err.splitlines()) == 1 and not outcome.out.strip()
    done = charlm_process(*COMMANDS["score"](run), cwd=run)
    assert done.is_clear_error(3), done


def test_commands_and_a_hostile_configuration(run: Path, capsys: Capture) -> None:
    """Law: a configuration is checked before it is used or shown."""
    config = json.loads((run / "config.json").read_bytes())
    changes: list[tuple[str, str, Any]] = [
        ("training", "batch", 10**12),
        ("training", "window", 10**12),
        ("training", "minutes", 10**400),
        ("training", "schedule", "nonsense\n\x1b[2J"),
        ("model", "residual", nested(90)),
        ("model", "hidden", 10**4000),
        ("corpus", "characters", -1),
        ("corpus", "sources", [1]),
    ]
    for part, key, value in changes:
        put(run / "config.json", json.dumps(config | {part: config[part] | {key: value}}).encode())
        for command in ("info", "info --json", "train"):
            outcome = charlm(capsys, *COMMANDS[command](run))
            assert outcome.is_clear_error(1), (part, key, command, outcome)


def test_control_characters_are_escaped(run: Path, capsys: Capture) -> None:
    """Law: info shows a configuration; nothing in it, not even a name, controls the terminal."""
    config = json.loads((run / "config.json").read_bytes())
    config["corpus"] |= {"name": "\x1b[2J", "sources": ["/a\n\x1b[2J"], "\x1b[2J": 1, "list": ["\r", 1.5, None]}
    put(run / "config.json", json.dumps(config).encode())
    done = charlm(capsys, "info", run)
    assert done.code == 0 and "x1b[2J" in done.out
    assert all(line.isprintable() for line in done.out.split("\n"))


def test_a_minimal_configuration(run: Path, capsys: Capture) -> None:
    """Law: a missing size is the default, in the output of training, too."""
    config = json.loads((run / "config.json").read_bytes())
    assert config["model"].pop("layers") == ModelSpec.layers
    put(run / "config.json", json.dumps(config).encode())
    done = charlm(capsys, "train", "--resume", run, LANTERNS)
    assert done.code == 0 and "1 layer of 8 units" in done.err
