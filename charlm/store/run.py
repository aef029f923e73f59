"""A run: one directory with config.json, metrics.jsonl, last and best checkpoint, and loss.png."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.errors import CheckpointError, CorpusError, RunError, StorageError, in_short
from charlm.store.atomic import TEMPORARY, append, told_in_one_line, write_atomic
from charlm.store.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlm.store.config import CONFIG, bounded, config_bytes, file_names, fits, read_config
from charlm.store.corpus import Corpus, read_corpus
from charlm.store.counts import REMEDY
from charlm.store.lock import LOCK, locked
from charlm.store.reading import STANDARD_INPUT
from charlm.store.strict_json import MOST_NUMBER, parse_json

RUNS = Path("checkpoints")
FIRST = ("best.safetensors", "last.safetensors")  # what a run that goes on from a model begins with
MOST_FIGURES = 2**16  # bytes
MOST_METRICS = 2**22  # bytes; 18,000 records, where a budget gives 220 by default


@dataclass(frozen=True)
class ResumePoint:
    """Where training goes on: a checkpoint and its file, or None; and what was skipped, one sentence each."""

    checkpoint: Checkpoint | None
    path: Path | None
    skipped: tuple[str, ...]
    best_is_whole: bool


class Run:
    """A run directory. `config` is everything that was resolved when the run began, as JSON keeps it."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line: an evaluation, or the mean training loss since the line before."""
        return self.path / "metrics.jsonl"

    @property
    def last_path(self) -> Path:
        """The newest checkpoint, from which training resumes."""
        return self.path / "last.safetensors"

    @property
    def best_path(self) -> Path:
        """The checkpoint with the lowest validation loss, which samples and scores."""
        return self.path / "best.safetensors"

    def numbered_path(self, step: int) -> Path:
        """A checkpoint that is kept beside the last and the best."""
        return self.path / f"step-{step:09d}.safetensors"

    @property
    def numbered_paths(self) -> list[Path]:
        """The kept checkpoints, the oldest first."""
        return sorted(self.path.glob("step-*.safetensors"))

    @property
    def plot_path(self) -> Path:
        """The picture of the loss."""
        return self.path / "loss.png"

    def figures_path(self, name: str) -> Path:
        """A small JSON object beside the configuration: "baselines" and "mix", see charlm.baselines and .fitting."""
        return self.path / f"{name}.json"

    @property
    def ngram_path(self) -> Path:
        """The counts of the n-gram that the network is compared with; every .safetensors is a checkpoint."""
        return self.path / "ngram.counts"

    @property
    def sources(self) -> list[str]:
        """Where the corpus was read from, as file names of this system; they need not be UTF-8."""
        return file_names(self.config["corpus"]["sources"])

    @property
    def origin(self) -> dict[str, Any] | None:
        """Where a run that goes on from a trained model came from, see charlm.warm; None for any other run."""
        origin: dict[str, Any] | None = self.config.get("origin")
        return origin

    @property
    def known(self) -> str:
        """The characters that the vocabulary has beside those of the text: `read_corpus` takes them."""
        return str(self.origin["vocabulary"]) if self.origin else ""

    def corpus(self) -> Corpus:
        """The text, read again from where it came from. Raises CorpusError where it is not there or another by now."""
        if STANDARD_INPUT in self.sources:
            raise CorpusError(f"the text of {self.path} came from standard input, where it is gone")
        corpus = read_corpus(self.sources, known=self.known)
        self.require(corpus)
        return corpus

    def require(self, corpus: Corpus) -> None:
        """Raise CorpusError for a text that is not this run's, or was read without the characters known before."""
        expected, came = self.config["corpus"]["sha256"], corpus.sha256
        if came != expected:
            raise CorpusError(
                f"the text is not the one that {self.path} began with (sha256 {came[:12]}, "
                f"expected {in_short(expected[:12])}): restore that text, or start a new run"
            )
        if not set(self.known) <= set(corpus.vocabulary.characters):
            raise CorpusError(
                f"{self.path} goes on from a model that knows more characters than the text has: "
                "read the text with read_corpus(..., known=run.known)"
            )

    @classmethod
    def create(cls, path: Path, config: dict[str, Any], first: Checkpoint | None = None) -> Run:
        """Make a new run directory. Raises RunError where `path` is taken: a run is never overwritten.

        A directory in which a creation was killed is as an empty one. first: what it begins with, its best and its
        last so far. It is there before config.json makes the directory a run, so a run that was to go on from
        something never begins from nothing.
        """
        taken = RunError(f"{path} exists and is not empty: choose another --out, or go on with --resume {path}")
        with told_in_one_line("create the run directory", path):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                if not path.is_dir() or not all(map(_is_left_by_a_creation, path.iterdir())):
                    raise taken from None
        run = cls(path, config)
        with run.held():
            if is_run(path):  # another process was quicker
                raise taken
            for name in FIRST:  # a killed creation's, which went on from something else or shall not count
                _remove(path / name)
            if first is not None:
                save_checkpoint(run.best_path, first)
                save_checkpoint(run.last_path, first)
            run.save_config()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run directory. Raises RunError where it is not one."""
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"no run directory at {path}: charlm train makes one")
        return cls(path, read_config(path))

    @classmethod
    def of(cls, path: str | Path) -> Run:
        """The run that a path stands for: a run directory, or a checkpoint file in one."""
        path = Path(path)
        return cls.open(path.parent if path.is_file() else path)

    def save_config(self) -> None:
        """Write config.json."""
        write_atomic(self.path / CONFIG, config_bytes(self.config))

    def log(self, records: list[Mapping[str, Any]]) -> None:
        """Add lines to metrics.jsonl."""
        append(self.metrics_path, "".join(json.dumps(record) + "\n" for record in records).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl. A last line that was cut short by a crash is left out.

        Raises RunError where another line is not a record.
        """
        if not self.metrics_path.exists():
            return []
        try:
            with told_in_one_line("read", self.metrics_path, "make it readable"):
                *lines, _cut_short = bounded(self.metrics_path, MOST_METRICS).split(b"\n")
        except ValueError as error:
            raise RunError(f"{self.metrics_path} cannot be read ({error}): restore it, or move it away") from None
        return [self._record(number, line) for number, line in enumerate(lines, 1)]

    def save_figures(self, name: str, figures: Mapping[str, Any]) -> None:
        """Write such an object."""
        write_atomic(self.figures_path(name), (json.dumps(figures, indent=2) + "\n").encode())

    def figures(self, name: str) -> dict[str, Any] | None:
        """Such an object; None where there is none. Raises RunError where the file holds something else."""
        path = self.figures_path(name)
        if not path.exists():
            return None
        try:
            with told_in_one_line("read", path, "make it readable"):
                return dict(parse_json(bounded(path, MOST_FIGURES)))
        except (ValueError, TypeError) as error:
            reason = in_short(error)
            raise RunError(f"{path} cannot be read ({reason}): {REMEDY}") from None

    def forget_metrics_after(self, step: int) -> None:
        """Keep the records up to a step: those after the checkpoint that training resumes from will come again."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        write_atomic(self.metrics_path, "".join(json.dumps(record) + "\n" for record in kept).encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run for this process, and sweep what dead ones left half written.

        Raises RunError where another process is training in it.
        """
        with locked(self.path):
            for leftover in self.path.glob(TEMPORARY):
                _remove(leftover)
            yield

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep` numbered checkpoints."""
        for path in self.numbered_paths[: -keep or None]:
            _remove(path)

    def resume_point(self, only_best: bool = False) -> ResumePoint:
        """The checkpoint that training resumes from: the last one, or the newest of the others that is whole.

        only_best: the best one instead, to go back to. Raises RunError where there are checkpoints and none of them
        can be read.
        """
        candidates = [] if only_best else [self.last_path, *reversed(self.numbered_paths)]
        found: list[tuple[Path, Checkpoint]] = []
        damaged: dict[Path, str] = {}
        for path in filter(Path.exists, [*candidates, self.best_path]):
            if path != self.best_path and any(whole == self.last_path for whole, _ in found):
                continue  # the last one is whole: only whether the best one is, too, is still of interest
            try:
                found.append((path, load_checkpoint(path)))
            except CheckpointError as error:
                damaged[path] = str(error)
        if damaged and not found:
            raise RunError(f"no checkpoint of {self.path} can be read: {'; '.join(damaged.values())}")
        best_is_whole = self.best_path not in damaged
        if not found and self.origin:
            raise RunError(f"{self.path} went on from a trained model and has no checkpoint left: start a new run")
        if not found:
            return ResumePoint(None, None, (), best_is_whole)
        last_first = max(found, key=lambda entry: (entry[0] == self.last_path, entry[1].step))
        return ResumePoint(last_first[1], last_first[0], tuple(damaged.values()), best_is_whole)

    def mend(self, point: ResumePoint, is_best: bool) -> None:
        """Write what training goes on from where the last checkpoint, or the best if it is that, is missing or damaged.

        Otherwise they would stay so where the budget is used and nothing is left to train.
        """
        assert point.checkpoint is not None
        if point.path != self.last_path:
            save_checkpoint(self.last_path, point.checkpoint)
        if is_best and not point.best_is_whole:
            save_checkpoint(self.best_path, point.checkpoint)

    def last(self) -> Checkpoint | None:
        """The checkpoint that training resumes from; None before the first one was written."""
        return self.resume_point().checkpoint

    def _record(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = parse_json(line)
        except ValueError:
            record = None
        numbers = {"step": int, "characters": int, "seconds": float | int, "nats": float | int}
        known = fits(record, {**numbers, "split": str}) and all(abs(record[name]) < MOST_NUMBER for name in numbers)
        if known and min(record["step"], record["characters"], record["seconds"]) >= 0:
            return dict(record)
        raise RunError(f"{self.metrics_path}, line {number} is not a record of a loss: restore or remove that line")


def _remove(path: Path) -> None:
    with told_in_one_line("remove", path, "remove it yourself"):
        path.unlink(missing_ok=True)


def _is_left_by_a_creation(path: Path) -> bool:
    """A lock, half a file, or, beside the lock, what a run was to begin with: a checkpoint before its first update."""
    if path.name == LOCK or path.match(f".{CONFIG}.*.tmp"):
        return True
    if not path.with_name(LOCK).exists():
        return False  # a checkpoint that somebody keeps
    if path.name in FIRST:
        with suppress(CheckpointError, StorageError):
            return load_checkpoint(path).step == 0
    return any(path.match(f".{name}.*.tmp") for name in FIRST)


def is_run(path: str | Path) -> bool:
    """Whether a path is a run directory."""
    return (Path(path) / CONFIG).is_file()


def free_run_path(name: str, runs: Path = RUNS) -> Path:
    """`runs/name`, or `runs/name-2`, `runs/name-3`, ... where that is taken."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run"
    own = os.fsdecode(safe.encode("utf-8", "surrogateescape"))  # the locale's way to name a file of these bytes
    return next(path for path in _numbered(runs / own) if not path.exists())


def newest_run(runs: Path = RUNS) -> Path:
    """The run under `runs` that was written last, one with a checkpoint if there is any. Raises RunError."""
    every = [config.parent for config in runs.glob(f"*/{CONFIG}")]
    found = [run for run in every if any(run.glob("*.safetensors"))] or every
    if not found:
        raise RunError(f"no run under {runs.resolve()}: name a run directory, or make one with charlm train CORPUS")
    return max(found, key=lambda run: max(file.lstat().st_mtime_ns for file in run.glob("*.*")))


def checkpoint_path(target: str | Path | None = None) -> Path:
    """The checkpoint that a run directory, a checkpoint file or nothing (the newest run) stands for.

    For a run that is its best one, or the last where none was scored yet. Raises RunError where there is none.
    """
    path = Path(target) if target is not None else newest_run()
    if path.is_file():
        return path
    run = Run.open(path)
    for checkpoint in (run.best_path, run.last_path):
        if checkpoint.exists():
            return checkpoint
    raise RunError(f"{path} has no checkpoint yet: go on with charlm train --resume {path}")


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1
