"""Reading a text from files, folders, gzip or standard input, and its ids."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charlm.errors import CorpusError
from charlm.text.vocabulary import Vocabulary

STANDARD_INPUT = "-"
CONVERT = "convert it, for example with iconv -f {} -t UTF-8"
FOREIGN = (  # how a file begins that is no UTF-8 text, what it is, and the next move; the longer beginning first
    (codecs.BOM_UTF32_LE, "UTF-32, not UTF-8", CONVERT.format("UTF-32")),
    (codecs.BOM_UTF32_BE, "UTF-32, not UTF-8", CONVERT.format("UTF-32")),
    (codecs.BOM_UTF16_LE, "UTF-16, not UTF-8", CONVERT.format("UTF-16")),
    (codecs.BOM_UTF16_BE, "UTF-16, not UTF-8", CONVERT.format("UTF-16")),
    (b"\x1f\x8b", "gzip", "give it a name that ends in .gz, or unpack it"),
    (b"PK\x03\x04", "a zip archive (or .docx, .odt, .epub)", "name the text in it, saved as UTF-8"),
    (b"%PDF-", "a PDF", "save its text as UTF-8, for example with pdftotext"),
)
UNPACKED_RATIO, UNPACKED_AT_LEAST = 200, 2**20  # how many times its size, and how many bytes, a .gz may unpack to


@dataclass(frozen=True)
class Corpus:
    """A text as ids, with what is needed to know it again."""

    name: str
    sources: tuple[str, ...]
    sha256: str  # of the text as UTF-8, after all clean-up
    vocabulary: Vocabulary
    ids: NDArray[np.unsignedinteger]  # (N,)
    notes: tuple[str, ...] = ()  # what was changed in the text, for people to read

    @property
    def usual_start(self) -> str:
        """The character that most often begins a line: a natural seed text."""
        newline = self.vocabulary.characters.find("\n")
        starts = np.concatenate((self.ids[:1], self.ids[1:][self.ids[:-1] == newline]))
        starts = starts[starts != newline]
        return self.vocabulary.characters[int(np.bincount(starts).argmax())] if len(starts) else "\n"


@dataclass(frozen=True)
class Text:
    """The clean text of one source, and what was changed to make it clean."""

    source: str
    text: str
    had_mark: bool  # a byte order mark, dropped
    line_ends: int  # CR or CRLF, folded to LF


def read_corpus(sources: str | Path | Sequence[str | Path], name: str | None = None) -> Corpus:
    """Read texts, join them in order, each starting on a new line, and give every character its id.

    sources: files, .gz files, folders (every .txt and .txt.gz below them, sorted by path), or "-" for standard input.
    Raises CorpusError where a source is missing, unreadable or not text, and where less than two distinct characters
    come together.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    texts = list(read_texts(given))
    *before, last = [part.text for part in texts if part.text] or [""]
    text = "\n".join([*(part.removesuffix("\n") for part in before), last])
    if not text:
        raise CorpusError(f"{_listed(given)} is empty: a text of at least a few lines is needed to train on")

    vocabulary = Vocabulary.of(text)
    if len(vocabulary) < 2:
        raise CorpusError(
            f"{_listed(given)} holds one distinct character only, {vocabulary.characters!r}: "
            "there is nothing to predict; name a text with more"
        )
    return Corpus(
        name=name or _name_of(given[0]),
        sources=tuple(str(source) if str(source) == STANDARD_INPUT else os.path.abspath(source) for source in given),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        vocabulary=vocabulary,
        ids=vocabulary.encode(text),
        notes=clean_up_notes(texts),
    )


def read_texts(sources: Sequence[str | Path]) -> Iterator[Text]:
    """The clean text of every source, one file after the other; folders give one for each text in them."""
    for source in sources:
        for path in _files_of(source):
            yield _clean(str(path), _bytes_of(path))


def clean_up_notes(texts: Sequence[Text]) -> tuple[str, ...]:
    """What was changed in some texts, for people to read: each kind of change once."""
    notes = []
    if marked := [text.source for text in texts if text.had_mark]:
        notes.append(f"{_first_of(marked)}: dropped the byte order mark")
    if folded := [text.source for text in texts if text.line_ends]:
        count = sum(text.line_ends for text in texts)
        notes.append(f"{_first_of(folded)}: folded {count:,} CR or CRLF line ends to LF")
    return tuple(notes)


def _first_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"


