"""Loss curves: the points of a run's metrics, for pictures and for the terminal."""

from __future__ import annotations

from typing import Any, NamedTuple

from charlm.errors import SpecError


class Axis(NamedTuple):
    """An x axis: the field of a metrics record, how much of it one unit is, and the label."""

    field: str
    unit: float
    label: str


AXES = {
    "steps": Axis("step", 1.0, "updates"),
    "characters": Axis("characters", 1.0, "characters seen"),
    "minutes": Axis("seconds", 60.0, "minutes of training"),
}
AXIS = "steps"  # the default


def require_axis(against: str) -> None:
    """Raise SpecError for an unknown x axis."""
    if against not in AXES:
        raise SpecError(f"against must be one of {', '.join(AXES)}, not {against!r}")


def loss_curve(metrics: list[dict[str, Any]], split: str, against: str) -> tuple[list[float], list[float]]:
    """The x values and the nats per character of all records of a split, "train" or "validation"."""
    axis = AXES[against]
    records = [record for record in metrics if record["split"] == split]
    return [record[axis.field] / axis.unit for record in records], [record["nats"] for record in records]
