"""Resume a run: with another budget or number of workers, and with notes of what has changed since it began."""

from __future__ import annotations

from dataclasses import replace

from charlm.errors import SpecError, in_short
from charlm.parallel.workers import processors, suitable_count
from charlm.runs.resume import find_resume_point
from charlm.runs.run import Run
from charlm.training.cost_model import operations
from charlm.training.new_run import surroundings


def change_budget(
    run: Run, *, minutes: float | None = None, steps: int | None = None, epochs: float | None = None
) -> list[str]:
    """Give a run another budget in place of the one it has, and return notes about that; the schedule follows it.

    The new budget is used up: `patience` no longer ends the run. At least one of the three is given.
    Raises SpecError, and RunError if another process is training in the run.
    """
    if minutes is None and steps is None and epochs is None:
        raise SpecError("a budget is minutes, steps or epochs, and none of them came: give one")
    old = run.spec
    run.change_spec(replace(old, minutes=minutes, steps=steps, epochs=epochs, patience=None))
    if old.patience is None:
        return []
    return [f"the whole budget will be used: --patience {old.patience} is off from here on"]


def change_workers(run: Run, workers: int | None) -> list[str]:
    """Give a run another number of workers from now on, and return notes about that; None is as many as it had.

    If it had more than this machine has processors, None chooses a suitable number.
    Raises SpecError, and RunError if another process is training in the run.
    """
    spec = run.spec
    if workers is None:
        workers = spec.workers or 1
        if workers > processors():
            workers = suitable_count(spec.batch, operations(run.model, spec.batch, spec.window))
    if workers == spec.workers:
        return []
    run.change_spec(replace(spec, workers=workers))
    return [f"workers were {spec.workers} until now and are {workers} from here on: bits may differ"]


def resume_notes(run: Run) -> list[str]:
    """What to know before a run is resumed: damaged checkpoints, and surroundings that have changed.

    With the same versions, BLAS and number of threads a resumed run comes to the same bits; otherwise it is as good.
    """
    notes = [f"skipped a checkpoint: {reason}" for reason in find_resume_point(run).skipped]
    for name, now in surroundings().items():
        if run.config.get(name, now) != now:
            then = in_short(run.config[name])
            notes.append(f"{name} was {then} when the run began and is {now} now: bits may differ")
    return notes
