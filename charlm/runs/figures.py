"""Results that are kept beside a run's configuration, one small JSON object each: baselines, mix, divergence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from charlm.errors import RunError, in_short
from charlm.files.atomic import storage_errors, write_atomic
from charlm.files.strict_json import MOST_NUMBER, parse_json
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.config import bounded

if TYPE_CHECKING:
    from charlm.runs.run import Run

FEW = 1000  # characters; with fewer every result is a rough one, and a compressor's file is mostly its header
WORTH = 0.002  # nats per character that mixing must gain to be used
MOST_FIGURES = 2**16  # bytes
REMEDY = "remove it, and charlm train --resume makes it again"

Kept = TypeVar("Kept", bound="Figures")


@dataclass(frozen=True)
class Figures:
    """Numbers in a file of a run, `NAME.json`: finite and at least 0."""

    NAME: ClassVar[str]

    @classmethod
    def of(cls: type[Kept], run: Run) -> Kept | None:
        """Those of a run; None if the file is not there. Raises RunError if it holds something else."""
        path = run.figures_path(cls.NAME)
        if not path.exists():
            return None
        try:
            with storage_errors("read", path, "make it readable"):
                figures = dict(parse_json(bounded(path, MOST_FIGURES)))
        except (ValueError, TypeError) as error:
            raise RunError(f"{path} cannot be read ({in_short(error)}): {REMEDY}") from None
        if not cls.accepts(figures):
            raise RunError(f"{path} does not hold the figures of {cls.NAME} ({in_short(figures)}): {REMEDY}")
        return cls(**figures)

    @classmethod
    def accepts(cls, figures: Mapping[str, Any]) -> bool:
        """Whether these names and values can be such figures."""
        kinds = {field.name: str(field.type) for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}  # others came with later versions
        return needed <= figures.keys() <= kinds.keys() and all(_fits(kinds[name], figures[name]) for name in figures)

    def save(self, run: Run) -> None:
        """Write the file, whole or not at all. Raises StorageError."""
        write_atomic(run.figures_path(self.NAME), (json.dumps(asdict(self), indent=2) + "\n").encode())


@dataclass(frozen=True)
class Baselines(Figures):
    """Nats per character of a run's validation part, without a network."""

    NAME = "baselines"

    characters: int  # of the validation part
    ngram_order: int  # the best there
    ngram_nats: float
    bzip2_nats: float  # bzip2 -9 of that part alone
    xz_nats: float  # xz -9e of that part alone
    ppm_nats: float | None = None  # PPM, an adaptive model; None in a run of a version that did not measure these
    unigram_nats: float | None = None  # the n-gram of order 1: how often each character occurs

    @property
    def ngram_name(self) -> str:
        """For example "5-gram"."""
        return f"{self.ngram_order}-gram"

    @property
    def compressed(self) -> tuple[float, str] | None:
        """The better compressor's nats and its name; None if the part is too short for a compressor."""
        if self.characters < FEW:
            return None
        return min((self.bzip2_nats, "bzip2"), (self.xz_nats, "xz"))

    @classmethod
    def accepts(cls, figures: Mapping[str, Any]) -> bool:
        """Counts are at least 1."""
        return super().accepts(figures) and min(figures["characters"], figures["ngram_order"]) >= 1


@dataclass(frozen=True)
class Mix(Figures):
    """What mixing a network with an n-gram gives on the validation part, in nats per character."""

    NAME = "mix"

    step: int  # of the checkpoint that the weight was fitted with
    weight: float  # of the network, 0 to 1; 1 is the network alone
    nats: float  # of both
    network_nats: float  # of the network alone
    ngram_nats: float

    @property
    def helps(self) -> bool:
        """Whether both are better than the network alone, by at least WORTH."""
        return self.network_nats - self.nats >= WORTH

    @classmethod
    def accepts(cls, figures: Mapping[str, Any]) -> bool:
        """A weight is at most 1."""
        return super().accepts(figures) and figures["weight"] <= 1


@dataclass(frozen=True)
class Divergence(Figures):
    """Where a training ended because its loss exploded again and again."""

    NAME = "divergence"

    step: int

    @classmethod
    def before(cls, run: Run, step: int) -> Divergence | None:
        """The one that ended the training which wrote a run's checkpoint of that step; None if there was none since.

        A run that was resumed and came further is no longer one that diverged.
        """
        found = cls.of(run)
        last = load_checkpoint(run.last_path).step if found and run.last_path.exists() else 0
        return found if found and max(step, last) <= found.step else None


def _fits(kind: str, value: Any) -> bool:
    if value is None:
        return kind.endswith("None")
    is_number = isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < MOST_NUMBER
