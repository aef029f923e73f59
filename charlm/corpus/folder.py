"""Choose the files of a folder, and say which ones were passed over."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from charlm.corpus.encoding import wide_encoding
from charlm.corpus.file_types import BYTE_ORDER_MARKS, file_type, has_controls
from charlm.corpus.packing import PACKINGS
from charlm.errors import CorpusError, in_short

PATTERNS = ("*.txt", *(f"*.txt{ending}" for ending in PACKINGS))  # what is read of a folder if nothing is chosen
SMALL_PART = 0.25  # of the text in a folder: if the .txt files have less of it, ask
SAMPLE = 4096  # bytes from which text is told from other files
MOST_LISTED = 5  # endings in a message
PACKED_TIMES = 4  # text usually unpacks to so many times the size
NO_ENDING, LINKS, PIPES = "without an ending", "links to folders", "pipes and devices"


@dataclass(frozen=True, eq=False)
class Listing:
    """The files to read of a folder, sorted by path, and how many others there are of each kind."""

    folder: str
    files: tuple[Path, ...]
    others: tuple[tuple[str, int], ...]  # the most frequent first
    hint: str  # how to choose other files; "" if they were chosen

    @property
    def note(self) -> str | None:
        """What was passed over, in one sentence; None if nothing was."""
        if not self.others:
            return None
        read = len(self.files)
        return (
            f"{self.folder}: {read:,} file{'s' * (read != 1)} read, {_in_words(self.others, ' passed over')}{self.hint}"
        )


def list_folder(path: Path, glob: Sequence[str] | None) -> Listing:
    """The files of a folder and all below it that match one of the patterns, by default PATTERNS.

    A pattern is compared with the name of a file, or with its path below the folder if it has a slash; capitals do not
    matter. Hidden files and folders are not looked at, and links to folders are not followed, so it ends. Raises
    CorpusError if a folder cannot be read, if no file matches, and, if nothing was chosen, if the files that match are
    a small part of the text in the folder.
    """
    files, others = [], []
    kinds: Counter[str] = Counter()
    patterns = [pattern.lower() for pattern in (PATTERNS if glob is None else glob)]
    for place, folders, names in os.walk(path, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        kinds[LINKS] += sum(os.path.islink(os.path.join(place, name)) for name in folders)
        for file in (Path(place, name) for name in names if not name.startswith(".")):
            if os.path.exists(file) and not os.path.isfile(file):  # it would block
                kinds[PIPES] += 1
            elif _matches(file.relative_to(path), patterns):
                files.append(file)
            else:
                others.append(file)
    kinds.update(map(_ending, others))
    found = tuple(
        sorted(((kind, count) for kind, count in kinds.items() if count), key=lambda each: (-each[1], each[0]))
    )
    if not files:
        raise CorpusError(_nothing(path, glob, found))
    if glob is None and others:
        _require_enough(path, files, others)
    endings = [kind for kind, _ in found if kind.startswith(".")]
    hint = f": choose with --glob {shlex.quote('*' + endings[0])}" if glob is None and endings else ""
    return Listing(str(path), tuple(sorted(files)), found, hint)


def _matches(relative: Path, patterns: Sequence[str]) -> bool:
    name, whole = relative.name.lower(), relative.as_posix().lower()
    return any(fnmatchcase(whole if "/" in pattern else name, pattern) for pattern in patterns)


def _nothing(path: Path, glob: Sequence[str] | None, found: Sequence[tuple[str, int]]) -> str:
    endings = [kind for kind, _ in found]
    there = f"it has {_in_words(found)}; " if found else ""
    if glob is not None:
        return f"no file in the folder {path} matches {_options(glob)}: {there}choose with other patterns"
    choice = next((kind for kind in endings if kind.startswith(".")), None)
    advice = f"choose with --glob {shlex.quote('*' + choice)}" if choice else "name the files, or put texts there"
    return f"no .txt or .txt.gz file in the folder {path}: {there}{advice}"


def _require_enough(path: Path, files: Sequence[Path], others: Sequence[Path]) -> None:
    """Raise CorpusError if the other files have far more text."""
    texts: Counter[str] = Counter()
    for file in others:
        texts[_ending(file)] += _text_bytes(file)
    chosen = sum(_size(file) * (1 if file.name.lower().endswith(".txt") else PACKED_TIMES) for file in files)
    in_all = chosen + texts.total()
    if chosen >= SMALL_PART * in_all:
        return
    most = [(ending, count) for ending, count in sorted(texts.items(), key=lambda each: (-each[1], each[0])) if count]
    shown = ", ".join(f"{ending} {count:,}" for ending, count in most[:MOST_LISTED])
    choice = next((ending for ending, _ in most if ending.startswith(".")), "")
    raise CorpusError(
        f"the .txt files in {path} are a small part of its text, {chosen:,} of {in_all:,} bytes ({shown}): choose with "
        f"--glob {shlex.quote('*' + choice)}, or --glob '*.txt' for those"
    )


def _text_bytes(file: Path) -> int:
    """The size of a file that looks like a text, else 0."""
    try:
        with file.open("rb") as opened:
            sample = opened.read(SAMPLE)
    except OSError:
        return 0
    is_wide = sample.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)) or wide_encoding(sample)
    return _size(file) if is_wide or not (file_type(sample) or has_controls(sample)) else 0


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # reading raises it again
        return 0


def _ending(file: Path) -> str:
    """What follows the last dot of a name, in small letters, as a kind of file."""
    ending = file.suffix.lower()
    return ending if ending[1:].isalnum() and len(ending) <= 12 else NO_ENDING


def _in_words(others: Sequence[tuple[str, int]], what: str = "") -> str:
    """How many files of which kinds."""
    count, kinds = sum(count for _, count in others), [kind for kind, _ in others]
    listed = ", ".join(kinds[:MOST_LISTED]) + (", ..." if len(kinds) > MOST_LISTED else "")
    return f"{count:,} other{'s' * (count != 1)}{what} ({listed})"


def _options(glob: Sequence[str]) -> str:
    return in_short(" ".join(f"--glob {shlex.quote(pattern)}" for pattern in glob))


def _refuse_folder(error: OSError) -> None:
    raise CorpusError(f"cannot read the folder {error.filename}: {error.strerror}; name texts that you can read")
