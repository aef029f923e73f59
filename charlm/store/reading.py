"""From files, folders, gzip or standard input to clean text, in pieces of bounded size."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from charlm.errors import CorpusError
from charlm.store.foreign import what_it_is
from charlm.text.place import Place

STANDARD_INPUT = "-"
CHUNK = 2**18  # bytes read at a time; small enough that all that is made of them stays in the processor's cache
UNPACKED_RATIO, UNPACKED_AT_LEAST = 200, 2**20  # how many times its size, and how many bytes, a .gz may unpack to

Watch = Callable[[int], object]  # is told how many bytes more were read


class Text:
    """The clean text of one source, read as it is iterated, which can be done once: strings, none of them empty.

    Strict UTF-8, a byte order mark at its beginning dropped, line ends folded to LF. Raises CorpusError for what is
    not text, or cannot be read whole. Whether a mark was dropped, how many line ends were folded, and the size and
    sha256 of the source's bytes are known when the text has been read to its end.
    """

    def __init__(self, path: str | Path, watch: Watch = lambda count: None) -> None:
        self.path = path
        self.source = "standard input" if path == STANDARD_INPUT else str(path)
        self.is_packed = path != STANDARD_INPUT and str(path).lower().endswith(".gz")
        self.had_mark = False
        self.line_ends = 0  # CR or CRLF, folded
        self.size, self.sha256 = 0, ""  # of the source
        self._watch = watch

    def __iter__(self) -> Iterator[str]:
        return self._folded(self._decoded(self._chunks()))

    def skim(self) -> None:
        """Read the source's bytes without a look at them, for their sha256 alone."""
        for _ in self._chunks(unpack=False):
            pass

    def _chunks(self, unpack: bool = True) -> Iterator[bytes]:
        """The bytes of the source, unpacked; no chunk is empty."""
        with _told_in_one_line(self.path), _opened(self.path) as file:
            raw = _Watched(file, self._watch)
            if unpack and self.is_packed:
                yield from self._unpacked(raw, os.fstat(file.fileno()).st_size)
            else:
                yield from _read(raw)
            self.size, self.sha256 = raw.size, raw.sha256.hexdigest()

    def _unpacked(self, raw: _Watched, size: int) -> Iterator[bytes]:
        """The content of a gzip file, unless it is out of proportion: text packs to a few per cent."""
        unpacked = 0
        for chunk in chain(_read(gzip.GzipFile(fileobj=raw, mode="rb")), [b""]):
            if not raw.size:
                raise EOFError("it has 0 bytes")  # to GzipFile that is a whole text of no characters
            if not chunk:
                return
            unpacked += len(chunk)
            if unpacked > UNPACKED_AT_LEAST + UNPACKED_RATIO * max(size, raw.size):  # a pipe has no size beforehand
                raise CorpusError(
                    f"{self.source} unpacks to more than {UNPACKED_RATIO} times its size, which no text does: unpack "
                    "it yourself if you trust it, and name the text file"
                )
            yield chunk

    def _decoded(self, chunks: Iterator[bytes]) -> Iterator[str]:
        """Strict UTF-8. After a fault the rest is read all the same: what is wrong with a whole file is told first."""
        place, rest, nul_line = Place(), b"", 0
        kind: str | None = None
        for number, chunk in enumerate(chain(chunks, [b""])):
            data = rest + chunk
            kind = what_it_is(data) if number == 0 else kind
            try:
                text, used = codecs.utf_8_decode(data, "strict", not chunk)
            except UnicodeDecodeError as error:
                message = self._not_utf8(data, error.start, place, kind)
                for _ in chunks:
                    pass
                raise CorpusError(message) from None
            if "\0" in text and not nul_line:
                nul_line = place.after(text[: text.index("\0")]).line
            if text and not nul_line:
                yield text
            place, rest = place.after(text), data[used:]
        if nul_line:
            raise CorpusError(self._has_nul(nul_line, kind))

    def _has_nul(self, line: int, kind: str | None) -> str:
        if kind:
            return f"{self.source} is {kind}"
        return (
            f"{self.source}, line {line}: a NUL character: this is not UTF-8 text; remove it, or convert the file if "
            "it is UTF-16 (iconv -f UTF-16LE -t UTF-8)"
        )

    def _not_utf8(self, data: bytes, position: int, place: Place, kind: str | None) -> str:
        if kind:
            return f"{self.source} is {kind}"
        return (
            f"{self.source}, {place.after(data[:position].decode())}: byte 0x{data[position]:02x} is not UTF-8: "
            "convert the file, for example with iconv -f LATIN1 -t UTF-8"
        )

    def _folded(self, pieces: Iterator[str]) -> Iterator[str]:
        """Without a byte order mark at the beginning, and with LF for every CRLF and CR."""
        is_first, held = True, ""  # a CR at the end of a piece may be the first half of a line end
        for piece in pieces:
            if is_first and piece.startswith("\ufeff"):
                self.had_mark, piece = True, piece[1:]
            is_first, text = False, held + piece
            held = "\r" if text.endswith("\r") else ""
            text = text.removesuffix(held)
            if "\r" in text:
                self.line_ends += text.count("\r")
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            if text:
                yield text
        if held:
            self.line_ends += 1
            yield "\n"


