"""Every option of every command at its extremes: a documented exit code, one clear line, and no files left behind.

The options are read from the commands, so a new one is tried automatically. The suite tries the same few hundred
command lines every time; `CHARLM_TEST_SECONDS=600 python -m pytest tests/test_options.py -s` tries new ones for that
long and prints their number.
"""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import click
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from runs import LANTERNS, copy_of_trained_run, give_stdin

from charlm.cli import COMMANDS, main, progress
from charlm.cli.progress import Watcher
from charlm.cli.train_setup import WITH_RESUME
from charlm.plotting.loss import plot
from charlm.sampling import sample as sampling
from charlm.sampling.sample import Sample, choose
from charlm.trained_model import TrainedModel
from charlm.training import auto_config
from charlm.training.cost_model import work_per_second
from charlm.training.progress import Progress

pytestmark = pytest.mark.slow

CHARACTERS = 600
EXAMPLES = 100
SECONDS = 60  # for one command line; most take hundredths of a second
MOST = {"updates": 5, "samples": 20, "characters": 1000}  # then comes Ctrl-C
GIGABYTE = 2**30
LONG = "x" * 5000
RUN_FILES = {".lock", "config.json", "baselines.json", "mix.json", "divergence.json", "metrics.jsonl", "loss.png"}
RUN_FILES |= {"last.safetensors", "best.safetensors", "ngram.counts"}
WRITES = {"plot": "loss.png", "inspect": "inspect.html", "score": ""}  # and the files that are named
TEXT = LANTERNS.read_bytes()[:CHARACTERS]

JUNK = (
    *("", " ", "x", LONG, "\0", "\udcff", "½", "-", "--"),
    *("nan", "inf", "-inf", "1e30", "0x10", "1_0", "٣", "9" * 5000),
)
INTEGERS = (0, -1, 1, 2, 3, 7, 2**31, 2**63, 2**64, 10**30, -(10**30), 10**400)
FLOATS = (
    *("0", "-0.0", "0.5", "1", "-1", "1.5", "0.9999999999999999"),
    *("1e-308", "5e-324", "1e308", "-1e308", "1e999"),
)
STRINGS = ("T", "The", "\n", "e", "€", "\r", "\u0301", "\x1b[31m", "T" * 5000, "$(touch x)", "{}", "%s")
PLACES = (
    *("short.txt", "folder", "run", "run/last.safetensors", "-"),
    *("missing", "missing/x", "short.txt/x", "empty.txt", "binary.txt", "cut.safetensors", "closed", "empty", "loop"),
    *("/dev/null", "/dev/zero", "/proc/self/mem", "/proc/x", ".", "..", "φ", "x.png", "x.svg", "x.pdf", "x.gif"),
)
USUAL = {  # a small network, so that accepted command lines take little time
    "train": ("--hidden", "4", "--batch", "2", "--window", "5"),
    "sample": ("--length", "20"),
    "inspect": ("--output", "units.html"),
}
NEEDS = {  # options that others need
    "activation": ("--cell", "rnn"),
    "weight_decay": ("--optimizer", "adamw"),
    "tied": ("--embedding", "4"),
    "corpus": ("--novelty",),
    **dict.fromkeys(("top", "sort", "above", "below"), ("--per", "line")),
}
NEEDS_HERE = {("sample", "encoding"): ("--seed-file", "short.txt")}  # in one command
ENCODINGS = ("utf-8", "latin-1", "windows-1252", "utf-16", "shift-jis", "rot13", "idna", "../x")
GLOBS = ("*.txt", "*", "*.md", "[", "[z-a]", "**/x", "", "SHORT*", "/")
SOURCES: dict[str, list[str]] = {
    "train": ["short.txt"],
    "sample": ["run"],
    "plot": ["run"],
    "score": ["run", "short.txt"],
    "inspect": ["run", "short.txt"],
    "info": ["run"],
}


class Done(NamedTuple):
    """The exit code of a command, its output, and the files that it made, changed or removed."""

    code: int
    out: str
    err: str
    touched: set[str]


def command_of(name: str) -> click.Command:
    command: click.Command = import_module(f"charlm.cli.{name}").command
    return command


# ----------------------------------------------------------------------------------------------------- command lines


def own_values(option: click.Option) -> list[str]:
    """Values of an option's own kind, from usual to extreme."""
    kind = option.type
    if option.name == "workers":
        return ["auto", "1", "2", *map(str, INTEGERS)]
    if option.name in ("encoding", "glob"):
        return [*(ENCODINGS if option.name == "encoding" else GLOBS)]
    if isinstance(kind, click.Choice):
        return [*map(str, kind.choices)]
    if isinstance(kind, click.Path):
        return [str(LANTERNS), *PLACES] if option.name == "corpus" else [*PLACES]
    if kind.name.startswith("integer"):
        return [*map(str, INTEGERS)]
    return [*FLOATS] if kind.name.startswith("float") else [*STRINGS]


