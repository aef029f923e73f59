"""Find runs and checkpoints by what people name, and take a free name for a new run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from charlm.errors import RunError, in_shell
from charlm.files.atomic import storage_errors
from charlm.runs.config import CONFIG, is_run
from charlm.runs.run import Run

RUNS = Path("checkpoints")


def take_free_path(name: str, runs: Path = RUNS) -> Path:
    """Make the folder `runs/name`, or `runs/name-2`, `runs/name-3`, ... if that exists; returns the one that was made.

    Of several processes that look for a name at once, each gets another folder. Raises StorageError.
    """
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run"
    own = os.fsdecode(safe.encode("utf-8", "surrogateescape"))  # the locale's way to name a file of these bytes
    return next(path for path in _numbered(runs / own) if _is_made(path))


def newest_run(runs: Path = RUNS) -> Path:
    """The run under `runs` that was written last, one with a checkpoint if there is any. Raises RunError."""
    every = [config.parent for config in runs.glob(f"*/{CONFIG}")]
    found = [run for run in every if any(run.glob("*.safetensors"))] or every
    if not found:
        raise RunError(f"no run under {runs.resolve()}: name a run directory, or make one with charlm train CORPUS")
    return max(found, key=_written_at)


def run_of(path: str | Path) -> Run:
    """The run that a path stands for: a run directory, or a checkpoint file in one. Raises RunError."""
    path = Path(path)
    if path.is_file() and not is_run(path.parent):
        raise RunError(
            f"{path} is not in a run directory, where its n-gram and the names of its texts would be: name a run "
            "directory, or a checkpoint file in one"
        )
    return Run.open(path.parent if path.is_file() else path)


def checkpoint_path(target: str | Path | None = None) -> Path:
    """The checkpoint that a run directory, a checkpoint file or nothing (the newest run) stands for.

    For a run it is the best one, or the last one before the first evaluation. Raises RunError if there is none.
    """
    path = Path(target) if target is not None else newest_run()
    if path.is_file():
        return path
    run = Run.open(path)
    for checkpoint in (run.best_path, run.last_path):
        if checkpoint.exists():
            return checkpoint
    raise RunError(f"{path} has no checkpoint yet: go on with charlm train --resume {in_shell(path)}")


def containing_run(checkpoint: Path) -> Run | None:
    """The run in whose directory a checkpoint lies; None if that is not a run. Raises RunError for a damaged one."""
    return Run.open(checkpoint.parent) if is_run(checkpoint.parent) else None


def _written_at(run: Path) -> int:
    """When a file of a run was written last, in nanoseconds; a training may replace files meanwhile."""
    times = [0]
    for file in run.glob("[!.]*.*"):
        with suppress(FileNotFoundError):
            times.append(file.lstat().st_mtime_ns)
    return max(times)


def _is_made(path: Path) -> bool:
    """Make a folder, unless there is something of that name. The system lets one process only make it."""
    with storage_errors("create the run directory", path):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            return False
    return True


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1
