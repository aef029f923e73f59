"""Read files, folders, gzip or standard input as clean text, in pieces of bounded size."""

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
from typing import BinaryIO, TypeAlias

from charlm.corpus.file_types import file_type
from charlm.errors import CorpusError
from charlm.text.position import Position

STANDARD_INPUT = "-"
CHUNK = 2**18  # bytes read at a time; small enough that all arrays made of a chunk stay in the processor's cache
UNPACKED_RATIO, UNPACKED_EXTRA = 200, 2**20  # a .gz may unpack to so many times its size, and to so many bytes more

OnRead: TypeAlias = Callable[[int], object]
"""Is called after every read, with the number of bytes."""


class Text:
    """The clean text of one source, as non-empty strings. It is read while it is iterated, which can be done once.

    It is strict UTF-8; a byte order mark at the beginning is dropped, and line ends are folded to LF. Iteration raises
    CorpusError for a source that is not text or cannot be read whole. The attributes `had_bom`, `folded_line_ends`,
    `size` and `sha256` are valid after the last piece.
    """

    def __init__(self, path: str | Path, on_read: OnRead = lambda count: None) -> None:
        self.path = path
        self.source = "standard input" if path == STANDARD_INPUT else str(path)
        self.is_packed = path != STANDARD_INPUT and str(path).lower().endswith(".gz")
        self.had_bom = False  # a byte order mark
        self.folded_line_ends = 0  # how many CR and CRLF became LF
        self.size, self.sha256 = 0, ""  # of the source's bytes
        self.start = 0  # where it begins in a corpus of several texts, in characters
        self._on_read = on_read

    def __iter__(self) -> Iterator[str]:
        return self._folded(self._decoded(self._chunks()))

    def read_sha256(self) -> None:
        """Set `size` and `sha256` from the source's bytes, without decoding them."""
        for _ in self._chunks(unpack=False):
            pass

    def _chunks(self, unpack: bool = True) -> Iterator[bytes]:
        """The bytes of the source, unpacked; no chunk is empty."""
        with _source_errors(self.path), _opened(self.path) as file:
            raw = _HashingReader(file, self._on_read)
            if unpack and self.is_packed:
                yield from self._unpacked(raw, os.fstat(file.fileno()).st_size)
            else:
                yield from _read(raw)
            self.size, self.sha256 = raw.size, raw.sha256.hexdigest()

    def _unpacked(self, raw: _HashingReader, size: int) -> Iterator[bytes]:
        """The content of a gzip file. Raises CorpusError for a ratio that no text has: it packs to a few per cent."""
        unpacked = 0
        for chunk in chain(_read(gzip.GzipFile(fileobj=raw, mode="rb")), [b""]):
            if not raw.size:
                raise EOFError("it has 0 bytes")  # GzipFile accepts it as an empty text
            if not chunk:
                return
            unpacked += len(chunk)
            if unpacked > UNPACKED_EXTRA + UNPACKED_RATIO * max(size, raw.size):  # the size of a pipe is 0
                raise CorpusError(
                    f"{self.source} unpacks to more than {UNPACKED_RATIO} times its size, as no text does: if you "
                    "trust it, unpack it yourself and name the text file"
                )
            yield chunk

    def _decoded(self, chunks: Iterator[bytes]) -> Iterator[str]:
        """Decode strict UTF-8. After an error the rest is still read: errors of the whole file take precedence."""
        position, rest, nul_line = Position(), b"", 0
        kind: str | None = None
        for number, chunk in enumerate(chain(chunks, [b""])):
            data = rest + chunk
            kind = file_type(data) if number == 0 else kind
            try:
                text, used = codecs.utf_8_decode(data, "strict", not chunk)
            except UnicodeDecodeError as error:
                message = self._not_utf8(data, error.start, position, kind)
                for _ in chunks:
                    pass
                raise CorpusError(message) from None
            if "\0" in text and not nul_line:
                nul_line = position.after(text[: text.index("\0")]).line
            if text and not nul_line:
                yield text
            position, rest = position.after(text), data[used:]
        if nul_line:
            raise CorpusError(self._has_nul(nul_line, kind))

    def _has_nul(self, line: int, kind: str | None) -> str:
        if kind:
            return f"{self.source} is {kind}"
        return (
            f"{self.source}, line {line}: a NUL character: this is not UTF-8 text; remove it, or convert the file if "
            "it is UTF-16 (iconv -f UTF-16LE -t UTF-8)"
        )

    def _not_utf8(self, data: bytes, index: int, start: Position, kind: str | None) -> str:
        if kind:
            return f"{self.source} is {kind}"
        return (
            f"{self.source}, {start.after(data[:index].decode())}: byte 0x{data[index]:02x} is not UTF-8: "
            "convert the file, for example with iconv -f LATIN1 -t UTF-8"
        )

    def _folded(self, pieces: Iterator[str]) -> Iterator[str]:
        """Drop a byte order mark at the beginning, and replace every CRLF and CR by LF."""
        is_first, held = True, ""  # held: a CR at the end of a piece, which may be the first half of a CRLF
        for piece in pieces:
            if is_first and piece.startswith("\ufeff"):
                self.had_bom, piece = True, piece[1:]
            is_first, text = False, held + piece
            held = "\r" if text.endswith("\r") else ""
            text = text.removesuffix(held)
            if "\r" in text:
                self.folded_line_ends += text.count("\r")
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            if text:
                yield text
        if held:
            self.folded_line_ends += 1
            yield "\n"