def values(option: click.Option) -> st.SearchStrategy[str]:
    """Values for an option: most often of its own kind."""
    own = st.sampled_from(own_values(option))
    if option.type.name == "text":
        own = st.one_of(own, st.text(max_size=20))
    return st.one_of(*[own] * 6, st.sampled_from([*JUNK, *FLOATS]))


def options_of(name: str) -> list[click.Option]:
    """The options of a command, without --debug, which asks for a traceback."""
    options = [parameter for parameter in command_of(name).params if isinstance(parameter, click.Option)]
    return [option for option in options if option.name != "debug"]


def complete(name: str, arguments: list[str], places: Sequence[str]) -> list[str]:
    """A whole command line, with a short budget if it has none."""
    needs_budget = name == "train" and not {"--minutes", "--steps", "--epochs"} & {*arguments}
    steps = "62" if "--resume" in arguments else "2"  # the run has had 60
    return [name, *arguments, *(["--steps", steps] if needs_budget else []), *places]


@st.composite
def command_lines(draw: st.DrawFn, name: str) -> tuple[list[str], dict[str, str]]:
    """The arguments of a command, and options from the environment."""
    options, places = options_of(name), SOURCES[name]
    arguments, surroundings = list(USUAL.get(name, ())), dict[str, str]()
    if name == "train" and draw(st.integers(0, 4)) == 0:  # resuming takes few options
        options = [option for option in options if option.name in WITH_RESUME]
        arguments, places = ["--resume", "run"], []
    for option in draw(st.lists(st.sampled_from(options), max_size=4, unique=True)):
        flag = draw(st.sampled_from([*option.opts, *option.secondary_opts]))
        value = [] if option.is_flag else [draw(values(option))]
        if draw(st.integers(0, 9)) == 0 and "\0" not in "".join(value):
            variable = f"CHARLM_{name}_{option.name}".upper()
            surroundings[variable] = value[0] if value else draw(st.sampled_from(["1", "0", "", "x"]))
        else:
            arguments += [flag, *value]
    if draw(st.integers(0, 4)) == 0:
        places = draw(st.lists(st.sampled_from([*PLACES, *JUNK]), max_size=3))
    return complete(name, arguments, places), surroundings


# ---------------------------------------------------------------------------------------------------------- one call


def prepare(folder: Path) -> None:
    """Make a folder with a run, texts and files that are neither."""
    (folder / "folder").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "closed").mkdir(mode=0)
    for name in ("short.txt", "folder/short.txt"):
        (folder / name).write_bytes(TEXT)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "binary.txt").write_bytes(bytes(range(256)))
    (folder / "loop").symlink_to("loop")
    run = copy_of_trained_run(folder / "run")
    (folder / "cut.safetensors").write_bytes((run / "last.safetensors").read_bytes()[:-100])


def snapshot(folder: Path) -> dict[str, Any]:
    """The state of everything below a folder."""
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        found[str(path.relative_to(folder))] = facts.st_mode, facts.st_size * (not path.is_dir()), facts.st_ino
    return found


def press_ctrl_c_in_time(patch: pytest.MonkeyPatch) -> None:
    """Send SIGINT to long runs: training after some updates, sampling after some characters."""
    done = Counter[str]()

    def count(what: str) -> None:
        done[what] += 1
        if done[what] >= MOST[what] and not done["Ctrl-C"]:  # a second one would end this process
            done["Ctrl-C"] += 1
            signal.raise_signal(signal.SIGINT)

    def show(watcher: Watcher, progress: Progress) -> None:
        shown(watcher, progress)
        count("updates")

    def samples(model: TrainedModel, *arguments: Any, **choices: Any) -> list[Sample]:
        count("samples")
        return many(model, *arguments, **choices)

    def chosen(*arguments: Any) -> Any:
        count("characters")
        return choose(*arguments)

    shown, many = Watcher.show, TrainedModel.numbered_samples
    patch.setattr(Watcher, shown.__name__, show)
    patch.setattr(sampling, choose.__name__, chosen)
    patch.setattr(TrainedModel, many.__name__, samples)


def spare_time(patch: pytest.MonkeyPatch) -> None:
    """Replace what takes most of the time: pictures of training, measuring the machine, and waiting for the disk."""
    patch.setattr(progress, plot.__name__, lambda runs, output: None)
    patch.setattr(auto_config, work_per_second.__name__, lambda: 1e9)
    patch.setattr(os, os.fsync.__name__, lambda handle: None)


