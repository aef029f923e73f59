"""Initialisation of weight matrices."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Floats


def uniform_fan_in(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Floats:
    """Uniform in +-1/sqrt(fan_in), float64: a sum of fan_in such terms is about as large as one input."""
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, shape)


def orthogonal_gates(rng: np.random.Generator, U: Floats) -> None:
    """Fill U (H, G H) with an orthogonal matrix per gate."""
    H = len(U)
    for start in range(0, U.shape[1], H):
        U[:, start : start + H] = orthogonal(rng, H)


def orthogonal(rng: np.random.Generator, size: int) -> Floats:
    """A random orthogonal matrix (H, H), float64, uniform over the orthogonal group.

    It keeps the length of a state, so gradients survive many steps at the start of training (Saxe, McClelland &
    Ganguli 2014). The QR factor of a normal matrix is uniform once its signs are fixed (Mezzadri 2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    signed: Floats = q * np.sign(np.diag(r))
    return signed
