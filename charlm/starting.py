"""Begin a run, or take one up again."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm.errors import SpecError, in_short
from charlm.nn.model import CharLM, ModelSpec
from charlm.parallel.blas import blas_name, blas_thread_count
from charlm.parallel.workers import processors, usual_count
from charlm.plan import TrainSpec, model_spec, require_memory_for, split, train_spec
from charlm.recipe import choose
from charlm.speed import operations
from charlm.store.corpus import Corpus
from charlm.store.run import Run, free_run_path
from charlm.text.streams import fitting_window
from charlm.version import __version__


def new_run(
    corpus: Corpus,
    out: str | Path | None = None,
    spec: TrainSpec | None = None,
    **network: Any,
) -> Run:
    """Make a run directory for a corpus, with everything resolved in its config.json.

    out: a directory that does not exist yet; left out, `checkpoints/NAME`, numbered when taken. network: fields of
    ModelSpec (`hidden=128, layers=2`). spec: left out, it and what is not given of the network is the recipe's for a
    text like this (see charlm.recipe). A text that is too short for a whole window gets a smaller one.
    Raises CorpusError, SpecError, RunError or StorageError.
    """
    if spec is None:
        chosen = choose(corpus, **network)
        spec, network = chosen.training, chosen.network
    model = ModelSpec(len(corpus.vocabulary) + 1, **network)  # and the escape
    return Run.create(run_path(corpus, out), configuration(corpus, model, spec))


def run_path(corpus: Corpus, out: str | Path | None) -> Path:
    """Where a new run is to be: `out`, or a free place that is named after the corpus."""
    return Path(out) if out is not None else free_run_path(corpus.name)


def configuration(corpus: Corpus, model: ModelSpec, spec: TrainSpec) -> dict[str, Any]:
    """The config.json of a new run, with everything resolved. Raises CorpusError or SpecError."""
    CharLM(model).require_causal()
    training_ids, _ = split(corpus.ids, spec.val_fraction, spec.val_limit)
    window, batch = fitting_window(len(training_ids), spec.window, spec.batch)
    workers = spec.workers or usual_count(batch, operations(model, batch, window))
    spec = replace(spec.settled, window=window, batch=batch, workers=workers)
    require_memory_for(model, spec)
    return {
        **_surroundings(),
        "python": platform.python_version(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "corpus": {
            "name": corpus.name,
            "sources": list(corpus.sources),
            "sha256": corpus.sha256,
            "characters": len(corpus.ids),
        },
        "model": asdict(model),
        "training": asdict(spec),
    }


def change_budget(
    run: Run, *, minutes: float | None = None, steps: int | None = None, epochs: float | None = None
) -> list[str]:
    """Give a run another budget in all, in place of the one it has, and say what that means; the schedule follows it.

    The budget that somebody gives is used up: what ended a run early, `patience`, does so no longer.

    At least one of the three is given. Raises SpecError, or RunError where the run is being trained: it keeps its own.
    """
    if minutes is None and steps is None and epochs is None:
        raise SpecError("a budget is minutes, steps or epochs, not none of them: give one")
    old = train_spec(run)
    _change(run, replace(old, minutes=minutes, steps=steps, epochs=epochs, patience=None))
    if old.patience is None:
        return []
    return [f"from here on all of the budget is used, also where {old.patience} validations in a row are no better"]


def change_workers(run: Run, workers: int | None) -> list[str]:
    """Give a run another number of workers from now on, and say what that means; None is as many as it had.

    A run that had more than this machine has processors gets what suits this machine. Raises SpecError, or RunError
    where the run is being trained: it keeps its own.
    """
    spec = train_spec(run)
    if workers is None:
        workers = spec.workers or 1
        if workers > processors():
            workers = usual_count(spec.batch, operations(model_spec(run), spec.batch, spec.window))
    if workers == spec.workers:
        return []
    _change(run, replace(spec, workers=workers))
    return [f"workers were {spec.workers} until now and are {workers} from here on: bits may differ"]


def _change(run: Run, spec: TrainSpec) -> None:
    with run.held():
        run.config["training"] = asdict(spec)
        run.save_config()


def resume_notes(run: Run) -> list[str]:
    """What people should know before a run goes on: damaged checkpoints, and surroundings that have changed.

    With the same versions, BLAS and number of threads a resumed run comes to the same bits; otherwise it is as good.
    """
    notes = [f"skipped a checkpoint: {reason}" for reason in run.resume_point().skipped]
    for name, now in _surroundings().items():
        if run.config.get(name, now) != now:
            then = in_short(run.config[name])
            notes.append(f"{name} was {then} when the run began and is {now} now: bits may differ")
    return notes


def _surroundings() -> dict[str, Any]:
    """What the bits of a result depend on, beside the configuration."""
    return {"charlm": __version__, "numpy": np.__version__, "blas": blas_name(), "threads": blas_thread_count()}
