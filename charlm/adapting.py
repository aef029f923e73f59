"""Adapt: score a text while learning from it (dynamic evaluation).

The text is read in short windows. Each is scored first, and then learned from: a small step down its gradient, and
a step of the same kind back to the trained weights, so that what was learned fades when the text moves on.

    p <- p - rate * g + decay * (p0 - p)

Mikolov et al., "Recurrent neural network based language model", 2010; the way back is that of Krause et al.,
"Dynamic evaluation of neural sequence models", 2018, without their scaling by the root mean square of gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from charlm.errors import DivergenceError, SpecError
from charlm.nn.arrays import Floats, NamedArrays
from charlm.nn.loss import cross_entropy, target_nats
from charlm.nn.model import CharLM
from charlm.optim.clip import clip_by_global_norm
from charlm.text.vocabulary import Vocabulary

WINDOW = 20  # characters between two steps
DECAY = 0.002  # share of the way back to the trained weights, per step
MOST_NORM = 1.0  # of a gradient
MOST_RATE = 100


def adapted_surprisal(
    model: CharLM, params: NamedArrays, vocabulary: Vocabulary, pieces: Iterable[str], rate: float
) -> Iterator[Floats]:
    """For every piece of a text, the nats (N,), float64, of its characters, scored before they are learned from.

    rate: of learning; 0 scores as `charlm.scoring.surprisal` does. The params are left as they are.
    Raises SpecError for a rate that makes no sense, DivergenceError for one at which the model explodes.
    """
    if not 0 <= rate <= MOST_RATE:
        raise SpecError(f"the rate of adapting must be a number from 0 to {MOST_RATE} (0.1 is usual), not {rate}")
    model.require_causal()
    now, grads = NamedArrays.like(params), NamedArrays.like(params)
    now.flat[...] = params.flat
    back = np.empty_like(params.flat)
    state, before = model.zero_state(1), vocabulary.start
    for piece in pieces:
        ids = vocabulary.encode(piece, escape=True)
        nats = np.empty(len(ids))
        for at in range(0, len(ids), WINDOW):
            targets = ids[at : at + WINDOW]
            inputs = np.concatenate(([before], targets[:-1]))
            with np.errstate(over="ignore", invalid="ignore"):  # what that leads to is seen and told below
                logits, state, tape = model.forward(now, inputs[:, None], state)
                nats[at : at + WINDOW] = target_nats(logits.copy(), targets[:, None])[:, 0]
            if not np.isfinite(nats[at : at + WINDOW]).all():
                raise DivergenceError(f"at the rate {rate:g} the model exploded while it adapted: use a lower rate")
            before = int(targets[-1])
            if rate:
                _, dlogits = cross_entropy(logits, targets[:, None])
                model.backward(now, tape, dlogits, grads)
                clip_by_global_norm(grads, MOST_NORM)
                np.subtract(params.flat, now.flat, out=back)
                back *= DECAY
                now.flat += back
                grads.flat *= rate
                now.flat -= grads.flat
        nats[ids == vocabulary.escape] += math.log(vocabulary.others)
        yield nats
