"""Make a new run, with everything resolved in its configuration."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm.config import TrainSpec
from charlm.corpus.corpus import Corpus
from charlm.errors import SpecError
from charlm.nn.model import CharLM, ModelSpec
from charlm.parallel.blas import blas_name, blas_thread_count
from charlm.parallel.workers import suitable_count
from charlm.runs.find import take_free_path
from charlm.runs.run import Run
from charlm.text.batches import fitting_window
from charlm.training.auto_config import choose
from charlm.training.cost_model import operations
from charlm.training.memory import require_memory_for
from charlm.version import __version__


def new_run(
    corpus: Corpus,
    out: str | Path | None = None,
    spec: TrainSpec | None = None,
    **network: Any,
) -> Run:
    """Make a run directory for a corpus.

    out: a directory that does not exist yet; by default `checkpoints/NAME`, numbered if that exists. network: fields
    of ModelSpec (`hidden=128, layers=2`). spec: by default it, and the network's sizes that are not given, are chosen
    for the text (see charlm.training.auto_config). A text that is too short for a whole window gets a smaller one.
    Raises CorpusError, SpecError, RunError or StorageError.
    """
    if spec is None:
        chosen = choose(corpus, **network)
        spec, network = chosen.training, chosen.network
    model = ModelSpec(len(corpus.vocabulary) + 1, **network)  # one id more for the unknown character
    config = configuration(corpus, model, spec)
    return Run.create(run_path(corpus, out), config)


def run_path(corpus: Corpus, out: str | Path | None) -> Path:
    """The directory of a new run: `out`, or one with a free name after the corpus, which is made at once."""
    return Path(out) if out is not None else take_free_path(corpus.name)


def configuration(corpus: Corpus, model: ModelSpec, spec: TrainSpec) -> dict[str, Any]:
    """The config.json of a new run, with everything resolved. Raises CorpusError or SpecError."""
    CharLM(model).require_causal()
    if corpus.held_out is not None and spec.validation != "files":
        raise SpecError(
            f"the corpus was read with another text to validate on, and validation is {spec.validation!r}: set "
            'validation to "files", or leave that text out'
        )
    training_ids, _ = corpus.split(spec)
    window, batch = fitting_window(len(training_ids), spec.window, spec.batch)
    workers = spec.workers or suitable_count(batch, operations(model, batch, window))
    spec = replace(spec.resolved, window=window, batch=batch, workers=workers)
    require_memory_for(model, spec)
    return {
        **surroundings(),
        "python": platform.python_version(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "corpus": {
            "name": corpus.name,
            "sources": list(corpus.sources),
            "sha256": corpus.sha256,
            "characters": len(corpus.ids),
            "training_characters": len(training_ids),
            **_held_out(corpus, spec),
            "glob": list(corpus.glob),
            "encoding": corpus.encoding,
            "duplicates": corpus.duplicates,
        },
        "model": asdict(model),
        "training": asdict(spec),
    }


def _held_out(corpus: Corpus, spec: TrainSpec) -> dict[str, Any]:
    """What identifies the text to validate on, if it is another one."""
    if spec.validation != "files" or corpus.held_out is None:
        return {}
    return {"validation": {"sources": list(corpus.held_out.sources), "sha256": corpus.held_out.sha256}}


def surroundings() -> dict[str, Any]:
    """What the bits of a result depend on, beside the configuration."""
    return {"charlm": __version__, "numpy": np.__version__, "blas": blas_name(), "threads": blas_thread_count()}
