"""A run: one directory with a configuration, metrics, checkpoints and a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from charlm.config import TrainSpec, training_length
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.corpus.reader import STANDARD_INPUT
from charlm.errors import CheckpointError, CorpusError, RunError, SpecError, StorageError, in_shell, in_short
from charlm.files.atomic import TEMPORARY_FILES, storage_errors, write_atomic
from charlm.files.lock import LOCK, exclusive_lock
from charlm.nn.model import ModelSpec
from charlm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlm.runs.config import CONFIG, config_bytes, file_names, how_read, is_run, read_config
from charlm.runs.metrics import append_metrics, keep_metrics_up_to, read_metrics
from charlm.version import __version__

MOST_NAMED = 3  # texts in a command that a message shows
FIRST = ("best.safetensors", "last.safetensors")  # written first in a run that begins with a trained model


class Run:
    """A run directory. config: everything that was resolved when the run began, as config.json keeps it."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    @property
    def spec(self) -> TrainSpec:
        """How the run is trained. Raises RunError if the configuration does not fit this version."""
        try:
            return TrainSpec(**self.config["training"])
        except (TypeError, SpecError) as error:
            raise self._misfit(error) from None

    @property
    def model(self) -> ModelSpec:
        """The sizes of the network. Raises RunError if the configuration does not fit this version."""
        try:
            return ModelSpec(**self.config["model"])
        except (TypeError, SpecError) as error:
            raise self._misfit(error) from None

    @property
    def training_characters(self) -> int:
        """How many characters of the corpus are trained on."""
        spec, corpus = self.spec, self.config["corpus"]
        usual = training_length(corpus["characters"], spec.val_fraction, spec.val_limit)
        return int(corpus.get("training_characters", usual))

    @property
    def metrics_path(self) -> Path:
        """The recorded losses, see charlm.runs.metrics."""
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
        """A small JSON object beside the configuration, see charlm.runs.figures."""
        return self.path / f"{name}.json"

    @property
    def ngram_path(self) -> Path:
        """The counts of the n-gram with which the network is compared. (Every .safetensors file is a checkpoint.)"""
        return self.path / "ngram.counts"

    @property
    def sources(self) -> list[str]:
        """Where the corpus was read from, as file names of this system; they need not be UTF-8."""
        return file_names(self.config["corpus"]["sources"])

    @property
    def is_records(self) -> bool:
        """Whether every line of the corpus is a text of its own."""
        return self.spec.validation == "records"

    @property
    def reading(self) -> dict[str, Any]:
        """How the corpus was read: further arguments of `read_corpus`, which read it again."""
        return how_read(self.config["corpus"])

    @property
    def origin(self) -> dict[str, Any] | None:
        """The trained model that the run began with, see charlm.training.warm_start; None for any other run."""
        origin: dict[str, Any] | None = self.config.get("origin")
        return origin

    @property
    def known(self) -> str:
        """The characters that the vocabulary has beside those of the text: `read_corpus` takes them."""
        return str(self.origin["vocabulary"]) if self.origin else ""

    def corpus(self, sources: Sequence[str | Path] | None = None) -> Corpus:
        """The corpus, read again, by default from where it was. Raises CorpusError if it is missing or has changed."""
        if sources is None:
            if STANDARD_INPUT in self.sources:
                raise CorpusError(f"the text of {self.path} came from standard input, which cannot be read again")
            self.require_sources()
        corpus = read_corpus(sources or self.sources, known=self.known, **self.reading)
        self.require(corpus)
        return corpus

    def require_sources(self) -> None:
        """Raise CorpusError if a source of the corpus is no longer where it was."""
        for source in self.sources:
            if source != STANDARD_INPUT and not Path(source).exists():
                raise CorpusError(
                    f"the text of {self.path} is no longer at {source}: if it was moved or renamed to NEW, "
                    f"charlm train NEW --resume {self._typed} finds it there, and remembers that"
                )

    def require(self, corpus: Corpus) -> None:
        """Raise CorpusError if a corpus is not this run's, or was read without `known`."""
        expected, came = self.config["corpus"]["sha256"], corpus.sha256
        if came != expected:
            texts = " ".join(map(in_shell, corpus.sources[:MOST_NAMED]))
            more = " ..." if len(corpus.sources) > MOST_NAMED else ""
            way_out = f"charlm train {texts}{more} --from {self._typed} trains on it, starting from this model"
            if corpus.begins_with(self.config["corpus"]["characters"], expected):
                raise CorpusError(f"the text is longer now than when {self.path} began: {way_out}")
            raise CorpusError(
                f"the text is not the one that {self.path} began with (sha256 {came[:12]}, "
                f"expected {in_short(expected[:12])}): restore that text, or {way_out}"
            )
        if (held_out := self.config["corpus"].get("validation")) is not None and (
            corpus.held_out is None or corpus.held_out.sha256 != held_out["sha256"]
        ):
            raise CorpusError(
                f"the text to validate on is not the one that {self.path} began with: restore "
                f"{', '.join(self.reading['validation'])}, or start a new run"
            )
        if not set(self.known) <= set(corpus.vocabulary.characters):
            raise CorpusError(
                f"{self.path} began with a model that knows more characters than the text has: "
                "read the text with read_corpus(..., known=run.known)"
            )

    @classmethod
    def create(cls, path: Path, config: dict[str, Any], first: Checkpoint | None = None) -> Run:
        """Make a new run directory. Raises RunError if `path` is in use: a run is never overwritten.

        A directory in which a creation was killed counts as empty. first: the checkpoint to begin with, as best and
        last. It is written before config.json makes the directory a run, so a run that was to begin with a model never
        begins without it.
        """
        taken = RunError(f"{path} exists and is not empty: choose another --out, or go on with --resume {path}")
        with storage_errors("create the run directory", path):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                if not path.is_dir() or not all(map(_is_left_by_a_creation, path.iterdir())):
                    raise taken from None
        run = cls(path, config)
        with run.held():
            if is_run(path):  # another process was faster
                raise taken
            for name in FIRST:  # of a killed creation, perhaps from another model
                _remove(path / name)
            if first is not None:
                save_checkpoint(run.best_path, first)
                save_checkpoint(run.last_path, first)
            run.save_config()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run directory. Raises RunError if it is not one."""
        path = Path(path)
        if path.is_file():
            advice = f"name its run directory, {path.parent}" if is_run(path.parent) else "charlm train makes one"
            raise RunError(f"{path} is a file, not a run directory: {advice}")
        if not path.is_dir():
            raise RunError(f"no run directory at {path}: charlm train makes one")
        return cls(path, read_config(path))

    def save_config(self) -> None:
        """Write config.json."""
        write_atomic(self.path / CONFIG, config_bytes(self.config))

    def change_spec(self, spec: TrainSpec) -> None:
        """Train in another way from now on. Raises RunError if another process is training in the run."""
        with self.held():
            self.config["training"] = asdict(spec)
            self.save_config()

    def change_sources(self, corpus: Corpus) -> None:
        """Read the corpus from where this one came from, from now on. Raises CorpusError if it is another text.

        Raises RunError if another process is training in the run.
        """
        self.require(corpus)
        with self.held():
            self.config["corpus"] |= {
                "sources": list(corpus.sources),
                "glob": list(corpus.glob),
                "encoding": corpus.encoding,
                "duplicates": corpus.duplicates,
            }
            self.save_config()

    def log(self, records: list[Mapping[str, Any]]) -> None:
        """Add records to metrics.jsonl."""
        append_metrics(self.metrics_path, records)

    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl. Raises RunError if one is damaged."""
        return read_metrics(self.metrics_path)

    def forget_metrics_after(self, step: int) -> None:
        """Remove the records after a step, from which training resumes."""
        keep_metrics_up_to(self.metrics_path, step)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the run for this process, and remove what killed processes left half written.

        Raises RunError if another process is training in it.
        """
        with exclusive_lock(self.path):
            for leftover in self.path.glob(TEMPORARY_FILES):
                _remove(leftover)
            yield

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep` numbered checkpoints."""
        for path in self.numbered_paths[: -keep or None]:
            _remove(path)

    @property
    def _typed(self) -> str:
        """The path as it is typed in a shell."""
        return in_shell(self.path)

    def _misfit(self, error: Exception) -> RunError:
        made = self.config.get("charlm")
        if _numbers(made) > _numbers(__version__):
            return RunError(f"{self.path} was made by a newer charlm ({made}, this is {__version__}): update charlm")
        reason = in_short(error)
        if unknown := re.search(r"unexpected keyword argument ('.*')", reason):
            reason = f"it has {unknown[1]}, which is not known here"
        return RunError(f"the configuration of {self.path} does not fit this charlm ({reason}): start a new run")


def _numbers(version: object) -> tuple[int, ...]:
    """A version's numbers, to be compared; none if it is not a version."""
    is_version = isinstance(version, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9}){0,5}", version, re.ASCII)
    return tuple(map(int, str(version).split("."))) if is_version else ()


def _remove(path: Path) -> None:
    with storage_errors("remove", path, "remove it yourself"):
        path.unlink(missing_ok=True)


def _is_left_by_a_creation(path: Path) -> bool:
    """Whether it is a lock, half a file, or a first checkpoint (before any update) beside a lock."""
    if path.name == LOCK or path.match(f".{CONFIG}.*.tmp"):
        return True
    if not path.with_name(LOCK).exists():
        return False  # a checkpoint that somebody keeps
    if path.name in FIRST:
        with suppress(CheckpointError, StorageError):
            return load_checkpoint(path).step == 0
    return any(path.match(f".{name}.*.tmp") for name in FIRST)
