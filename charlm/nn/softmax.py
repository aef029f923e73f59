"""Stable softmax: the largest logit of every row is subtracted first, so that no exponential overflows.

log p = a - max(a) - log(sum(exp(a - max(a))))        a: logits, along the last axis
"""

from __future__ import annotations

import numpy as np

from charlm.arrays import Floats, Ids


def shifted(logits: Floats) -> Floats:
    """Subtract the largest logit of every row (..., V), in place; returns `logits`."""
    if logits.size == logits.shape[-1]:  # one row: argmax and a number take a quarter of the time
        logits -= logits.item(logits.argmax())
    else:
        logits -= np.maximum.reduce(logits, axis=-1, keepdims=True)
    return logits


def log_softmax(logits: Floats) -> Floats:
    """The log-probabilities (..., V) of logits (..., V): a new array in float64."""
    log_p = shifted(logits.astype(np.float64))
    log_p -= np.log(np.exp(log_p).sum(axis=-1, keepdims=True))
    return log_p


def target_nats(logits: Floats, targets: Ids) -> Floats:
    """-log p of every target, in nats, float64 (T, B); logits (T, B, V) are overwritten, targets: ids (T, B)."""
    shifted(logits)
    at_target = np.take_along_axis(logits, targets[..., None].astype(np.intp), axis=-1)[..., 0].astype(np.float64)
    np.exp(logits, out=logits)
    nats: Floats = np.log(logits.sum(axis=-1, dtype=np.float64)) - at_target
    return nats
