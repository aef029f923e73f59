"""Recognise files that are not plain text by their first bytes."""

from __future__ import annotations

import codecs

NAME_IT = "give it a name that ends in {}, or unpack it"
NAME_THE_TEXTS = "unpack it, and name the texts in it"
EXPORT = "export its text as a plain text file in UTF-8"
OTHER = "it holds no plain text: name a text file"

BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SIGNATURES = (  # where they begin, the bytes, file type, and what to do
    (0, b"\x1f\x8b", "gzip", NAME_IT.format(".gz")),
    (0, b"BZh", "bzip2", NAME_IT.format(".bz2")),
    (0, b"\xfd7zXZ\0", "xz", NAME_IT.format(".xz")),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard", NAME_IT.format(".zst")),
    (0, b"]\0\0", "lzma", NAME_IT.format(".lzma")),
    (0, b"\x1f\x9d", "a file of compress (.Z)", "unpack it"),
    (0, b"\x04\x22\x4d\x18", "lz4", "unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", NAME_THE_TEXTS),
    (0, b"Rar!\x1a\x07", "a rar archive", NAME_THE_TEXTS),
    (257, b"ustar", "a tar archive", NAME_THE_TEXTS),
    (0, b"%PDF-", "a PDF", EXPORT + ", for example with pdftotext"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.doc, .xls, .ppt)", EXPORT),
    (60, b"BOOKMOBI", "an e-book (.mobi)", EXPORT),
    (0, b"AT&TFORM", "a DjVu document", EXPORT),
    (0, b"SQLite format 3\0", "an SQLite database", EXPORT),
    (0, b"PAR1", "a Parquet file", EXPORT),
    (0, b"\x93NUMPY", "a NumPy array", OTHER),
    (0, b"\x89PNG\r\n", "a PNG picture", OTHER),
    (0, b"\xff\xd8\xff", "a JPEG picture", OTHER),
    (0, b"GIF8", "a GIF picture", OTHER),
    (0, b"II*\0", "a TIFF picture", OTHER),
    (0, b"MM\0*", "a TIFF picture", OTHER),
    (0, b"BM", "a BMP picture", OTHER),
    (0, b"RIFF", "sound, video or a picture (RIFF)", OTHER),
    (0, b"ID3", "sound (MP3)", OTHER),
    (0, b"\xff\xfb", "sound (MP3)", OTHER),
    (0, b"\xff\xf3", "sound (MP3)", OTHER),
    (0, b"OggS", "sound or video (Ogg)", OTHER),
    (0, b"fLaC", "sound (FLAC)", OTHER),
    (0, b"\x1aE\xdf\xa3", "video (Matroska)", OTHER),
    (4, b"ftyp", "video, sound or a picture (MP4, HEIC)", OTHER),
    (0, b"\x7fELF", "a program", OTHER),
    (0, b"MZ", "a program", OTHER),
    (0, b"\xcf\xfa\xed\xfe", "a program", OTHER),
    (0, b"\xca\xfe\xba\xbe", "a program", OTHER),
    (0, b"\0asm", "a program", OTHER),
    (0, b"wOF", "a font", OTHER),
    (0, b"\0\1\0\0\0", "a font", OTHER),
    (0, b"GGUF", "a model (GGUF)", OTHER),
    (0, b"\x80\x02", "a Python pickle", OTHER),
    (0, b"\x80\x04\x95", "a Python pickle", OTHER),
    (0, b"\x80\x05\x95", "a Python pickle", OTHER),
)
ZIP = b"PK\x03\x04"
ZIPPED = (  # what a zip archive holds early, and what it then is
    (b"mimetypeapplication/epub+zip", "a zip archive (an EPUB book)"),
    (b"mimetypeapplication/vnd.oasis.opendocument", "a zip archive (an OpenDocument file, such as .odt)"),
    (b"word/", "a zip archive (a .docx document)"),
    (b"[Content_Types].xml", "a zip archive (an Office document, such as .docx)"),
)
MOST_CONTROLS = 0.01  # of the bytes of a text
CONTROLS = bytes({*range(32), 127} - {*b"\t\n\v\f\r\x1b"})


def file_type(beginning: bytes) -> str | None:
    """The type of a file that is not UTF-8 text and begins with these bytes, and what to do; None if it may be text."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if beginning.startswith(mark):
            return f"{encoding.upper()}, not UTF-8: --encoding {encoding} reads it"
    if beginning.startswith(ZIP):
        kind = next((kind for mark, kind in ZIPPED if mark in beginning), None)
        return f"{kind}: {EXPORT}" if kind else f"a zip archive: {NAME_THE_TEXTS}"
    if beginning[8:10] == b'{"' and int.from_bytes(beginning[:8], "little") < 2**32:
        return f"a safetensors file: {OTHER}"
    for at, mark, kind, advice in SIGNATURES:
        if beginning.startswith(mark, at) and (not _may_begin_a_text(mark) or has_controls(beginning)):
            return f"{kind}: {advice}"
    return None


def _may_begin_a_text(mark: bytes) -> bool:
    """Whether a signature is a few letters, with which a text in some encoding may begin, too."""
    return len(mark) < 5 and mark.decode("latin-1").isprintable()


def has_controls(sample: bytes) -> bool:
    """Whether more than MOST_CONTROLS of the bytes are control characters, as in no 8-bit or UTF-8 text."""
    return len(sample) - len(sample.translate(None, CONTROLS)) > MOST_CONTROLS * len(sample)
