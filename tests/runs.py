"""Tiny runs, plain oracles, planted faults and calls of the command line, shared by many tests."""

from __future__ import annotations

import atexit
import errno
import functools
import io
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import pytest
from cell_oracles import cell_named, reference_step, variant_of
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

from charlm.arrays import Floats, Ids, NamedArrays, group
from charlm.cli import main
from charlm.config import TrainSpec
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.files import atomic
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.predict.run_mixture import fit_mix
from charlm.runs.checkpoint import Checkpoint, load_checkpoint
from charlm.runs.run import Run
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import load
from charlm.training import loop
from charlm.training.baselines import measure_baselines
from charlm.training.loop import train_steps
from charlm.training.new_run import new_run

threadpool_limits(1, user_api="blas")  # networks this small are slower with a second thread

LANTERNS = Path(__file__).resolve().parent.parent / "corpora" / "lanterns.txt"
TINY = TrainSpec(batch=4, window=10, steps=24, evaluations=4, reports=8)
TINY_OPTIONS = (
    *("--hidden", "8", "--batch", "4", "--window", "10"),
    *("--dropout", "0", "--input-dropout", "0", "--patience", "0", "--steps", "24"),
)
CONFIG = {"model": {}, "training": {}, "corpus": {"name": "x", "sources": [], "sha256": "", "characters": 9}}
WALL_CLOCK = {"seconds", "evaluation_seconds", "chars_per_second", "report_seconds"}

CELLS: dict[str, dict[str, Any]] = {  # fields of ModelSpec
    "gru": {},
    "gru after": {"reset": "after"},
    "lstm": {"cell": "lstm"},
    "tanh": {"cell": "rnn"},
    "relu": {"cell": "rnn", "activation": "relu"},
}

few_examples = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@functools.cache
def lanterns() -> Corpus:
    """The corpus in corpora/."""
    return read_corpus(LANTERNS)


def short_corpus(folder: Path, characters: int = 330) -> Corpus:
    """Its beginning; 330 characters give TINY an epoch of 7 windows."""
    path = folder / "short.txt"
    path.write_bytes(LANTERNS.read_bytes()[:characters])
    return read_corpus(path)


def tiny_run(path: Path, corpus: Corpus, spec: TrainSpec = TINY, layers: int = 1, **network: Any) -> Run:
    """A new run of 8 hidden units; network: more fields of ModelSpec."""
    return new_run(corpus, path, spec, hidden=8, layers=layers, **network)


def run_to_end(run: Run, corpus: Corpus) -> Run:
    """Train until the budget is used up."""
    for _ in train_steps(run, corpus):
        pass
    return run


def stop_at(run: Run, corpus: Corpus, step: int) -> None:
    """Train until `step` updates are done in all, then close the generator."""
    updates = train_steps(run, corpus)
    for progress in updates:
        if progress.step >= step:
            break
    updates.close()


def sample_of(run: Run) -> str:
    """50 characters from the last checkpoint."""
    return "".join(load(run.last_path).sample("T", length=50, rng_seed=3))