def read_texts(sources: Sequence[str | Path], on_read: OnRead = lambda count: None) -> Iterator[Text]:
    """The texts of all sources in order; a folder gives one for each .txt and .txt.gz below it, sorted by path.

    Nothing is read before a text is iterated. on_read: is called after every read, with the number of bytes.
    Raises CorpusError for a folder that cannot be read or holds no text.
    """
    for source in sources:
        for path in _files_of(source):
            yield Text(path, on_read)


def clean_up_notes(texts: Sequence[Text]) -> tuple[str, ...]:
    """What the clean-up changed in texts that have been read: one sentence for each kind of change."""
    notes = []
    if with_bom := [text.source for text in texts if text.had_bom]:
        notes.append(f"{_first_of(with_bom)}: dropped the byte order mark")
    if folded := [text.source for text in texts if text.folded_line_ends]:
        count = sum(text.folded_line_ends for text in texts)
        notes.append(f"{_first_of(folded)}: folded {count:,} CR or CRLF line ends to LF")
    return tuple(notes)


def total_bytes(sources: Sequence[str | Path]) -> int | None:
    """The size of all sources together; None if one of them is not a regular file, or is missing."""
    total = 0
    try:
        for text in read_texts(sources):
            status = os.stat(text.path) if text.path != STANDARD_INPUT else None
            if status is None or not stat.S_ISREG(status.st_mode):
                return None
            total += status.st_size
    except (CorpusError, OSError):  # reading raises it again
        return None
    return total


class _HashingReader(io.RawIOBase):
    """Counts and hashes the bytes that are read from a file."""

    def __init__(self, file: BinaryIO, on_read: OnRead) -> None:
        super().__init__()
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._file = file
        self._on_read = on_read

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`."""
        data = self._file.read(size)
        self.size += len(data)
        self.sha256.update(data)
        self._on_read(len(data))
        return data


def _read(file: _HashingReader | gzip.GzipFile) -> Iterator[bytes]:
    """A file in chunks, up to the first short one: to read on would make a terminal wait for a second end of input."""
    length = CHUNK
    while length == CHUNK:
        chunk = file.read(CHUNK)
        length = len(chunk)
        if chunk:
            yield chunk


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a source. Raises CorpusError at the end of the `with` block if the file was changed meanwhile."""
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        before = os.fstat(file.fileno())
        if stat.S_ISCHR(before.st_mode) or stat.S_ISBLK(before.st_mode):  # /dev/zero has no end
            raise CorpusError(f"{path} is a device, not a text: name a file, or - for standard input")
        try:
            yield file
        except Exception:  # in a file that is being written, errors are to be expected
            _require_unchanged(path, before, os.fstat(file.fileno()))
            raise
        _require_unchanged(path, before, os.fstat(file.fileno()))


def _require_unchanged(path: str | Path, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) and stat.S_ISREG(before.st_mode):
        raise CorpusError(f"{path} was changed while it was read: wait until it is complete, and try again")


@contextmanager
def _source_errors(path: str | Path) -> Iterator[None]:
    """Raise CorpusError for an error of the whole file: it is missing, unreadable, or a damaged gzip file."""
    try:
        yield
    except FileNotFoundError:
        raise CorpusError(f"no such file: {path}; give a text file, a folder of .txt files, or - for input") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(f"{path} is not a whole gzip file ({error}): download or compress it again") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"cannot read {path}: {reason}; name a text file that you can read") from None


def _files_of(source: str | Path) -> list[str | Path]:
    if str(source) == STANDARD_INPUT:
        return [STANDARD_INPUT]
    path = Path(source)
    if not os.path.isdir(path):
        return [path]
    found = sorted(
        file
        for folder, _, names in os.walk(path, onerror=_refuse_folder)  # does not follow links to folders, so it ends
        for file in (Path(folder, name) for name in names)
        if file.name.lower().endswith((".txt", ".txt.gz"))
        and (os.path.isfile(file) or not os.path.exists(file))  # not a pipe: it would block
    )
    if not found:
        raise CorpusError(f"no .txt or .txt.gz file in the folder {path}: name the files, or put texts there")
    return list(found)


def _refuse_folder(error: OSError) -> None:
    raise CorpusError(f"cannot read the folder {error.filename}: {error.strerror}; name texts that you can read")


def _first_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"
