"""The training loop: truncated backpropagation through time, the same on every worker.

Every worker holds all parameters, and its own sequences of the batch with their states. Rank 0 has a coordinator, which
reads the text and decides when to evaluate, to save, to go back and to stop; the others learn that by `scatter` and
`broadcast`.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from charlm.arrays import NamedArrays
from charlm.config import TrainSpec
from charlm.corpus.corpus import Corpus
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM
from charlm.nn.stack import State
from charlm.optim.clip import clip_by_global_norm, clip_by_value, global_norm
from charlm.optim.optimizers import Optimizer, make_optimizer
from charlm.parallel.blas import asked_threads, blas_thread_count, blas_threads
from charlm.parallel.local import start
from charlm.parallel.workers import Workers, suitable_threads
from charlm.runs.run import Run
from charlm.training.coordinator import Coordinator
from charlm.training.cost_model import operations
from charlm.training.progress import Progress

WORKER = "charlm.training.worker"  # what other worker processes run


def train_steps(run: Run, corpus: Corpus, workers: Workers | None = None) -> Generator[Progress, None, None]:
    """Train a run from where it stands to the end of its budget, yielding after every update.

    workers: the ranks of an MPI job; by default, processes of this machine, as many as the run's configuration says.
    A run with a checkpoint goes on to the same bits as if it had never stopped. It is saved at every evaluation, at
    least every minute, and when the caller stops iterating (leaving the `for` loop, or `.close()`).

    Raises CorpusError if the corpus is not the run's, DivergenceError if the loss diverges again and again, and
    StorageError if the disk refuses; the last checkpoint stays good in every case.
    """
    spec = run.spec
    run.require(corpus)
    return _locked_steps(run, corpus, spec, workers)


def _locked_steps(
    run: Run, corpus: Corpus, spec: TrainSpec, workers: Workers | None
) -> Generator[Progress, None, None]:
    count = workers.count if workers else spec.workers or 1
    threads = blas_thread_count()
    asked = asked_threads()
    if asked is not None:
        each = max(1, asked // count)
    else:
        each = suitable_threads(threads // count, operations(run.model, spec.batch // count, window=1))
    with run.held(), workers or start(count, each, WORKER) as all_workers, blas_threads(each):
        yield from training_loop(all_workers, Coordinator(run, corpus, spec, all_workers, threads))


def training_loop(workers: Workers, coordinator: Coordinator | None) -> Generator[Progress, None, None]:
    """The loop of one worker; `coordinator` is None on all ranks but 0, and only rank 0 yields."""
    model_spec, spec = workers.broadcast(coordinator.specs if coordinator else None)
    model, params = CharLM(model_spec, spec.precision), NamedArrays(model_spec.shapes, spec.precision)
    grads = NamedArrays(model_spec.shapes, memory=workers.memory(model_spec.parameters, spec.precision))
    optimizer = make_optimizer(spec.optimizer, params, momentum=spec.momentum, weight_decay=spec.weight_decay)
    state = _restored_state(workers, coordinator, model, params, optimizer)

    while window := workers.scatter(coordinator.next_windows() if coordinator else None):
        if window.starts_epoch:
            state = model.zero_state(window.inputs.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # the coordinator finds divergence
            logits, state, tape = model.forward(params, window.inputs, state, masks=window.masks, begins=window.begins)
            nats, dlogits = cross_entropy(logits, window.targets)
            model.backward(params, tape, dlogits, grads)
            nats = workers.average(grads.flat, nats, window.weight)
            if spec.loss_reduction == "sum":
                grads.flat *= spec.window * spec.batch
            norm = _clip(grads, spec)
            optimizer.update(params, grads, window.learning_rate)

        decision = workers.broadcast(coordinator.after_update(nats, norm) if coordinator else None)
        if decision.roll_back:
            state = _restored_state(workers, coordinator, model, params, optimizer)
        if decision.save:
            states = workers.gather(state)
            if coordinator:
                coordinator.save(states)
        if coordinator and not decision.roll_back:
            try:
                yield coordinator.progress()
            except GeneratorExit:  # the caller stops: leave the loop as at the end of the budget
                coordinator.stop()

    states = workers.gather(state)
    if coordinator and coordinator.has_unsaved_steps:
        coordinator.save(states)


def _restored_state(
    workers: Workers, coordinator: Coordinator | None, model: CharLM, params: NamedArrays, optimizer: Optimizer
) -> State:
    """Give every worker the parameters and the optimizer's memory of a run, and the states of its own sequences."""
    states = coordinator.restore(model, params, optimizer) if coordinator else None
    flat, memory = workers.broadcast((params.flat, optimizer.memory) if coordinator else None)
    if not coordinator:
        params.flat[...] = flat
        for name, array in optimizer.memory.items():
            array[...] = memory[name]
    return workers.scatter(states)


def _clip(grads: NamedArrays, spec: TrainSpec) -> float:
    """Clip by value, then by norm, as far as they are set; returns the global norm between the two."""
    if spec.clip_value is not None:
        clip_by_value(grads, spec.clip_value)
    if spec.clip_norm is None:
        return global_norm(grads)
    return clip_by_global_norm(grads, spec.clip_norm)
