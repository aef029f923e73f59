"""Losses with their gradients in the outputs, both means over the predictions of a window."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Floats, Ids
from charlm.nn.softmax import shifted


def cross_entropy(logits: Floats, targets: Ids) -> tuple[float, Floats]:
    """Mean nats per character, and the gradient in the logits.

    logits: (T, B, V), overwritten: the returned gradient is the same memory. targets: ids (T, B).

        nats    = mean over t, b of -log p[t, b, target],   p = softmax(logits)
        dlogits = (p - one_hot(target)) / (T B)

    Because both are means, a learning rate and a clip threshold mean the same at any window size.
    """
    p = shifted(logits.reshape(-1, logits.shape[-1]))
    target = np.arange(len(p)), targets.reshape(-1)
    target_logits = p[target].astype(np.float64)
    np.exp(p, out=p)
    total = p.sum(axis=1, keepdims=True)
    nats = float(np.mean(np.log(total[:, 0], dtype=np.float64) - target_logits))

    p /= total * p.dtype.type(len(p))
    p[target] -= p.dtype.type(1 / len(p))
    return nats, logits


def mean_squared_error(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    """Mean of (output - target)^2 over all elements, and its gradient in the outputs, which are overwritten by it."""
    outputs -= targets
    loss = float(np.mean(np.square(outputs, dtype=np.float64)))
    outputs *= 2 / outputs.size
    return loss, outputs
