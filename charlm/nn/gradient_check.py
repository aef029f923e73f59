"""Compare gradients with finite differences: for the gradients of your own backward pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import numpy as np

from charlm.arrays import Floats

STEP = 1e-5


def gradient_check(
    function: Callable[..., float], arrays: Mapping[str, Floats], gradients: Mapping[str, Floats], step: float = STEP
) -> float:
    """The largest relative error of `gradients` against central differences of `function`.

    function: the loss, as a function of no arguments that reads the arrays, or of one, the mapping of arrays.
    arrays: float64, by name; every element is moved by `step` in both directions, in place, and put back.
    gradients: by the same names, in the same shapes. The error of an array is |g - d| / (|g| + |d|) with Euclidean
    norms of the gradient g and the differences d; below 1e-6 a gradient is right, above 1e-3 it is wrong, unless the
    function has a kink (relu) near this place. NaN if a gradient or a loss is not finite. Raises ValueError for names
    or shapes that do not fit, TypeError for arrays that are not float64.
    """
    if not (isinstance(arrays, Mapping) and isinstance(gradients, Mapping)):
        raise TypeError('arrays and gradients must be dictionaries of arrays by name, such as {"W": W}')
    if arrays.keys() != gradients.keys():
        raise ValueError(f"arrays and gradients must have the same names, not {sorted(arrays)} and {sorted(gradients)}")
    has_argument = bool(inspect.signature(function).parameters)
    errors = [0.0]
    for name, array in arrays.items():
        kind = getattr(array, "dtype", type(array).__name__)
        if kind != np.float64:
            raise TypeError(f"{name} must be an array of float64, not {kind}: smaller types are too inexact")
        if np.shape(gradients[name]) != array.shape:
            raise ValueError(
                f"the gradient of {name} must have the shape {array.shape}, not {np.shape(gradients[name])}"
            )
        differences = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            kept = array[place]
            losses = []
            try:
                for moved in (kept + step, kept - step):
                    array[place] = moved
                    loss = function(arrays) if has_argument else function()
                    if np.size(loss) != 1:
                        raise TypeError(f"the function must return one number, not an array {np.shape(loss)}: sum it")
                    losses.append(float(np.reshape(loss, ())))
            finally:
                array[place] = kept
            differences[place] = (losses[0] - losses[1]) / (2 * step)
        size = np.linalg.norm(gradients[name]) + np.linalg.norm(differences)
        if size != 0:
            errors.append(float(np.linalg.norm(gradients[name] - differences) / size))
    return float(np.max(errors))  # NaN if any is, unlike max
