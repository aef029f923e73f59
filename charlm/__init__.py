"""charlm: a character-level language model you train on your own text, on your own computer, in minutes.

    corpus = charlm.read_corpus("corpora/lanterns.txt")
    run = charlm.new_run(corpus, "checkpoints/lanterns")
    for progress in charlm.train(run, corpus):
        ...
    model = charlm.load("checkpoints/lanterns")
    print("".join(model.sample("T", length=200)))

The words used throughout:

    corpus        the text, and its ids on disk
    vocabulary    the frozen, ordered characters of a model; `encode`, `decode`
    window        inputs (T, B) and targets (T, B): T time steps of B parallel streams
    cell          one recurrent layer over a window
    state         what is carried from window to window: per layer (B, H)
    tape          what forward leaves behind for backward; only its own cell looks inside
    params, grads named arrays, same names and shapes, views of one flat float32 buffer each
    run           one directory under checkpoints/: config, metrics, checkpoints, plot
    checkpoint    everything that an exact resume needs, in one file
    score         nats or bits of given text

and letters: T time, B batch (streams), D input size, H hidden size, V vocabulary size, L layers. Arrays are
time-major (T, B, ...). Losses are in nats per character; bits per character (bpc) are nats / ln 2.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from charlm.version import __version__

if TYPE_CHECKING:
    from charlm.baselines import Baselines as Baselines
    from charlm.baselines import measure_baselines as measure_baselines
    from charlm.errors import CharlmError as CharlmError
    from charlm.errors import CorpusError as CorpusError
    from charlm.errors import UnknownCharacterError as UnknownCharacterError
    from charlm.fitting import Mix as Mix
    from charlm.fitting import fit_mix as fit_mix
    from charlm.inspecting import MOST_UNITS as MOST_UNITS
    from charlm.inspecting import SHOWN_UNITS as SHOWN_UNITS
    from charlm.inspecting import Inspection as Inspection
    from charlm.journal import Progress as Progress
    from charlm.learner import follow as follow
    from charlm.listing import RESETS_OF_STATE as RESETS_OF_STATE
    from charlm.listing import UNITS as UNITS
    from charlm.listing import Entry as Entry
    from charlm.listing import entries as entries
    from charlm.nn.model import CharLM as CharLM
    from charlm.nn.model import ModelSpec as ModelSpec
    from charlm.nn.stack import ACTIVATIONS as ACTIVATIONS
    from charlm.nn.stack import CELLS as CELLS
    from charlm.nn.stack import RESETS as RESETS
    from charlm.novelty import SPAN as SPAN
    from charlm.novelty import Novelty as Novelty
    from charlm.novelty import TrainingText as TrainingText
    from charlm.optim.optimizers import OPTIMIZERS as OPTIMIZERS
    from charlm.optim.schedules import SHAPES as SHAPES
    from charlm.pages.inspection import InspectionFile as InspectionFile
    from charlm.pages.surprisal import SurprisalPage as SurprisalPage
    from charlm.parallel.blas import blas_threads as blas_threads
    from charlm.parallel.mpi import mpi_workers as mpi_workers
    from charlm.parallel.workers import Workers as Workers
    from charlm.plan import MINUTES as MINUTES
    from charlm.plan import TrainSpec as TrainSpec
    from charlm.plan import model_spec as model_spec
    from charlm.plan import train_spec as train_spec
    from charlm.plotting.loss import plot as plot
    from charlm.plotting.terminal import ASCII as ASCII
    from charlm.plotting.terminal import BLOCKS as BLOCKS
    from charlm.plotting.terminal import COLUMNS as COLUMNS
    from charlm.plotting.terminal import terminal_curve as terminal_curve
    from charlm.plotting.units import plot_units as plot_units
    from charlm.recipe import PATIENCE as PATIENCE
    from charlm.recipe import PRESETS as PRESETS
    from charlm.recipe import Recipe as Recipe
    from charlm.recipe import choose as choose
    from charlm.recipe import in_words as in_words
    from charlm.sampling import SampleSpec as SampleSpec
    from charlm.scoring import Score as Score
    from charlm.standing import ending as ending
    from charlm.standing import summary as summary
    from charlm.standing import verdict as verdict
    from charlm.starting import change_budget as change_budget
    from charlm.starting import change_workers as change_workers
    from charlm.starting import new_run as new_run
    from charlm.starting import resume_notes as resume_notes
    from charlm.store.corpus import Corpus as Corpus
    from charlm.store.corpus import read_corpus as read_corpus
    from charlm.store.reading import Text as Text
    from charlm.store.reading import clean_up_notes as clean_up_notes
    from charlm.store.reading import read_texts as read_texts
    from charlm.store.run import Run as Run
    from charlm.store.run import is_run as is_run
    from charlm.store.run import newest_run as newest_run
    from charlm.text.unseen import Unseen as Unseen
    from charlm.text.vocabulary import Vocabulary as Vocabulary
    from charlm.trained import TrainedModel as TrainedModel
    from charlm.trained import load as load
    from charlm.training import train as train
    from charlm.warm import Forgetting as Forgetting
    from charlm.warm import forgetting as forgetting
    from charlm.warm import new_run_from as new_run_from

_ROOMS = {
    "Baselines": "baselines",
    "measure_baselines": "baselines",
    "CharlmError": "errors",
    "CorpusError": "errors",
    "UnknownCharacterError": "errors",
    "Mix": "fitting",
    "fit_mix": "fitting",
    "MOST_UNITS": "inspecting",
    "SHOWN_UNITS": "inspecting",
    "Inspection": "inspecting",
    "Progress": "journal",
    "follow": "learner",
    "RESETS_OF_STATE": "listing",
    "UNITS": "listing",
    "Entry": "listing",
    "entries": "listing",
    "CharLM": "nn.model",
    "ModelSpec": "nn.model",
    "ACTIVATIONS": "nn.stack",
    "CELLS": "nn.stack",
    "RESETS": "nn.stack",
    "SPAN": "novelty",
    "Novelty": "novelty",
    "TrainingText": "novelty",
    "OPTIMIZERS": "optim.optimizers",
    "SHAPES": "optim.schedules",
    "InspectionFile": "pages.inspection",
    "SurprisalPage": "pages.surprisal",
    "blas_threads": "parallel.blas",
    "mpi_workers": "parallel.mpi",
    "Workers": "parallel.workers",
    "plot": "plotting.loss",
    "ASCII": "plotting.terminal",
    "BLOCKS": "plotting.terminal",
    "COLUMNS": "plotting.terminal",
    "terminal_curve": "plotting.terminal",
    "plot_units": "plotting.units",
    "PATIENCE": "recipe",
    "PRESETS": "recipe",
    "Recipe": "recipe",
    "choose": "recipe",
    "in_words": "recipe",
    "SampleSpec": "sampling",
    "Score": "scoring",
    "Corpus": "store.corpus",
    "clean_up_notes": "store.reading",
    "read_corpus": "store.corpus",
    "read_texts": "store.reading",
    "Text": "store.reading",
    "Run": "store.run",
    "is_run": "store.run",
    "newest_run": "store.run",
    "ending": "standing",
    "summary": "standing",
    "verdict": "standing",
    "Unseen": "text.unseen",
    "Vocabulary": "text.vocabulary",
    "TrainedModel": "trained",
    "load": "trained",
    "MINUTES": "plan",
    "TrainSpec": "plan",
    "change_budget": "starting",
    "change_workers": "starting",
    "new_run": "starting",
    "resume_notes": "starting",
    "train": "training",
    "model_spec": "plan",
    "train_spec": "plan",
    "Forgetting": "warm",
    "forgetting": "warm",
    "new_run_from": "warm",
}

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str) -> Any:
    """Fetch a public name from its room at first use, so that `import charlm` and `charlm --help` are instant."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'charlm' has no attribute {name!r}")
    value = getattr(import_module(f"charlm.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
