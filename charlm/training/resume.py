"""Resume a run: with another budget, other workers or a moved text, and with notes of what has changed since."""

from __future__ import annotations

from dataclasses import replace

from charlm.config import TrainSpec, steps_per_epoch, training_budget
from charlm.corpus.corpus import Corpus
from charlm.corpus.reader import STANDARD_INPUT
from charlm.errors import SpecError, UnsuitableError, in_short
from charlm.parallel.workers import processors, suitable_count
from charlm.runs.resume import find_resume_point, last_checkpoint
from charlm.runs.run import Run
from charlm.training.cost_model import operations
from charlm.training.memory import require_memory_for
from charlm.training.new_run import surroundings
from charlm.training.progress import Tally


def change_training(
    run: Run,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    workers: int | None = None,
) -> list[str]:
    """Resume a run with another budget, or the one it has if none is given, and with so many workers.

    See `change_budget` and `change_workers`. The configuration is written once, and only if all of it is possible.
    """
    spec = run.spec
    notes: list[str] = []
    if (minutes, steps, epochs) != (None, None, None):
        spec, notes = _with_budget(run, spec, minutes, steps, epochs)
    spec, more = _with_workers(run, spec, workers)
    _change(run, spec)
    return notes + more


def change_budget(
    run: Run, *, minutes: float | None = None, steps: int | None = None, epochs: float | None = None
) -> list[str]:
    """Give a run another budget in place of the one it has, and return notes about that; the schedule follows it.

    The new budget is used up: `patience` no longer ends the run. At least one of the three is given.
    Raises SpecError, also if the run has used up that much already, and RunError if another process is training in the
    run; then nothing is changed.
    """
    if minutes is None and steps is None and epochs is None:
        raise SpecError("a budget is minutes, steps or epochs, and none of them came: give one")
    spec, notes = _with_budget(run, run.spec, minutes, steps, epochs)
    _change(run, spec)
    return notes


def change_workers(run: Run, workers: int | None) -> list[str]:
    """Give a run another number of workers from now on, and return notes about that; None is as many as it had.

    If it had more than this machine has processors, None chooses a suitable number.
    Raises SpecError, and RunError if another process is training in the run; then nothing is changed.
    """
    spec, notes = _with_workers(run, run.spec, workers)
    _change(run, spec)
    return notes


def _change(run: Run, spec: TrainSpec) -> None:
    """Write a configuration if it differs from the one a run has. Raises RunError if another process is training."""
    if spec == run.spec:
        with run.held():
            return
    require_memory_for(run.model, spec)
    run.change_spec(spec)


def _with_budget(
    run: Run, spec: TrainSpec, minutes: float | None, steps: int | None, epochs: float | None
) -> tuple[TrainSpec, list[str]]:
    new = replace(spec, minutes=minutes, steps=steps, epochs=epochs, patience=None)
    if new == spec:
        return spec, []
    checkpoint = last_checkpoint(run)
    tally = Tally.of(checkpoint.progress) if checkpoint else Tally()
    if training_budget(new, run.training_characters).share(tally.step, tally.seconds) >= 1:
        passes = tally.step / steps_per_epoch(new, run.training_characters)
        raise UnsuitableError(
            f"{run.path} has used up a budget of {budget_in_words(new)}: it has had {tally.step:,} updates, "
            f"{passes:.3g} passes, in {tally.seconds / 60:.2g} minutes; give more than that"
        )
    changes = []
    if budget_in_words(new) != budget_in_words(spec):
        changes.append(f"the budget was {budget_in_words(spec)} and is {budget_in_words(new)} from here on")
    if spec.patience is not None:
        changes.append(f"the whole budget will be used, because --patience {spec.patience} is off from here on")
    return new, ["; ".join(changes)] if changes else []


def budget_in_words(spec: TrainSpec) -> str:
    """For example "3 minutes or 18 passes"."""
    spec = spec.resolved
    units = ((spec.minutes, "minute", ""), (spec.steps, "update", ""), (spec.epochs, "pass", "e"))
    parts = [f"{value:,g} {unit}{'' if value == 1 else f'{e}s'}" for value, unit, e in units if value is not None]
    return " or ".join(parts)


def _with_workers(run: Run, spec: TrainSpec, workers: int | None) -> tuple[TrainSpec, list[str]]:
    if workers is None:
        workers = spec.workers or 1
        if workers > processors():
            workers = suitable_count(spec.batch, operations(run.model, spec.batch, spec.window))
    if workers == spec.workers:
        return spec, []
    note = f"workers were {spec.workers} until now and are {workers} from here on: bits may differ"
    return replace(spec, workers=workers), [note]


def change_sources(run: Run, corpus: Corpus) -> list[str]:
    """Let a run read its text from where this corpus came from, from now on, and return notes about that.

    Raises CorpusError if it is another text, and RunError if another process is training in the run.
    """
    run.require(corpus)
    if STANDARD_INPUT in corpus.sources or list(corpus.sources) == run.sources:
        return []
    run.change_sources(corpus)
    return [f"the text of {run.path} is read from {', '.join(corpus.sources)} from here on"]


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