@contextmanager
def limits() -> Iterator[None]:
    """Limit time and memory, and let SIGINT raise KeyboardInterrupt, as in a terminal."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"no end after {SECONDS} seconds")

    memory = resource.getrlimit(resource.RLIMIT_AS)
    handlers = signal.signal(signal.SIGALRM, give_up), signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_AS, (8 * GIGABYTE, memory[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, memory)
        for number, handler in zip((signal.SIGALRM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)


def call(arguments: list[str], surroundings: dict[str, str], folder: Path) -> Done:
    """Call the command line in this process, in `folder/work`."""
    work = folder / "work"
    if not work.exists():
        prepare(work)
    before = snapshot(folder)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        give_stdin(patch, TEXT)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        spare_time(patch)
        for name, value in surroundings.items():
            patch.setenv(name, value)
        press_ctrl_c_in_time(patch)
        with pytest.raises(SystemExit) as stop, limits():
            main(arguments)
    after = snapshot(folder)
    touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if touched:
        (work / "closed").chmod(0o700) if (work / "closed").exists() else None
        shutil.rmtree(work)
    written, told = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))
    return Done(int(stop.value.code or 0), written, told, touched)


def faults(name: str, given: set[str], done: Done) -> list[str]:
    """The faults in the way a command ended."""
    found = []
    codes = {0, 1, 2, 130} | ({3} if name == "train" else set())
    if done.code not in codes:
        found.append(f"exit code {done.code}")
    found += [f"{word} on stderr" for word in ("Traceback", "Warning", "Exception ignored") if word in done.err]
    lines = [line for line in done.err.splitlines() if line]
    errors = [line for line in lines if line.startswith(("charlm: ", "Error: "))]
    if done.code in (1, 2, 3):
        if len(errors) != 1 or lines[-1] != errors[0]:
            found.append("not exactly one line of error, at the end")
        if done.out:
            found.append("an error, and output")
    elif errors:
        found.append("an error, and the exit code of success")
    return found + left_behind(name, given, done)


def left_behind(name: str, given: set[str], done: Done) -> list[str]:
    """The files that a command made or changed and should not have."""
    outside = {path for path in done.touched if not path.startswith("work/")}
    touched = {path.removeprefix("work/") for path in done.touched}
    if name in WRITES:
        allowed = {WRITES[name]} | given if done.code == 0 else set()
        return [f"left {path}" for path in sorted(touched - allowed)]
    if name != "train":
        return [f"left {path}" for path in sorted(touched)]
    if given & {"--resume", "CHARLM_TRAIN_RESUME"}:
        return [f"left {path}" for path in sorted(touched) if not path.startswith("run")]
    if done.code in (1, 2):
        return [f"left {path}" for path in sorted(touched)]
    own = [path for path in sorted(touched) if Path(path).name not in RUN_FILES and "step-" not in path]
    runs = {str(Path(path).parent) for path in touched if Path(path).name == "config.json"}
    parents = {str(parent) for run in runs for parent in (Path(run), *Path(run).parents)}
    return [f"left {path}" for path in [*sorted(outside), *own] if path not in parents] + (
        [] if len(runs) == 1 or done.code == 130 else [f"{len(runs)} runs"]
    )


# ---------------------------------------------------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options")


def check(name: str, folder: Path, examples: int, **more: Any) -> Counter[int]:
    """Try command lines of a command; returns the counts of their exit codes."""
    codes = Counter[int]()

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), **more)
    @given(command_lines(name))
    def one(line: tuple[list[str], dict[str, str]]) -> None:
        done = call(*line, folder)
        note(repr(done)[:5000])
        assert not faults(name, {*line[0], *line[1], *line[1].values()}, done)
        codes[done.code] += 1

    one()
    return codes


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_alone(name: str, folder: Path) -> None:
    """Law: no value of an option makes a fault, with usual values for the others; some value is accepted."""
    for option in options_of(name):
        usual = (*USUAL.get(name, ()), *NEEDS.get(option.name or "", ())) if option.name != "resume" else ()
        usual += ("--quiet",) if name == "train" and option.name != "quiet" else ()
        usual += NEEDS_HERE.get((name, option.name or ""), ())
        places = SOURCES[name] if option.name != "resume" else []
        if option.name == "glob":
            places = [place.replace("short.txt", "folder") for place in places]
        codes = Counter[int]()
        for value in [None] if option.is_flag else [*own_values(option), *JUNK]:
            for flag in [*option.opts[:1], *option.secondary_opts]:
                line = complete(name, [*usual, flag, *([] if value is None else [value])], places)
                done = call(line, {}, folder)
                assert not faults(name, {*line}, done), (line, done)
                codes[done.code] += 1
        assert codes[0], f"no value of {option.name} was accepted: {codes}"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_lines(name: str, folder: Path) -> None:
    """Law: no faults in random command lines, the same ones every time; some succeed, and some fail in each way."""
    codes = check(name, folder, EXAMPLES)
    assert codes[0] and codes[1] and codes[2]


@pytest.mark.skipif("CHARLM_TEST_SECONDS" not in os.environ, reason="takes as long as CHARLM_TEST_SECONDS says")
def test_new_command_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: the same, for new command lines."""
    end = time.monotonic() + float(os.environ["CHARLM_TEST_SECONDS"])
    codes = {name: Counter[int]() for name in COMMANDS}
    while time.monotonic() < end:
        for name in COMMANDS:
            codes[name] += check(name, folder, EXAMPLES, derandomize=False)
    with capsys.disabled():
        print()  # noqa: T201
        for name in COMMANDS:
            print(f"{name:>8}: {codes[name].total():,} command lines; exit codes {dict(sorted(codes[name].items()))}")  # noqa: T201
