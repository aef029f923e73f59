"""Pearson's correlation of features with hidden units, whose values arrive in pieces."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Floats

ROUNDING = 1e-12  # a variance below this share of the mean square is rounding


class Correlation:
    """Pearson's r of features (F, N) with units whose values arrive in pieces, (n, U) at a time.

        r = mean((f - mean f) * u) / (std f * std u)

    Only sums are kept. r is 0 if the feature or the unit is constant.
    """

    def __init__(self, features: Floats) -> None:
        features = features.astype(np.float64)
        centred = features - features.mean(axis=1, keepdims=True)
        deviation = _standard_deviation(np.mean(centred**2, axis=1), np.mean(features**2, axis=1))
        self._scaled = np.divide(centred, deviation[:, None], out=centred, where=deviation[:, None] > 0)
        self._scaled[deviation == 0] = 0
        self._read = 0
        self._products: Floats = np.zeros(0)
        self._sum: Floats = np.zeros(0)
        self._squares: Floats = np.zeros(0)

    def add(self, values: Floats) -> None:
        """Add the values of all units, (n, U), at the next n characters."""
        if not self._read:
            F, U = len(self._scaled), values.shape[1]
            self._products, self._sum, self._squares = np.zeros((F, U)), np.zeros(U), np.zeros(U)
        values = values.astype(np.float64)
        self._products += self._scaled[:, self._read : self._read + len(values)] @ values
        self._sum += values.sum(axis=0)
        self._squares += np.einsum("nu,nu->u", values, values)
        self._read += len(values)

    def result(self) -> Floats:
        """r (F, U), after all N characters were added."""
        N = self._scaled.shape[1]
        mean, square = self._sum / N, self._squares / N
        deviation = _standard_deviation(square - mean**2, square)
        r = self._products / N
        np.divide(r, deviation, out=r, where=deviation > 0)
        r[:, deviation == 0] = 0
        result: Floats = np.clip(r, -1, 1)
        return result


def _standard_deviation(variance: Floats, mean_square: Floats) -> Floats:
    """The square root of variances; 0 for those that are only rounding, compared with the mean square."""
    result: Floats = np.sqrt(np.where(variance > ROUNDING * mean_square, variance, 0))
    return result
