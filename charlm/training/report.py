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
from charlm.training.progress import Tally

OVERFITTING = 0.7  # of the steps; if the best model is from before that, training overfitted or stalled
EQUAL = 0.01  # nats per character; results with a smaller difference count as equal
REPORTS = 5  # training losses that are averaged, to reduce noise
SMALL = 50_000  # characters to train on; with fewer, the n-gram is hard to beat


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
        return f"Stopped after {after}: {reason} (--patience); to continue, --resume with a larger budget"
    left = 60 * (spec.minutes or 0) - figures["seconds"]
    if left >= 1 and spec.epochs is not None and figures["epochs"] >= spec.epochs:
        return f"Stopped after {after}: {spec.epochs:g} passes over the text are done (--epochs)"
    return ""


def _duration(seconds: float) -> str:
    """Minutes and seconds, such as 2:59."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def verdict(run: Run) -> str:
    """The result in words: compared with an n-gram and a compressor, and what may improve it.

    Empty before the first evaluation, and if there is nothing to report.
    """
    figures = summary(run)
    if figures["validation_nats"] is None:
        return ""
    sentences = []
    is_past_best = figures["best_step"] < OVERFITTING * figures["steps"]
    has_overfitted = is_past_best and _training_loss_fell_after(run, figures["best_step"])
    if baselines := Baselines.of(run):
        is_small = run.training_characters < SMALL
        is_done = is_past_best or bool(ending(run))
        sentences.append(_comparison(figures["validation_nats"], baselines, is_small, is_done))
        if (mix := Mix.of(run)) and mix.helps and mix.step == figures["best_step"]:
            sentences.append(f"Mixed with the n-gram (--mix): {mix.nats:.2f}.")
        if baselines.characters < FEW:
            sentences.append(f"Only {baselines.characters:,} characters were scored, so this is a rough measure.")
    if figures["validation_nats"] >= math.log(figures["vocabulary"] + 1):
        sentences.append(
            "That is no better than chance: the text is too short to learn from, or the settings do not suit it."
        )
    elif run.origin and figures["best_step"] == 0 < figures["steps"]:
        sentences.append("No step improved on the initial model: a lower --lr, more time or --dropout may help.")
    elif has_overfitted:
        sentences.append(
            f"After step {figures['best_step']:,} it began to overfit (the best model is kept): more text, "
            "more --dropout, a smaller --hidden or less time will help."
        )
    elif is_past_best:
        sentences.append(
            f"After step {figures['best_step']:,} it did not improve (the best model is kept): a lower --lr may help."
        )
    return " ".join(sentences)


def _training_loss_fell_after(run: Run, step: int) -> bool:
    """Whether the training loss kept falling after a step."""
    losses = [(record["step"], record["nats"]) for record in run.metrics() if record["split"] == "train"]
    until = [nats for at, nats in losses if at <= step]
    since = [nats for at, nats in losses if at > step]
    return bool(until and since) and fmean(since[-REPORTS:]) < fmean(until[-REPORTS:])


def _comparison(nats: float, baselines: Baselines, is_small: bool, is_done: bool) -> str:
    """One sentence: the nats of the network and of the baselines, which is better, and whether more time would help."""
    found = [
        f"{nats:.2f} nats ({nats / math.log(2):.2f} bpc)",
        f"{baselines.ngram_name} {baselines.ngram_nats:.2f}",
        *(f"{name} {others:.2f}" for others, name in filter(None, [baselines.compressed])),
    ]
    if nats < baselines.ngram_nats - EQUAL:
        return f"{'; '.join(found)}: the network does better than the n-gram."
    if nats <= baselines.ngram_nats:
        said = "the network is as good as the n-gram"
    elif nats <= baselines.ngram_nats + EQUAL:
        said = "the n-gram is as good"
    else:
        said = "the n-gram does better on a text this small" if is_small else "the n-gram does better"
    advice = "" if is_small or is_done else "; more time would help"
    return f"{'; '.join(found)}: {said}{advice}."
