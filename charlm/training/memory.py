"""The memory that training needs, and the memory that is available.

They are compared before the first array is allocated: the operating system ends a process that takes too much memory,
without a message and perhaps after hours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from charlm.config import TrainSpec
from charlm.errors import UnsuitableError
from charlm.nn.model import ModelSpec, make_stack
from charlm.optim.optimizers import OPTIMIZERS

ORTHOGONAL = 32  # bytes per element while an orthogonal matrix is initialised: four arrays in float64
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def require_memory_for(model: ModelSpec, spec: TrainSpec, available: int | None = None) -> None:
    """Raise UnsuitableError if training needs more memory than is available (bytes, by default `available_bytes()`)."""
    needed = training_bytes(model, spec)
    available = available_bytes() if available is None else available
    if available is not None and needed > available:
        raise UnsuitableError(
            f"training needs at least {needed / 2**30:,.1f} GB of memory; {available / 2**30:,.1f} GB are available: "
            "use a smaller --hidden, --layers, --batch or --window"
        )


def training_bytes(model: ModelSpec, spec: TrainSpec) -> int:
    """The least memory of training in bytes, at its peak: the initialisation, or the writing of a checkpoint."""
    spec, scalar = spec.resolved, int(spec.precision.removeprefix("float")) // 8
    usual = OPTIMIZERS[spec.optimizer]
    kept = 0 if usual.momentum is not None and spec.momentum == 0 else usual.arrays  # per parameter, by the optimizer
    per_worker = 3 + kept + 2  # params, grads, steps; the optimizer's memory; two copies of the weights
    copies = per_worker * (spec.workers or 1) + 2 * (1 + kept)  # and two copies for a checkpoint
    # In layers above the first: gradients of the inputs; if residual, also sums, and gradients that bypass the layer.
    above_the_first = model.hidden * (3 if model.residual else 1)
    units = make_stack(model).cells[0].scalars_per_unit + (spec.dropout > 0)
    per_character = (
        model.layers * units * model.hidden
        + (model.layers - 1) * above_the_first
        + model.hidden  # gradients of the read-out
        + model.vocabulary
    )
    initialisation = scalar * (4 + kept) * model.parameters + ORTHOGONAL * model.hidden**2
    return max(initialisation, scalar * (copies * model.parameters + spec.window * spec.batch * per_character))


def available_bytes() -> int | None:
    """The memory available to this process in bytes, free or easily freed, with swap; None if it is not known."""
    return min((*_of_the_system(), *_of_control_groups()), default=None)


def _of_the_system() -> Iterator[int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        yield 1024 * (kilobytes["MemAvailable"] + kilobytes["SwapFree"])
    except (OSError, ValueError, KeyError, IndexError):
        with suppress(OSError, ValueError, AttributeError):
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_control_groups() -> Iterator[int]:
    """The limits set for containers and services (cgroups, both versions)."""
    own = ""
    with suppress(OSError):
        own = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].partition("\n")[0]
    group = CONTROL_GROUPS / own
    for limit in (
        *(folder / "memory.max" for folder in (group, *group.parents)),
        CONTROL_GROUPS / "memory" / "memory.limit_in_bytes",
    ):
        with suppress(OSError, ValueError):  # no such file, or "max"
            yield int(limit.read_text())
