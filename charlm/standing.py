"""The figures of a run: what it is, and where its training stands."""

from __future__ import annotations

import math
from typing import Any

from charlm.journal import Tally
from charlm.plan import model_spec, steps_per_epoch, train_spec, training_length
from charlm.store.run import Run

MEMORISING = 0.7  # of the steps: a best model from before that was overtaken by memorising


def summary(run: Run) -> dict[str, Any]:
    """The result of a run so far, as `charlm train --json` prints it.

    Losses are in nats per character, those of validation at the best step; None before the first evaluation.
    Raises RunError or CheckpointError where the run's files are not in order.
    """
    spec, model = train_spec(run), model_spec(run)
    checkpoint = run.last()
    tally = Tally.of(checkpoint.progress) if checkpoint else Tally()
    characters = tally.step * spec.window * spec.batch
    trained_on = training_length(run.config["corpus"]["characters"], spec.val_fraction, spec.val_limit)
    per_epoch = steps_per_epoch(spec, trained_on)
    return {
        "run": str(run.path),
        "steps": tally.step,
        "epochs": round(tally.step / per_epoch, 4),
        "characters": characters,
        "seconds": round(tally.seconds, 3),
        "train_nats": tally.train_nats,
        "validation_nats": tally.best_nats,
        "validation_bpc": tally.best_nats / math.log(2) if tally.best_nats is not None else None,
        "best_step": tally.best_step,
        "parameters": model.parameters,
        "vocabulary": model.vocabulary - 1,  # the escape is no character
        "chars_per_second": round(characters / max(tally.seconds, 1e-9)) if tally.seconds else None,
    }


def verdict(run: Run) -> str:
    """What people should know about a result beside its number; empty where there is nothing to say."""
    figures = summary(run)
    if figures["validation_nats"] is None:
        return ""
    if figures["validation_nats"] >= math.log(figures["vocabulary"] + 1):
        return "That is no better than chance: the text is too short to learn from, or the settings do not suit it."
    if run.origin and figures["best_step"] == 0 < figures["steps"]:
        return "No step made it better than it began: a lower --lr, more time or --dropout will help, if anything can."
    if figures["best_step"] < MEMORISING * figures["steps"]:
        return (
            f"After step {figures['best_step']:,} it began to memorise (the best model is kept): more text, "
            "--dropout 0.3, a smaller --hidden or less time will help."
        )
    return ""
