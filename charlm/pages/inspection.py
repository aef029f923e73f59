"""An inspection as a file: a page to explore, or a picture to show."""

from __future__ import annotations

from pathlib import Path

from charlm.errors import SpecError
from charlm.inspecting import Inspection
from charlm.pages.units import units_page
from charlm.plotting.picture import FORMATS
from charlm.plotting.units import plot_units
from charlm.store.atomic import require_folder, write_atomic

PAGES = (".html", ".htm")


class InspectionFile:
    """Where an inspection is to be written; the ending chooses between page and picture.

    Raises SpecError for an unknown ending, StorageError where there is no such folder: before anything is read.
    """

    def __init__(self, output: str | Path) -> None:
        self.output = Path(output)
        if self.output.suffix.lower() not in (*PAGES, *FORMATS):
            endings = ", ".join((PAGES[0], *FORMATS))
            raise SpecError(f"a name ends in one of {endings}, not {self.output.suffix!r}: {self.output}")
        require_folder(self.output)

    def write(self, inspection: Inspection, model: str, source: str) -> str:
        """Write it, and tell so. model, source: the names of what read and of what was read."""
        source = Path(source).name
        if self.output.suffix.lower() in PAGES:
            write_atomic(self.output, units_page(inspection, model=model, source=source))
        else:
            plot_units(inspection, self.output, f"What the units of {model} follow in {source}")
        note = f" (the first {inspection.characters:,} characters)" if inspection.is_cut else ""
        return f"Wrote {self.output}{note}"
