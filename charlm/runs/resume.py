"""The checkpoint from which training resumes, if the last one is damaged, too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charlm.errors import CheckpointError, RunError
from charlm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlm.runs.run import Run


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint and its file, or None for a run without one; why others were skipped, one sentence each."""

    checkpoint: Checkpoint | None
    path: Path | None
    skipped: tuple[str, ...]
    best_is_whole: bool


def find_resume_point(run: Run, only_best: bool = False) -> ResumePoint:
    """The last checkpoint, or else the newest of the others that is undamaged.

    only_best: the best one instead, to roll back to. Raises RunError if all checkpoints are damaged.
    """
    candidates = [] if only_best else [run.last_path, *reversed(run.numbered_paths)]
    found: list[tuple[Path, Checkpoint]] = []
    damaged: dict[Path, str] = {}
    for path in filter(Path.exists, [*candidates, run.best_path]):
        if path != run.best_path and any(whole == run.last_path for whole, _ in found):
            continue  # the last one is undamaged: the best one is read only to know whether it is undamaged, too
        try:
            found.append((path, load_checkpoint(path)))
        except CheckpointError as error:
            damaged[path] = str(error)
    if damaged and not found:
        raise RunError(f"no checkpoint of {run.path} can be read: {'; '.join(damaged.values())}")
    best_is_whole = run.best_path not in damaged
    if not found and run.origin:
        raise RunError(f"{run.path} began with a trained model and has no checkpoint left: start a new run")
    if not found:
        return ResumePoint(None, None, (), best_is_whole)
    last_first = max(found, key=lambda entry: (entry[0] == run.last_path, entry[1].step))
    return ResumePoint(last_first[1], last_first[0], tuple(damaged.values()), best_is_whole)


def last_checkpoint(run: Run) -> Checkpoint | None:
    """The checkpoint that training resumes from; None before the first one was written."""
    return find_resume_point(run).checkpoint


def restore_damaged_files(run: Run, point: ResumePoint, is_best: bool) -> None:
    """Write the checkpoint of `point` over a missing or damaged last one, and over a damaged best one if it `is_best`.

    Otherwise they would stay damaged if the budget is used up and training ends at once.
    """
    assert point.checkpoint is not None
    if point.path != run.last_path:
        save_checkpoint(run.last_path, point.checkpoint)
    if is_best and not point.best_is_whole:
        save_checkpoint(run.best_path, point.checkpoint)
