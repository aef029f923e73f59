"""Fit: how a run's network and its n-gram are best mixed, found on its validation part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from charlm import lanes
from charlm.baselines import measure_ngram
from charlm.errors import CharlmError, RunError, in_short
from charlm.mixing import Mixture, fit_weight
from charlm.ngram import NGram
from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.model import CharLM
from charlm.plan import split, train_spec
from charlm.store.checkpoint import Checkpoint, load_checkpoint
from charlm.store.corpus import Corpus
from charlm.store.counts import REMEDY, load_ngram
from charlm.store.run import Run
from charlm.store.strict_json import MOST_NUMBER

WORTH = 0.002  # nats per character that mixing must gain; below it the network stays alone


@dataclass(frozen=True)
class Mix:
    """What mixing comes to on the validation part, in nats per character, and the weight of the network in it."""

    step: int  # of the checkpoint that it was fitted with
    weight: float  # 0 to 1; 1 is the network alone
    nats: float  # of both
    network_nats: float  # of the network alone
    ngram_nats: float

    @property
    def helps(self) -> bool:
        """Whether both are better than the network alone, by an amount worth it."""
        return self.network_nats - self.nats >= WORTH

    @classmethod
    def of(cls, run: Run) -> Mix | None:
        """The one that was fitted for a run; None before. Raises RunError where the file holds something else."""
        figures = run.figures("mix")
        if figures is None:
            return None
        if figures.keys() == {field.name for field in fields(cls)} and _are_figures(figures):
            return cls(**figures)
        raise RunError(f"{run.figures_path('mix')} does not hold a mixture ({in_short(figures)}): {REMEDY}")


def fit_mix(run: Run, corpus: Corpus) -> Mix:
    """The mixture for a run's best checkpoint: the one that is kept with it, or else fitted now, and kept.

    Raises RunError, CheckpointError or StorageError.
    """
    best = load_checkpoint(run.best_path)
    kept = Mix.of(run)
    if kept is not None and kept.step == best.step:
        return kept
    mix = _fitted(best, load_ngram(run.ngram_path, best.spec.vocabulary), *_validation(run, corpus))
    with run.held():
        run.save_figures("mix", asdict(mix))
    return mix


def mixture_for(run: Run, checkpoint: Checkpoint) -> tuple[Mixture, Mix]:
    """The mixture for a checkpoint of a run, and what it comes to.

    What is kept with the run for this checkpoint, else what its text gives now, else, without the text, what is kept
    for another one. Raises RunError where there is nothing, or where the files are not in order.
    """
    mix, V = Mix.of(run), checkpoint.spec.vocabulary
    kept = mix is not None and run.ngram_path.exists()
    if mix is not None and kept and mix.step == checkpoint.step:
        return Mixture(load_ngram(run.ngram_path, V), mix.weight), mix
    try:
        corpus = run.corpus()
    except CharlmError as error:
        if mix is not None and kept:
            return Mixture(load_ngram(run.ngram_path, V), mix.weight), mix
        raise RunError(
            f"{run.path} has no weight to mix by yet, and its text is not at hand ({error}); "
            f"charlm train --resume {run.path} fits one"
        ) from None
    ngram = load_ngram(run.ngram_path, V) if run.ngram_path.exists() else measure_ngram(run, corpus)[0]
    mix = _fitted(checkpoint, ngram, *_validation(run, corpus))
    return Mixture(ngram, mix.weight), mix


def _validation(run: Run, corpus: Corpus) -> tuple[Ids, int]:
    spec = train_spec(run)
    return split(corpus.ids, spec.val_fraction, spec.val_limit)[1], corpus.vocabulary.start


def _fitted(checkpoint: Checkpoint, ngram: NGram, ids: Ids, start: int) -> Mix:
    network, counted = _network_nats(checkpoint, ids, start), ngram.nats(ids, [start])
    weight = fit_weight(network, counted)
    nats = Mixture(ngram, weight).nats(network, counted)
    means = (float(each.mean()) for each in (nats, network, counted))
    return Mix(checkpoint.step, weight, *means)


def _network_nats(checkpoint: Checkpoint, ids: Ids, start: int) -> Floats:
    params = NamedArrays(checkpoint.spec.shapes)
    params.copy_from(checkpoint.params)
    blocks = (ids[at : at + lanes.BLOCK] for at in range(0, len(ids), lanes.BLOCK))
    return np.concatenate(list(lanes.surprisal(CharLM(checkpoint.spec), params, blocks, start)))


def _are_figures(figures: dict[str, Any]) -> bool:
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST_NUMBER
        for value in figures.values()
    )
    return numbers and isinstance(figures["step"], int) and figures["weight"] <= 1