def read_texts(sources: Sequence[str | Path], watch: Watch = lambda count: None) -> Iterator[Text]:
    """The text of every source, one file after the other; folders give one for each text in them.

    Read each before going on to the next; `watch` is told how many bytes were read meanwhile.
    """
    for source in sources:
        for path in _files_of(source):
            yield Text(path, watch)


def clean_up_notes(texts: Sequence[Text]) -> tuple[str, ...]:
    """What was changed in some texts that have been read, for people to read: each kind of change once."""
    notes = []
    if marked := [text.source for text in texts if text.had_mark]:
        notes.append(f"{_first_of(marked)}: dropped the byte order mark")
    if folded := [text.source for text in texts if text.line_ends]:
        count = sum(text.line_ends for text in texts)
        notes.append(f"{_first_of(folded)}: folded {count:,} CR or CRLF line ends to LF")
    return tuple(notes)


def bytes_in(sources: Sequence[str | Path]) -> int | None:
    """How many bytes all sources hold; None where one of them cannot tell, or can be read once only."""
    total = 0
    try:
        for text in read_texts(sources):
            status = os.stat(text.path) if text.path != STANDARD_INPUT else None
            if status is None or not stat.S_ISREG(status.st_mode):
                return None
            total += status.st_size
    except (CorpusError, OSError):  # to be told by who reads
        return None
    return total


class _Watched(io.RawIOBase):
    """A file that is read once, and counts and hashes what it gives."""

    def __init__(self, file: BinaryIO, watch: Watch) -> None:
        super().__init__()
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._file = file
        self._watch = watch

    def read(self, size: int = -1, /) -> bytes:
        """Read on."""
        data = self._file.read(size)
        self.size += len(data)
        self.sha256.update(data)
        self._watch(len(data))
        return data


def _read(file: _Watched | gzip.GzipFile) -> Iterator[bytes]:
    """A file in chunks. The first short one is the last: a terminal would wait for a second end of input."""
    length = CHUNK
    while length == CHUNK:
        chunk = file.read(CHUNK)
        length = len(chunk)
        if chunk:
            yield chunk


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    """A source, opened. Raises CorpusError where it was written to meanwhile: half of it would be new."""
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        before = os.fstat(file.fileno())
        if stat.S_ISCHR(before.st_mode) or stat.S_ISBLK(before.st_mode):  # /dev/zero has no end
            raise CorpusError(f"{path} is a device, not a text: name a file, or - for standard input")
        try:
            yield file
        except Exception:  # what is wrong with a file that is being written is no news
            _require_unchanged(path, before, os.fstat(file.fileno()))
            raise
        _require_unchanged(path, before, os.fstat(file.fileno()))


def _require_unchanged(path: str | Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) and stat.S_ISREG(before.st_mode):
        raise CorpusError(f"{path} was changed while it was read: wait until it is complete, and try again")


@contextmanager
def _told_in_one_line(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong with a source as a whole into a CorpusError that says what to do."""
    try:
        yield
    except FileNotFoundError:
        raise CorpusError(f"no such file: {path}; give a text file, a folder of .txt files, or - for input") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} is not a whole gzip file ({error}): fetch or compress it again") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"cannot read {path}: {reason}; name a text file that you may read") from None


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


def _refuse_folder(error: OSError) -> None:
    raise CorpusError(f"cannot read the folder {error.filename}: {error.strerror}; name texts that you may read")


def _first_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"
