"""charlm: a character-level language model you train on your own text, on your own computer, in minutes.

    corpus = charlm.read_corpus("corpora/lanterns.txt")
    run = charlm.new_run(corpus, "checkpoints/lanterns")
    for progress in charlm.train(run, corpus):
        ...
    model = charlm.load("checkpoints/lanterns")
    print("".join(model.sample("T", length=200)))

Words:

    corpus        the text, and its ids on disk
    vocabulary    the frozen, ordered characters of a model; `encode`, `decode`; and `unknown`, one id for all others
    window        inputs (T, B) and targets (T, B): T time steps of B parallel sequences (the batch)
    cell          one recurrent layer over a window
    state         what is carried from window to window: per layer (B, H)
    tape          what forward leaves behind for backward; only its own cell looks inside
    params, grads named arrays, same names and shapes, views of one flat float32 buffer each
    run           one directory under checkpoints/: configuration, metrics, checkpoints, plot
    checkpoint    everything that an exact resume needs, in one file
    predictor     anything that gives the distribution of the next character from what was read
    score         negative log-likelihood of given text, in nats or bits

Letters: T time, B batch, D input size, H hidden size, V vocabulary size, L layers. Arrays are time-major (T, B, ...).
Losses are in nats per character; bits per character (bpc) are nats / ln 2. docs/api.md has every name of this module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from charlm.version import __version__

if TYPE_CHECKING:
    from charlm.analysis.inspection import Inspection as Inspection
    from charlm.analysis.memorisation import Novelty as Novelty
    from charlm.analysis.memorisation import TrainingText as TrainingText
    from charlm.config import TrainSpec as TrainSpec
    from charlm.corpus.corpus import Corpus as Corpus
    from charlm.corpus.corpus import read_corpus as read_corpus
    from charlm.corpus.reader import Text as Text
    from charlm.corpus.reader import clean_up_notes as clean_up_notes
    from charlm.corpus.reader import read_texts as read_texts
    from charlm.errors import CharlmError as CharlmError
    from charlm.nn.gradient_check import gradient_check as gradient_check
    from charlm.nn.model import CharLM as CharLM
    from charlm.nn.model import ModelSpec as ModelSpec
    from charlm.pages.inspection import InspectionFile as InspectionFile
    from charlm.pages.surprisal import SurprisalPage as SurprisalPage
    from charlm.parallel.blas import blas_threads as blas_threads
    from charlm.parallel.mpi import mpi_workers as mpi_workers
    from charlm.parallel.workers import Workers as Workers
    from charlm.plotting.loss import plot as plot
    from charlm.plotting.terminal import terminal_curve as terminal_curve
    from charlm.plotting.units import plot_units as plot_units
    from charlm.predict.run_mixture import fit_mix as fit_mix
    from charlm.runs.config import is_run as is_run
    from charlm.runs.figures import Baselines as Baselines
    from charlm.runs.figures import Mix as Mix
    from charlm.runs.find import newest_run as newest_run
    from charlm.runs.run import Run as Run
    from charlm.sampling.sample import Sample as Sample
    from charlm.sampling.sample import SampleSpec as SampleSpec
    from charlm.sampling.selection import Selection as Selection
    from charlm.scoring.ranking import ranked as ranked
    from charlm.scoring.score import Score as Score
    from charlm.scoring.units import Entry as Entry
    from charlm.scoring.units import entries as entries
    from charlm.text.unknown import Unseen as Unseen
    from charlm.text.vocabulary import Vocabulary as Vocabulary
    from charlm.trained_model import TrainedModel as TrainedModel
    from charlm.trained_model import load as load
    from charlm.training.auto_config import Recipe as Recipe
    from charlm.training.auto_config import choose as choose
    from charlm.training.auto_config import in_words as in_words
    from charlm.training.baselines import measure_baselines as measure_baselines
    from charlm.training.new_run import new_run as new_run
    from charlm.training.progress import Progress as Progress
    from charlm.training.report import ending as ending
    from charlm.training.report import summary as summary
    from charlm.training.report import verdict as verdict
    from charlm.training.resume import change_budget as change_budget
    from charlm.training.resume import change_workers as change_workers
    from charlm.training.resume import resume_notes as resume_notes
    from charlm.training.train import train as train
    from charlm.training.warm_start import Forgetting as Forgetting
    from charlm.training.warm_start import forgetting as forgetting
    from charlm.training.warm_start import new_run_from as new_run_from
    from charlm.training.worker import take_part as take_part

_HOMES = {
    "Inspection": "analysis.inspection",
    "Novelty": "analysis.memorisation",
    "TrainingText": "analysis.memorisation",
    "TrainSpec": "config",
    "Corpus": "corpus.corpus",
    "read_corpus": "corpus.corpus",
    "Text": "corpus.reader",
    "clean_up_notes": "corpus.reader",
    "read_texts": "corpus.reader",
    "CharlmError": "errors",
    "gradient_check": "nn.gradient_check",
    "CharLM": "nn.model",
    "ModelSpec": "nn.model",
    "InspectionFile": "pages.inspection",
    "SurprisalPage": "pages.surprisal",
    "blas_threads": "parallel.blas",
    "mpi_workers": "parallel.mpi",
    "Workers": "parallel.workers",
    "plot": "plotting.loss",
    "terminal_curve": "plotting.terminal",
    "plot_units": "plotting.units",
    "fit_mix": "predict.run_mixture",
    "Baselines": "runs.figures",
    "Mix": "runs.figures",
    "is_run": "runs.config",
    "newest_run": "runs.find",
    "Run": "runs.run",
    "Sample": "sampling.sample",
    "SampleSpec": "sampling.sample",
    "Selection": "sampling.selection",
    "ranked": "scoring.ranking",
    "Score": "scoring.score",
    "Entry": "scoring.units",
    "entries": "scoring.units",
    "Unseen": "text.unknown",
    "Vocabulary": "text.vocabulary",
    "TrainedModel": "trained_model",
    "load": "trained_model",
    "Recipe": "training.auto_config",
    "choose": "training.auto_config",
    "in_words": "training.auto_config",
    "measure_baselines": "training.baselines",
    "new_run": "training.new_run",
    "Progress": "training.progress",
    "ending": "training.report",
    "summary": "training.report",
    "verdict": "training.report",
    "change_budget": "training.resume",
    "change_workers": "training.resume",
    "resume_notes": "training.resume",
    "train": "training.train",
    "Forgetting": "training.warm_start",
    "forgetting": "training.warm_start",
    "new_run_from": "training.warm_start",
    "take_part": "training.worker",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import charlm` and `charlm --help` are instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'charlm' has no attribute {name!r}")
    value = getattr(import_module(f"charlm.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
