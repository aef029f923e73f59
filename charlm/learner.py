"""Learn: one update of a network, by one worker or by several that share the streams.

Every worker holds all the parameters and some of the B streams. At every update each takes its own streams forward
and back; then their gradients are averaged, and all make the same step from the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.nn.arrays import Floats, Ids, NamedArrays
from charlm.nn.loss import cross_entropy
from charlm.nn.model import CharLM, ModelSpec
from charlm.nn.stack import STREAMS, Masks, State
from charlm.optim.clip import clip_by_global_norm, clip_by_value, global_norm
from charlm.optim.optimizers import make_optimizer
from charlm.parallel.workers import Workers


@dataclass(frozen=True)
class Rule:
    """How a gradient becomes a step: fields of TrainSpec that every worker needs."""

    optimizer: str
    momentum: float | None
    weight_decay: float | None
    clip_norm: float | None
    clip_value: float | None


class Learner:
    """One worker's network, with its share of the batch: 1 for a worker alone."""

    def __init__(self, model: ModelSpec, rule: Rule, workers: Workers, share: float) -> None:
        self.model = CharLM(model)
        self.params = NamedArrays(model.shapes)
        self.grads = NamedArrays(model.shapes, memory=workers.memory(model.parameters))
        self.optimizer = make_optimizer(
            rule.optimizer, self.params, momentum=rule.momentum, weight_decay=rule.weight_decay
        )
        self.state: State = ()
        self._rule = rule
        self._workers = workers
        self._share = share

    def learn(
        self, inputs: Ids, targets: Ids, masks: Masks | None, from_zero: bool, learning_rate: float
    ) -> tuple[float, float]:
        """One update from this worker's streams and those of all others.

        inputs, targets: ids (T, own B). from_zero: start from a zero state, not from where the last window ended.
        Returns the mean loss in nats per character, over all streams, and the norm of the gradient before clipping.
        """
        state = self.model.zero_state(inputs.shape[1]) if from_zero else self.state
        with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is seen and told as divergence
            logits, self.state, tape = self.model.forward(self.params, inputs, state, masks=masks)
            nats, dlogits = cross_entropy(logits, targets)
            self.model.backward(self.params, tape, dlogits, self.grads)
            nats = self._workers.average(self.grads.flat, nats, self._share)
            norm = self._clip()
            self.optimizer.update(self.params, self.grads, learning_rate)
        return nats, norm

    def set(self, params: Floats, memory: Mapping[str, Floats], state: State) -> None:
        """Take over params (N,), flat, and the optimizer's memory; and the state of this worker's streams."""
        self.params.flat[...] = params
        for name, array in self.optimizer.memory.items():
            array[...] = memory[name]
        self.state = state

    def _clip(self) -> float:
        """Clip by value, then by norm, as the rule says; returns the global norm between the two."""
        if self._rule.clip_value is not None:
            clip_by_value(self.grads, self._rule.clip_value)
        if self._rule.clip_norm is None:
            return global_norm(self.grads)
        return clip_by_global_norm(self.grads, self._rule.clip_norm)


class Team:
    """All workers as one: they learn from B streams, and the first one tells the others how.

    params, optimizer, memory: of the first worker; those of the others are the same at every update.
    """

    def __init__(self, model: ModelSpec, rule: Rule, batch: int, workers: Workers) -> None:
        self._workers = workers
        self._shares = workers.shares(batch)
        weights = [(share.stop - share.start) / batch for share in self._shares]
        workers.tell([("join", model, rule, weight) for weight in weights[1:]])
        self._own = Learner(model, rule, workers, weights[0])
        self.model, self.params = self._own.model, self._own.params
        self.optimizer, self.memory = self._own.optimizer, self._own.optimizer.memory

    def begin(self, state: State) -> None:
        """Go on from `params` and `memory` as they are now, and from this state of all B streams."""
        own, *others = [tuple(layer[..., share, :] for layer in state) for share in self._shares]
        self._workers.tell([("set", self.params.flat, self.memory, other) for other in others])
        self._own.state = own

    def learn(
        self, inputs: Ids, targets: Ids, masks: Masks | None, from_zero: bool, learning_rate: float
    ) -> tuple[float, float]:
        """One update from all B streams: as Learner.learn."""
        own, *others = [
            (inputs[:, share], targets[:, share], masks and tuple(mask[share] for mask in masks))
            for share in self._shares
        ]
        self._workers.tell([("learn", *other, from_zero, learning_rate) for other in others])
        return self._own.learn(*own, from_zero, learning_rate)

    @property
    def state(self) -> State:
        """The state of all B streams, gathered from all workers."""
        self._workers.tell([("hand in",)] * (len(self._shares) - 1))
        parts = self._workers.gather(self._own.state)
        return tuple(np.concatenate(layers, axis=STREAMS) for layers in zip(*parts, strict=True))


def follow(workers: Workers) -> None:
    """What every worker but the first does: as it is told, to the end."""
    learner: Any = None
    for order, *details in workers.orders():
        match order:
            case "join":
                model, rule, share = details
                learner = Learner(model, rule, workers, share)
            case "set":
                learner.set(*details)
            case "learn":
                learner.learn(*details)
            case "hand in":
                workers.gather(learner.state)
