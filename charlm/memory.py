"""How much memory a training takes, and how much there is.

Known before the first array is made: where the memory does not suffice, the operating system ends a process without a
word, perhaps hours later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from charlm.errors import SpecError
from charlm.nn.model import ModelSpec

SCALAR = 4  # bytes of a float32
UNITS = {"gru before": 8, "gru after": 11, "lstm": 12, "rnn": 2}  # scalars per unit, step and stream: see each cell
OPTIMIZER_ARRAYS = {"muon": 1, "sgd": 1, "rmsprop": 1, "adam": 2, "adamw": 2}  # remembered per parameter
ORTHOGONAL = 32  # bytes per element, while an orthogonal matrix is made: four in float64
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def require_memory(needed: int, available: int | None = None) -> None:
    """Raise SpecError where less memory than `needed` bytes is there; `available`: left out, what the system says."""
    available = available_bytes() if available is None else available
    if available is not None and needed > available:
        raise SpecError(
            f"this training needs at least {needed / 2**30:,.1f} GB of memory and there are {available / 2**30:,.1f}: "
            "use a smaller --hidden, --layers, --batch or --window"
        )


def training_bytes(
    model: ModelSpec,
    *,
    window: int,
    batch: int,
    optimizer: str = "sgd",
    momentum: float | None = None,
    dropout: float = 0.0,
    workers: int = 1,
) -> int:
    """What training takes at least, at its largest: when first values are made, or while a checkpoint is written."""
    remembered = 0 if momentum == 0 and optimizer in ("muon", "sgd") else OPTIMIZER_ARRAYS[optimizer]
    of_a_worker = 3 + remembered + 2  # params, grads, steps; what the optimizer remembers; prepared weights
    copies = of_a_worker * workers + 2 * (1 + remembered)  # and the file, made twice
    kind = f"{model.cell} {model.reset}" if model.cell == "gru" else model.cell
    above_the_first = model.hidden * (3 if model.residual else 1)  # slopes in vector inputs, sums, slopes past a layer
    per_character = (
        model.layers * (UNITS[kind] + (dropout > 0)) * model.hidden
        + (model.layers - 1) * above_the_first
        + model.hidden  # slopes of the read-out
        + model.vocabulary
    )
    first_values = SCALAR * (4 + remembered) * model.parameters + ORTHOGONAL * model.hidden**2
    return max(first_values, SCALAR * (copies * model.parameters + window * batch * per_character))


def available_bytes() -> int | None:
    """The memory that this process can have: what is free or easily freed, with swap; None where nobody says."""
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
