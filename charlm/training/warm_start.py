"""Warm start: a new run on a new text that begins with a trained model.

The vocabulary becomes that of both texts, in the order of code points, and the parameters of a character move with it:
its row of the embedding, or of the first layer's W if input is one-hot, its column of the read-out and its bias.
A new character begins with the mean of all known ones. Its probability is then the geometric mean of theirs, and the
odds of the known ones stay. No random numbers are needed: equal rows soon differ, because their gradients do.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import NamedArrays
from charlm.config import TrainSpec
from charlm.corpus.corpus import Corpus, read_corpus
from charlm.corpus.reader import STANDARD_INPUT
from charlm.errors import CharlmError, CorpusError
from charlm.nn.model import CharLM
from charlm.optim.optimizers import make_optimizer
from charlm.predict.network import Network
from charlm.runs.checkpoint import Checkpoint, load_checkpoint, sha256_of
from charlm.runs.config import file_names, how_read
from charlm.runs.find import containing_run
from charlm.runs.run import Run
from charlm.scoring.score import score_ids
from charlm.text.joined import Records
from charlm.text.vocabulary import Vocabulary
from charlm.trained_model import TrainedModel
from charlm.training.auto_config import choose
from charlm.training.new_run import configuration, run_path
from charlm.training.progress import MetricsLog, Tally


@dataclass(frozen=True)
class Forgetting:
    """Validation losses, in nats per character, of a run that began with a model: at its beginning and at its best.

    new: on the run's own text. old: on the text that the model was trained on; None if that text is not available,
    and `reason` says why.
    """

    new_before: float
    new_after: float | None
    old_before: float | None
    old_after: float | None
    reason: str = ""


def new_run_from(
    old: TrainedModel, corpus: Corpus, out: str | Path | None = None, spec: TrainSpec | None = None
) -> Run:
    """Make a run directory for a corpus that begins with a trained model's network instead of a new one.

    old: of `load`. corpus: read with `read_corpus(..., known=old.vocabulary.characters)`. out, spec: as in `new_run`.
    The sizes of the network are the model's; the optimizer begins from zero. Raises CorpusError, SpecError, RunError or
    StorageError.
    """
    if not set(old.vocabulary.characters) <= set(corpus.vocabulary.characters):
        raise CorpusError(
            "the model knows characters that the corpus has no ids for: "
            "read the text with read_corpus(..., known=model.vocabulary.characters)"
        )
    model = replace(old.spec, vocabulary=len(corpus.vocabulary) + 1)
    sizes = {name: value for name, value in asdict(old.spec).items() if name != "vocabulary"}
    config = configuration(corpus, model, spec or choose(corpus, **sizes).training)
    spec = TrainSpec(**config["training"])
    params = NamedArrays(model.shapes, spec.precision)
    params.copy_from(carried_params(old, corpus.vocabulary))
    network = Network(CharLM(model, spec.precision), params, corpus.vocabulary.start)
    nats = score_ids(network, corpus.split(spec)[1]).nats_per_char
    tally = Tally(validation_nats=nats, best_nats=nats, best_step=0)
    first = Checkpoint(
        spec=model,
        vocabulary=corpus.vocabulary,
        params=params,
        memory=make_optimizer(spec.optimizer, params, momentum=spec.momentum, weight_decay=spec.weight_decay).memory,
        state=CharLM(model, spec.precision).zero_state(spec.batch),
        progress=asdict(tally),
    )
    old_corpus = _corpus_of(old.path)
    config["origin"] = {
        "checkpoint": os.path.abspath(old.path),
        "sha256": sha256_of(old.path),
        "step": old.progress.get("step", 0),
        "vocabulary": old.vocabulary.characters,
        "validation_nats": nats,
        "old_validation_nats": _old_nats(old_corpus, first)[0],
        "old_corpus": old_corpus,
    }
    run = Run.create(run_path(corpus, out), config, first)
    MetricsLog(run, tally, spec.window * spec.batch, 1).initial_evaluation()
    return run


def carried_params(old: TrainedModel, vocabulary: Vocabulary) -> NamedArrays:
    """The parameters of a model for a vocabulary that has all its characters and perhaps others, in any order."""
    unknown = old.vocabulary.unknown
    mean = unknown + 1  # the place of an additional row
    sources = old.vocabulary.encode(vocabulary.characters, unknown=True).astype(np.intp)
    sources = np.append(np.where(sources == unknown, mean, sources), unknown)  # (V,): whose row each character gets
    params = NamedArrays(replace(old.spec, vocabulary=len(sources)).shapes)
    axes = old.spec.character_axes
    for name, array in params.items():
        rows = old.params[name]
        if name in axes:
            known = np.take(rows, np.arange(unknown), axes[name])
            rows = np.concatenate((rows, known.mean(axes[name], keepdims=True)), axes[name])
            rows = np.take(rows, sources, axes[name])
        array[...] = rows
    return params


def forgetting(run: Run) -> Forgetting | None:
    """What a run has learned of its text and forgotten of the one before; None for one that began with a new network.

    Reads the old text again, if it is still there and unchanged, and scores its validation part with the best
    checkpoint. Raises RunError or CheckpointError if the run's files are damaged.
    """
    if run.origin is None:
        return None
    best = load_checkpoint(run.best_path)
    after, reason = _old_nats(run.origin.get("old_corpus"), best)
    return Forgetting(
        new_before=run.origin["validation_nats"],
        new_after=Tally.of(best.progress).best_nats,
        old_before=run.origin.get("old_validation_nats"),
        old_after=after,
        reason=reason,
    )


def _corpus_of(checkpoint: Path) -> dict[str, Any] | None:
    """The corpus of the run that a checkpoint lies in, and its split; None for a checkpoint outside of a run."""
    run = containing_run(checkpoint)
    if run is None:
        return None
    spec = run.spec
    return {
        **run.config["corpus"],
        "split": spec.validation,
        "val_fraction": spec.val_fraction,
        "val_limit": spec.val_limit,
    }


def _old_nats(corpus: dict[str, Any] | None, checkpoint: Checkpoint) -> tuple[float | None, str]:
    """The loss of a checkpoint on the validation part of the old text; or None, and why it is not available."""
    if corpus is None:
        return None, "the model was not in a run directory, so its text is not known"
    sources = file_names(corpus["sources"])
    if STANDARD_INPUT in sources:
        return None, "it came from standard input"
    try:
        found = read_corpus(sources, **how_read(corpus))
        spec = TrainSpec(
            validation=corpus.get("split", TrainSpec.validation),
            val_fraction=corpus["val_fraction"],
            val_limit=corpus["val_limit"],
        )
        _, ids = found.split(spec)
    except CharlmError as error:
        return None, str(error)
    if found.sha256 != corpus["sha256"]:
        return None, f"{', '.join(sources)} holds another text now"
    known = checkpoint.vocabulary
    table = np.append(known.encode(found.vocabulary.characters, unknown=True), known.unknown)
    read = ids.mapped(table) if isinstance(ids, Records) else table[ids[:]]
    return score_ids(Network.of(checkpoint), read).nats_per_char, ""