@functools.cache
def trained_run() -> Path:
    """A run that is trained once for all tests, which only read it."""
    folder = Path(tempfile.mkdtemp(prefix="charlm-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run = tiny_run(folder / "lanterns", lanterns(), TrainSpec(optimizer="sgd", batch=4, window=10, steps=60))
    measure_baselines(run, lanterns())
    fit_mix(run_to_end(run, lanterns()), lanterns())
    return run.path


def copy_of_trained_run(path: Path) -> Path:
    """A copy of that run, to be changed."""
    shutil.copytree(trained_run(), path)
    return path


def some_checkpoint(
    characters: str = "abcd", hidden: int = 3, layers: int = 2, batch: int = 2, seed: int = 0
) -> Checkpoint:
    """A checkpoint of random numbers, with all its parts."""
    rng = np.random.default_rng(seed)
    spec = ModelSpec(len(characters) + 1, hidden, layers)
    params = NamedArrays(spec.shapes)
    params.flat[:] = rng.standard_normal(params.flat.size)
    return Checkpoint(
        spec,
        Vocabulary(characters),
        params,
        {f"velocity.{name}": rng.standard_normal(array.shape).astype(np.float32) for name, array in params.items()},
        tuple(rng.standard_normal((batch, hidden)).astype(np.float32) for _ in range(layers)),
        {"step": 12, "best_nats": math.pi, "best_step": None, "seconds": 1e-300},
    )


def random_model(
    seed: int,
    vocabulary: int = 7,
    hidden: int = 5,
    layers: int = 1,
    dtype: Any = np.float64,
    scale: float = 1.0,
    **network: Any,
) -> tuple[CharLM, NamedArrays]:
    """A network whose parameters are all normal numbers times `scale`; network: more fields of ModelSpec."""
    model = CharLM(ModelSpec(vocabulary, hidden, layers, **network), dtype)
    params = NamedArrays(model.spec.shapes, dtype)
    params.flat[:] = scale * np.random.default_rng(seed).standard_normal(params.flat.size)
    return model, params


def plain_log_probabilities(spec: ModelSpec, params: Mapping[str, np.ndarray], ids: Sequence[int]) -> Iterator[Any]:
    """After every id the log probabilities (V,) of the next: the textbook's cells, step by step, in float64."""
    p = {name: np.asarray(array, np.float64) for name, array in params.items()}
    layers, cell = [group(p, f"layer{layer}") for layer in range(spec.layers)], variant_of(spec)
    states = [cell_named(cell, spec.hidden, spec.hidden).zero_state(1) for _ in layers]
    for one in ids:
        x = np.eye(spec.vocabulary)[[int(one)]]
        for layer, matrices in enumerate(layers):
            found, states[layer] = reference_step(cell, matrices, x, states[layer])
            x = found["h"] + (x if spec.residual and layer else 0)
        logits = x[0] @ p["readout.W"] + p["readout.b"]
        logits = logits - logits.max()
        yield logits - math.log(np.exp(logits).sum())


def plain_nats(
    spec: ModelSpec, params: Mapping[str, np.ndarray], ids: Sequence[int], start: int
) -> np.ndarray[Any, Any]:
    """The nats of every id after all before it, the first after `start`, in one long pass: (N,)."""
    inputs = [start, *ids[:-1]]
    predictions = plain_log_probabilities(spec, params, inputs)
    return np.array([-log_p[int(target)] for log_p, target in zip(predictions, ids, strict=True)])


def without_clock(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without the values that depend on the time of day or the speed."""
    return {name: value for name, value in record.items() if name not in WALL_CLOCK}


def bits_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """All of a checkpoint that must repeat to the bit."""
    return {
        "model": checkpoint.spec,
        "vocabulary": checkpoint.vocabulary,
        "params": {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in checkpoint.params.items()},
        "memory": {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in checkpoint.memory.items()},
        "state": [(a.dtype.str, a.shape, a.tobytes()) for a in checkpoint.state],
        "progress": without_clock(checkpoint.progress),
    }


def bits_of_run(run: Run | Path) -> dict[str, Any]:
    """All of a run that must repeat to the bit: both checkpoints and the metrics."""
    run = run if isinstance(run, Run) else Run.open(run)
    return {
        "last": bits_of(load_checkpoint(run.last_path)),
        "best": bits_of(load_checkpoint(run.best_path)),
        "metrics": [without_clock(record) for record in run.metrics()],
    }


SYSTEM_CALLS = (os.open, os.write, os.fsync, os.replace, os.rename)


class Faults:
    """Counts the calls that write a file, and makes the nth of them fail, half done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int = 0, error: BaseException | None = None) -> None:
        self.fail_at = fail_at
        self.error = error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.calls: list[str] = []
        monkeypatch.setattr(atomic, open.__name__, self._open, raising=False)
        for call in SYSTEM_CALLS:
            present = getattr(os, call.__name__)
            monkeypatch.setattr(os, call.__name__, self.counted(f"os.{call.__name__}", present))

    @property
    def happened(self) -> bool:
        """Whether the call that fails was reached."""
        return 0 < self.fail_at <= len(self.calls)

    @property
    def failed_call(self) -> str:
        """Its name."""
        return self.calls[self.fail_at - 1]

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, counted."""

        def counting(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self.fail_at:
                raise self.error
            return call(*args, **kwargs)

        return counting

    def _open(self, path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        self.calls.append("open")
        if len(self.calls) == self.fail_at:
            raise self.error
        file = open(path, mode, *args, **kwargs)  # noqa: SIM115 - the caller closes it
        return _FaultyFile(file, self) if set(mode) & set("wax+") else file


class _FaultyFile:
    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults
        self.flush = faults.counted("flush", file.flush)

    def write(self, data: bytes) -> int:
        self._faults.calls.append("write")
        if len(self._faults.calls) == self._faults.fail_at:
            self._file.write(data[: len(data) // 2])
            raise self._faults.error
        return int(self._file.write(data))

    def __enter__(self) -> _FaultyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Explosions:
    """Replaces training's loss, and multiplies its gradient, at some updates, counted over all that are tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: set[int], nats: float = 1e3, factor: float = 1.0) -> None:
        self.at, self.nats, self.factor = at, nats, factor
        self.tried = 0
        monkeypatch.setattr(loop, cross_entropy.__name__, self._cross_entropy)

    def _cross_entropy(self, logits: Floats, targets: Ids) -> tuple[float, Floats]:
        self.tried += 1
        nats, dlogits = cross_entropy(logits, targets)
        return (self.nats, dlogits * self.factor) if self.tried in self.at else (nats, dlogits)


class HandClock:
    """A clock on which every update takes the same time, and everything else takes none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now = 0.0
        self.seconds = seconds
        monkeypatch.setattr(time, monotonic.__name__, lambda: self.now)
        monkeypatch.setattr(loop, cross_entropy.__name__, self._cross_entropy)

    def _cross_entropy(self, logits: Floats, targets: Ids) -> tuple[float, Floats]:
        self.now += self.seconds
        return cross_entropy(logits, targets)


class Outcome(NamedTuple):
    """The exit code of a command, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value, strictly."""
        return json.loads(self.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))

    def is_clear_error(self, *codes: int) -> bool:
        """Whether it failed with one of `codes`, nothing on stdout, and one line (after the usage) on stderr."""
        lines = [line for line in self.err.splitlines() if line and not line.startswith(("Usage:", "Try 'charlm"))]
        return self.code in (codes or (1, 2)) and not self.out and len(lines) == 1 and "Traceback" not in self.err


def charlm(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Call the command line in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return Outcome(stop.value.code, out, err)


def charlm_command(*arguments: object) -> list[str]:
    """The arguments that call it as a process of its own."""
    return [sys.executable, "-m", "charlm", *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with one thread for the matrix arithmetic and the default buffering of output."""
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return usual | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | changes


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for another process; fails after half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited half a minute"
        time.sleep(0.005)


def holds_something(path: Path) -> Callable[[], bool]:
    """A condition for `wait_until`: a file exists and is not empty."""
    return lambda: path.exists() and path.stat().st_size > 0


def the_command(err: str) -> list[str]:
    """The printed command, parsed as a shell does."""
    (line,) = [line for line in err.splitlines() if "charlm train --resume" in line]
    program, *arguments = shlex.split(line[line.index("charlm train") :])
    assert program == "charlm"
    return [sys.executable, "-m", "charlm", *arguments]


def charlm_process(*arguments: object, cwd: Path, text: bytes = b"", **changes: str) -> Outcome:
    """Run the command line as a process; its output is UTF-8."""
    done = subprocess.run(
        charlm_command(*arguments), cwd=cwd, input=text, env=environment(**changes), capture_output=True, timeout=60
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let this process read `data` from standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
