"""Pictures as files: the suffix chooses the format."""

from __future__ import annotations

import logging
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.errors import SpecError
from charlm.files.atomic import require_folder, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito 2008: distinguishable with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FORMATS = (".png", ".svg", ".pdf")


def figure_class() -> type[Figure]:
    """matplotlib's Figure. Loading it prints no warnings, such as that of a home directory that is read-only."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib.font_manager  # noqa: F401 - warns, too
        from matplotlib.figure import Figure
    finally:
        log.setLevel(level)
    return Figure


def picture_path(output: str | Path) -> Path:
    """The path of a picture. Raises SpecError for an unknown suffix, StorageError for a missing folder."""
    output = Path(output)
    if output.suffix.lower() not in FORMATS:
        raise SpecError(f"a picture's name must end in one of {', '.join(FORMATS)}, not {output.suffix!r}: {output}")
    require_folder(output)
    return output


def write_picture(figure: Figure, output: Path) -> None:
    """Write a figure atomically. Raises StorageError if the disk refuses."""
    picture = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the text may be in a script that the font lacks
        figure.savefig(picture, format=output.suffix[1:].lower())
    write_atomic(output, picture.getvalue())