def _files_of(source: str | Path) -> list[str | Path]:
    if str(source) == STANDARD_INPUT:
        return [STANDARD_INPUT]
    path = Path(source)
    if not os.path.isdir(path):
        return [path]
    found = sorted(
        file
        for folder, _, names in os.walk(path, onerror=_refuse_folder)  # follows no links to folders, so it ends
        for file in (Path(folder, name) for name in names)
        if file.name.lower().endswith((".txt", ".txt.gz"))
        and (os.path.isfile(file) or not os.path.exists(file))  # no pipe: it would block
    )
    if not found:
        raise CorpusError(f"no .txt or .txt.gz file in the folder {path}: name the files, or put texts there")
    return list(found)


def _bytes_of(path: str | Path) -> bytes:
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read()
        data = _unchanged_bytes(path)
        return _unpacked(path, data) if str(path).lower().endswith(".gz") else data
    except FileNotFoundError:
        raise CorpusError(f"no such file: {path}; give a text file, a folder of .txt files, or - for input") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} is not a whole gzip file ({error}): fetch or compress it again") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"cannot read {path}: {reason}; name a text file that you may read") from None


def _refuse_folder(error: OSError) -> None:
    raise CorpusError(f"cannot read the folder {error.filename}: {error.strerror}; name texts that you may read")


def _unchanged_bytes(path: str | Path) -> bytes:
    """The content of a file. Raises CorpusError where it was written to meanwhile: half of it would be new."""
    with Path(path).open("rb") as file:
        before = os.fstat(file.fileno())
        if stat.S_ISCHR(before.st_mode) or stat.S_ISBLK(before.st_mode):  # /dev/zero has no end
            raise CorpusError(f"{path} is a device, not a text: name a file, or - for standard input")
        data = file.read()
        after = os.fstat(file.fileno())
    is_file = stat.S_ISREG(before.st_mode)  # a pipe is written to while it is read: that is how it works
    if is_file and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise CorpusError(f"{path} was changed while it was read: wait until it is complete, and try again")
    return data


def _unpacked(path: str | Path, data: bytes) -> bytes:
    """The content of a gzip file. Raises CorpusError where it is out of proportion: text packs to a few per cent."""
    if not data:
        raise EOFError("it has 0 bytes")  # to GzipFile that is a whole text of no characters
    limit = UNPACKED_AT_LEAST + UNPACKED_RATIO * len(data)
    with gzip.GzipFile(fileobj=BytesIO(data)) as file:
        text = file.read(limit + 1)
    if len(text) > limit:
        raise CorpusError(
            f"{path} unpacks to more than {UNPACKED_RATIO} times its size, which no text does: unpack it yourself "
            "if you trust it, and name the text file"
        )
    return text


def _clean(source: str, data: bytes) -> Text:
    """Decode UTF-8 strictly, drop a byte order mark, fold line ends to LF; refuse what is not text."""
    name = "standard input" if source == STANDARD_INPUT else source
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(_foreign(name, data) or _where_not_utf8(name, data, error.start)) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CorpusError(
            _foreign(name, data)
            or f"{name}, line {line}: a NUL character: this is not UTF-8 text; remove it, or convert the file if it is "
            "UTF-16 (iconv -f UTF-16LE -t UTF-8)"
        )

    line_ends = text.count("\r")
    clean = text.removeprefix("\ufeff")
    if line_ends:
        clean = clean.replace("\r\n", "\n").replace("\r", "\n")
    return Text(name, clean, text.startswith("\ufeff"), line_ends)


def _foreign(name: str, data: bytes) -> str | None:
    """What the content of a file is that is not text, where its beginning tells."""
    return next(
        (f"{name} is {kind}: {advice}" for beginning, kind, advice in FOREIGN if data.startswith(beginning)), None
    )


def _where_not_utf8(name: str, data: bytes, position: int) -> str:
    line_start = data.rfind(b"\n", 0, position) + 1
    line = data.count(b"\n", 0, position) + 1
    column = len(data[line_start:position].decode("utf-8", "replace")) + 1
    return (
        f"{name}, line {line}, column {column}: byte 0x{data[position]:02x} is not UTF-8: "
        "convert the file, for example with iconv -f LATIN1 -t UTF-8"
    )


def _name_of(source: str | Path) -> str:
    if str(source) == STANDARD_INPUT:
        return "stdin"
    name = os.fsencode(Path(os.path.abspath(source)).name).decode("utf-8", "surrogateescape")  # whatever the locale
    return re.sub(r"(\.txt)?(\.gz)?\Z", "", name, flags=re.IGNORECASE) or "text"


def _listed(sources: Sequence[str | Path]) -> str:
    return ", ".join("standard input" if str(source) == STANDARD_INPUT else str(source) for source in sources)
