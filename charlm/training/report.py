"""The result of a run: figures, why it ended, and a verdict in words."""

from __future__ import annotations

import math
from dataclasses import asdict
from statistics import fmean
from typing import Any

from charlm.config import steps_per_epoch
from charlm.runs.figures import FEW, Baselines, Mix
from charlm.runs.resume import last_checkpoint
from charlm.runs.run import Run
from charlm.training.coordinator import is_patience_exhausted
from charlm.training.judgement import Facts, judge
from charlm.training.progress import Tally

OVERFITTING = 0.7  # of the steps; if the best model is from before that, training overfitted or stalled
REPORTS = 5  # training losses that are averaged, to reduce noise


def summary(run: Run) -> dict[str, Any]:
    """The result of a run so far, as `charlm train --json` prints it.

    Losses are in nats per character, the validation loss that of the best step; None before the first evaluation.
    baselines, mix: see charlm.runs.figures; None if not measured.
    Raises RunError or CheckpointError if the run's files are damaged.
    """
    spec, model = run.spec, run.model
    checkpoint, baselines, mix = last_checkpoint(run), Baselines.of(run), Mix.of(run)
    tally = Tally.of(checkpoint.progress) if checkpoint else Tally()
    characters = tally.step * spec.window * spec.batch
    per_epoch = steps_per_epoch(spec, run.training_characters)
    return {
        "run": str(run.path),
        "steps": tally.step,
        "epochs": round(tally.step / per_epoch, 4),
        "characters": characters,
        "seconds": round(tally.seconds, 3),
        "evaluation_seconds": round(tally.evaluation_seconds, 3),
        "train_nats": tally.train_nats,
        "validation_nats": tally.best_nats,
        "validation_bpc": tally.best_nats / math.log(2) if tally.best_nats is not None else None,
        "best_step": tally.best_step,
        "parameters": model.parameters,
        "vocabulary": model.vocabulary - 1,  # without the unknown character
        "chars_per_second": round(characters / max(tally.seconds - tally.evaluation_seconds, 1e-9))
        if tally.seconds
        else None,
        "baselines": asdict(baselines) if baselines else None,
        "mix": asdict(mix) if mix else None,
    }


def ending(run: Run) -> str:
    """Why training ended before its budget was used up, in one sentence; empty if it did not."""
    spec, figures = run.spec, summary(run)
    checkpoint = last_checkpoint(run)
    if figures["validation_nats"] is None:
        return ""
    if spec.minutes is None:
        after = f"step {figures['steps']:,}"
    else:
        after = f"{_duration(figures['seconds'])} of {_duration(60 * spec.minutes)}"
    if checkpoint and is_patience_exhausted(spec, Tally.of(checkpoint.progress)):
        reason = f"{spec.patience} evaluations in a row did not improve on step {figures['best_step']:,}"
        return f"Stopped after {after}: {reason} (--patience)"
    left = 60 * (spec.minutes or 0) - figures["seconds"]
    if left >= 1 and spec.epochs is not None and figures["epochs"] >= spec.epochs:
        return f"Stopped after {after}: {spec.epochs:g} passes over the text are done (--epochs sets how many)"
    return ""


def _duration(seconds: float) -> str:
    """Minutes and seconds, such as 2:59."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def verdict(run: Run) -> str:
    """The result in words: compared with an n-gram, PPM and a compressor, and what may improve it.

    Empty before the first evaluation, and if there is nothing to report.
    """
    figures, baselines = summary(run), Baselines.of(run)
    if figures["validation_nats"] is None:
        return ""
    has_stalled = figures["best_step"] < OVERFITTING * figures["steps"]
    facts = Facts(
        nats=figures["validation_nats"],
        baselines=baselines,
        vocabulary=figures["vocabulary"],
        characters=run.training_characters,
        best_step=figures["best_step"],
        steps=figures["steps"],
        has_stalled=has_stalled,
        has_overfitted=has_stalled and _training_loss_fell_after(run, figures["best_step"]),
        has_ended=bool(ending(run)),
        began_with_model=run.origin is not None,
    )
    sentences = [judge(facts)]
    if baselines and (mix := Mix.of(run)) and mix.helps and mix.step == figures["best_step"]:
        sentences.append(f"Mixed with the n-gram (--mix): {mix.nats:.2f}.")
    if baselines and baselines.characters < FEW:
        sentences.append(f"Only {baselines.characters:,} characters were scored, so this is a rough measure.")
    return " ".join(sentences)


def _training_loss_fell_after(run: Run, step: int) -> bool:
    """Whether the training loss kept falling after a step."""
    losses = [(record["step"], record["nats"]) for record in run.metrics() if record["split"] == "train"]
    until = [nats for at, nats in losses if at <= step]
    since = [nats for at, nats in losses if at > step]
    return bool(until and since) and fmean(since[-REPORTS:]) < fmean(until[-REPORTS:])
