"""Softmax cross-entropy and its slope, both means over the T*B predictions of a window."""

from __future__ import annotations

import numpy as np

from charlm.nn.arrays import Floats, Ids


def cross_entropy(logits: Floats, targets: Ids) -> tuple[float, Floats]:
    """Mean nats per character, and the slope with respect to the logits.

    logits: (T, B, V), overwritten: the returned slope is the same memory. targets: ids (T, B).

        nats    = mean over t, b of -log p[t, b, target],   p = softmax(logits)
        dlogits = (p - one_hot(target)) / (T B)

    Because both are means, a learning rate and a clip threshold mean the same at any window size.
    """
    V = logits.shape[-1]
    p = logits.reshape(-1, V)
    chosen = np.arange(len(p)), targets.reshape(-1)

    p -= p.max(axis=1, keepdims=True)
    chosen_logits = p[chosen].astype(np.float64)
    np.exp(p, out=p)
    total = p.sum(axis=1, keepdims=True)
    nats = float(np.mean(np.log(total[:, 0], dtype=np.float64) - chosen_logits))

    p /= total * p.dtype.type(len(p))
    p[chosen] -= p.dtype.type(1 / len(p))
    return nats, logits


def mean_squared_error(outputs: Floats, targets: Floats) -> tuple[float, Floats]:
    """Mean of (output - target)^2 over all elements, and its slope in the outputs, in the same memory as these."""
    outputs -= targets
    loss = float(np.mean(np.square(outputs, dtype=np.float64)))
    outputs *= 2 / outputs.size
    return loss, outputs


def target_nats(logits: Floats, targets: Ids) -> Floats:
    """-log p of every target, in nats, float64 (T, B); logits (T, B, V) are overwritten."""
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(logits, targets[..., None].astype(np.intp), axis=-1)[..., 0].astype(np.float64)
    np.exp(logits, out=logits)
    nats: Floats = np.log(logits.sum(axis=-1, dtype=np.float64)) - chosen
    return nats
