"""An inspection as a file: a page to explore, or a picture."""

from __future__ import annotations

from pathlib import Path

from charlm.analysis.inspection import Inspection
from charlm.errors import SpecError
from charlm.files.atomic import require_folder, write_atomic
from charlm.pages.units import units_page
from charlm.plotting.picture import FORMATS
from charlm.plotting.units import plot_units

PAGES = (".html", ".htm")


class InspectionFile:
    """A file for an inspection; the suffix chooses between page and picture.

    Raises SpecError for an unknown suffix, StorageError for a missing folder: both before a text is read.
    """

    def __init__(self, output: str | Path) -> None:
        self.output = Path(output)
        if self.output.suffix.lower() not in (*PAGES, *FORMATS):
            suffixes = ", ".join((PAGES[0], *FORMATS))
            raise SpecError(
                f"an inspection's name must end in one of {suffixes}, not {self.output.suffix!r}: {self.output}"
            )
        require_folder(self.output)

    def write(self, inspection: Inspection, model: str, source: str) -> str:
        """Write the file; returns a message about it. model, source: the names of the model and of the text."""
        source = Path(source).name
        if self.output.suffix.lower() in PAGES:
            write_atomic(self.output, units_page(inspection, model=model, source=source))
        else:
            plot_units(inspection, self.output, f"What the units of {model} follow in {source}")
        note = f" (the first {inspection.characters:,} characters)" if inspection.is_truncated else ""
        return f"Wrote {self.output}{note}"
