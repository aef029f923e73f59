"""How much memory a training takes, and how much there is.

It is checked before the first array is made: a process that takes too much is ended by the operating system without a
message, perhaps hours later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from charlm.config import TrainSpec
from charlm.errors import SpecError
from charlm.nn.model import ModelSpec, make_stack
from charlm.optim.optimizers import OPTIMIZERS

SCALAR = 4  # bytes of a float32
ORTHOGONAL = 32  # bytes per element while an orthogonal matrix is made: four in float64
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def require_memory_for(model: ModelSpec, spec: TrainSpec, available: int | None = None) -> None:
    """Raise SpecError if a training takes more memory than there is; available: in bytes, by default the system's."""
    needed = training_bytes(model, spec)
    available = available_bytes() if available is None else available
    if available is not None and needed > available:
        raise SpecError(
            f"this training needs at least {needed / 2**30:,.1f} GB of memory and there are {available / 2**30:,.1f}: "
            "use a smaller --hidden, --layers, --batch or --window"
        )


def training_bytes(model: ModelSpec, spec: TrainSpec) -> int:
    """What training takes at least, at its peak: while parameters are initialised, or while a checkpoint is written."""
    spec = spec.resolved
    kept = 0 if spec.momentum == 0 else OPTIMIZERS[spec.optimizer].arrays  # per parameter, by the optimizer
    per_worker = 3 + kept + 2  # params, grads, steps; the optimizer's memory; prepared weights
    copies = per_worker * (spec.workers or 1) + 2 * (1 + kept)  # and the checkpoint, made twice
    # Of layers above the first: gradients of vector inputs, sums, gradients past a layer.
    above_the_first = model.hidden * (3 if model.residual else 1)
    units = make_stack(model).cells[0].scalars_per_unit + (spec.dropout > 0)
    per_character = (
        model.layers * units * model.hidden
        + (model.layers - 1) * above_the_first
        + model.hidden  # gradients of the read-out
        + model.vocabulary
    )
    initialisation = SCALAR * (4 + kept) * model.parameters + ORTHOGONAL * model.hidden**2
    return max(initialisation, SCALAR * (copies * model.parameters + spec.window * spec.batch * per_character))


def available_bytes() -> int | None:
    """The memory that this process can have: what is free or easily freed, with swap; None if no source says."""
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
    """The limits of containers and services (cgroups, both versions)."""
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
