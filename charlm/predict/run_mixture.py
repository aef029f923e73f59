"""The n-gram of a run, and the weight with which its network and its n-gram predict the validation part best."""

from __future__ import annotations

import numpy as np

from charlm.corpus.corpus import Corpus
from charlm.errors import CharlmError, RunError, in_shell
from charlm.predict.mixture import best_weight, mixed_nats
from charlm.predict.network import Network
from charlm.predict.ngram import NGram, best_ngram
from charlm.predict.ngram_file import load_ngram
from charlm.predict.predictor import nats_of
from charlm.runs.checkpoint import Checkpoint, load_checkpoint
from charlm.runs.figures import Mix
from charlm.runs.run import Run
from charlm.text.joined import IdsLike, Records

MOST_TRIED = 2**20  # characters of the validation part on which orders are compared


def measure_ngram(run: Run, corpus: Corpus) -> tuple[NGram, IdsLike]:
    """The n-gram of a run's training part, of the order that is best on its validation part; and the ids of that."""
    training_ids, validation_ids = corpus.split(run.spec)
    V, start = len(corpus.vocabulary) + 1, corpus.vocabulary.start
    tried = validation_ids if isinstance(validation_ids, Records) else validation_ids[:MOST_TRIED]
    return best_ngram(training_ids, V, tried, start), validation_ids


def fit_mix(run: Run, corpus: Corpus) -> Mix:
    """The mixture for a run's best checkpoint: read from the run, or fitted and written there.

    Raises RunError, CheckpointError or StorageError.
    """
    best = load_checkpoint(run.best_path)
    kept = Mix.of(run)
    if kept is not None and kept.step == best.step:
        return kept
    ngram = load_ngram(run.ngram_path, best.spec.vocabulary, best.vocabulary.start)
    mix = _fit(best, ngram, corpus.split(run.spec)[1])
    with run.held():
        mix.save(run)
    return mix


def require_mixture_files(run: Run) -> None:
    """Raise RunError if the n-gram or the mixture of a run is damaged: before training, not after it."""
    Mix.of(run)
    if run.ngram_path.exists():
        load_ngram(run.ngram_path, run.model.vocabulary, 0)


def mixture_for(run: Run, checkpoint: Checkpoint) -> tuple[NGram, Mix]:
    """The n-gram and the mixture for a checkpoint of a run.

    The weight is the one that was fitted with this checkpoint; or it is fitted now, if the text can be read; or it is
    that of another checkpoint. Raises RunError if there is none, or if a file of the run is damaged.
    """
    mix = Mix.of(run)
    V, start = checkpoint.spec.vocabulary, checkpoint.vocabulary.start
    ngram = load_ngram(run.ngram_path, V, start) if run.ngram_path.exists() else None
    if ngram and mix and mix.step == checkpoint.step:
        return ngram, mix
    try:
        corpus = run.corpus()
    except CharlmError as error:
        if ngram and mix:
            return ngram, mix
        missing = run.ngram_path.name if mix else "weight for its n-gram"
        raise RunError(
            f"{run.path} has no {missing} yet, and its text cannot be read ({error}); "
            f"charlm train --resume {in_shell(run.path)} makes it"
        ) from None
    ngram = ngram or measure_ngram(run, corpus)[0]
    return ngram, _fit(checkpoint, ngram, corpus.split(run.spec)[1])


def _fit(checkpoint: Checkpoint, ngram: NGram, ids: IdsLike) -> Mix:
    network, counted = (np.concatenate(list(nats_of(one, ids))) for one in (Network.of(checkpoint), ngram))
    weight = best_weight(network, counted)
    means = (float(each.mean()) for each in (mixed_nats(network, counted, weight), network, counted))
    return Mix(checkpoint.step, weight, *means)
