"""The whole life of a run in one call: baselines, training, mixture weight."""

from __future__ import annotations

from collections.abc import Generator

from charlm.corpus.corpus import Corpus
from charlm.errors import SpecError
from charlm.parallel.workers import Workers
from charlm.predict.run_mixture import fit_mix, require_mixture_files
from charlm.runs.run import Run
from charlm.training.baselines import measure_baselines
from charlm.training.loop import train_steps
from charlm.training.progress import Progress


def train(run: Run, corpus: Corpus, workers: Workers | None = None) -> Generator[Progress, None, None]:
    """Train a run to the end of its budget, yielding after every update, as `charlm train` does.

    First an n-gram, PPM and compressors are measured on the text (`measure_baselines`), then the network is trained
    (`charlm.training.loop.train_steps`, which see), and at the end of the budget the weight is found with which the
    network and the n-gram predict best together (`fit_mix`). A caller who stops iterating ends training: the run is
    saved, and goes on the next time it is trained.

    workers: the ranks of an MPI job, of which rank 0 calls this, and the others `take_part`; by default, processes of
    this machine, as many as the run's configuration says.

    Raises CorpusError, RunError, DivergenceError, WorkerError or StorageError; the last checkpoint stays good. A corpus
    or a configuration that does not fit is refused at once, before the first iteration; SpecError on another rank.
    """
    if workers and workers.rank:
        raise SpecError(f"this is rank {workers.rank} of {workers.count}: only rank 0 trains, the others take_part")
    return _life(run, corpus, train_steps(run, corpus, workers))


def _life(run: Run, corpus: Corpus, steps: Generator[Progress, None, None]) -> Generator[Progress, None, None]:
    measure_baselines(run, corpus)
    require_mixture_files(run)
    yield from steps
    if run.best_path.exists():
        fit_mix(run, corpus)
