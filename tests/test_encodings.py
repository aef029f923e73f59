"""A file that is not UTF-8 is called by its name, with the option that reads it; and --encoding reads it."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import random
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import LANTERNS, few_examples

from charlm.corpus import reader
from charlm.corpus.corpus import read_corpus
from charlm.corpus.notes import clean_up_notes
from charlm.corpus.reader import Text
from charlm.errors import CorpusError, SpecError

GERMAN = "Größe und Überfluß: die alten Häuser für schöne Leute, während Mäuse über Straßen laufen.\n"
QUOTED = "It was “the best” of times, it was the worst of times — don’t you know?\n"
FRENCH = "Les élèves étaient déjà là; où était le garçon? Noël à la forêt, naïve, cœur.\n"
SPANISH = "En un lugar de la Mancha, cuyo nombre no quiero recordar, vivía un hidalgo. ¿Qué? ¡Año!\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n"
GREEK = "Όλες οι ευτυχισμένες οικογένειες μοιάζουν μεταξύ τους, κάθε δυστυχισμένη είναι διαφορετική.\n"
POLISH = "Zażółć gęślą jaźń. Pchnąć w tę łódź jeża lub ośm skrzyń fig. Mężny bądź, chroń pułk twój.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"
CHINESE = "道可道，非常道。名可名，非常名。无名天地之始；有名万物之母。\n"
WIDE = (GERMAN, RUSSIAN, JAPANESE, CHINESE, QUOTED)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def text_of(path: Path, encoding: str | None = None) -> str:
    return "".join(Text(path, encoding=encoding))


def refusal(path: Path, encoding: str | None = None) -> str:
    with pytest.raises(CorpusError) as raised:
        text_of(path, encoding)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


# --------------------------------------------------------------------------------------------------- the right advice


@pytest.mark.parametrize(
    ("text", "written", "named"),
    [
        (GERMAN, "latin-1", "windows-1252"),
        (GERMAN, "windows-1252", "windows-1252"),
        (QUOTED, "windows-1252", "windows-1252"),
        (FRENCH, "windows-1252", "windows-1252"),
        (SPANISH, "windows-1252", "windows-1252"),
        (RUSSIAN, "windows-1251", "windows-1251"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (RUSSIAN, "cp866", "cp866"),
        (GREEK, "windows-1253", "windows-1253"),
        (POLISH, "windows-1250", "windows-1250"),
        (GERMAN, "mac-roman", "mac-roman"),
        (JAPANESE, "shift-jis", "cp932"),
        ("".join(line + "\n" for line in JAPANESE.split("。")) * 12, "shift-jis", "cp932"),
        (JAPANESE, "euc-jp", "euc-jp"),
        (CHINESE, "gb2312", "gb18030"),
    ],
)
@pytest.mark.parametrize("before", ["", "The lantern burns.\n" * 20_000], ids=["early", "late"])
def test_the_encoding_is_guessed(text: str, written: str, named: str, before: str, tmp_path: Path) -> None:
    """Law: the message names an encoding, early or late in the file, and that one reads the text as it was."""
    path = write(tmp_path / "x.txt", (before + text * 5).encode(written))
    assert f"is not UTF-8: it is probably {named}" in refusal(path)
    assert f"--encoding {named} reads it" in refusal(path)
    assert text_of(path, named) == before + text * 5


def test_one_line_of_western_text_in_a_long_file(tmp_path: Path) -> None:
    """Law: windows-1252, however little there is to guess from."""
    for line in ("caf“é”", "h\xe9", "“"):
        path = write(tmp_path / "x.txt", LANTERNS.read_bytes() + line.encode("windows-1252") + b"\n")
        assert "--encoding windows-1252 reads it" in refusal(path)


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", WIDE)
def test_utf_16_and_utf_32(name: str, text: str, tmp_path: Path) -> None:
    """Law: with a mark and without, in every byte order, the message names the encoding that reads it."""
    family = name[:6]
    mark = getattr(codecs, f"BOM_{family.replace('-', '').upper()}_{name[-2:].upper()}")
    for data, named in ((text.encode(name) * 9, name), (mark + text.encode(name) * 9, family)):
        path = write(tmp_path / "x.txt", data)
        message = refusal(path)
        assert f"x.txt is {family.upper()}, not UTF-8" in message and message.endswith(f"--encoding {named} reads it")
        assert text_of(path, named) == text * 9


@pytest.mark.parametrize("ending", ["x.txt", "x.txt.gz", "x.txt.bz2", "x.txt.xz"])
def test_a_cut_last_character(ending: str, tmp_path: Path) -> None:
    """Law: UTF-8 whose last character is cut is said to be that, and is never called by another encoding."""
    for text, cut in ((GREEK + "😀", 3), (GREEK + "😀", 1), (JAPANESE[:-1], 1), ("plain\n€", 1)):
        data = (text * 3).encode()[:-cut]
        count = len(text[-1].encode()) - cut
        packed = {
            "x.txt": data,
            "x.txt.gz": gzip.compress(data),
            "x.txt.bz2": bz2.compress(data),
            "x.txt.xz": lzma.compress(data),
        }
        message = refusal(write(tmp_path / ending, packed[ending]))
        assert f"ends in the middle of a character: {count} byte" in message
        assert "the file is cut off: copy it again, or remove the last bytes" in message and "--encoding" not in message


def test_one_bad_byte_in_a_long_text(tmp_path: Path) -> None:
    """Law: a UTF-8 text that is damaged at one place is not called by another encoding; the place is named."""
    lines = [RUSSIAN] * 2000
    for number in (0, 1000, 1999):
        damaged = [line.encode() for line in lines]
        damaged[number] = damaged[number][:6] + b"\xff" + damaged[number][6:]
        message = refusal(write(tmp_path / "x.txt", b"".join(damaged)))
        assert f"x.txt, line {number + 1}, column 4: byte 0xff is not UTF-8: all around it is UTF-8" in message
        assert "--encoding" not in message


def test_surrogates_in_utf_8(tmp_path: Path) -> None:
    """Law: what Java and some databases write is called by its name."""
    for data in (b"ab \xed\xa0\xbd\xed\xb4\xa5", b"ab\xc0\x80cd"):
        assert "CESU-8 or modified UTF-8" in refusal(write(tmp_path / "x.txt", data))


def zipped(name: str, content: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as connection:
        connection.execute("create table texts (text)")
    connection.close()
    return (folder / "x.db").read_bytes()


NOISE = random.Random(0).randbytes(3000)
BINARIES = {
    "bzip2: give it a name that ends in .bz2": bz2.compress(NOISE),
    "xz: give it a name that ends in .xz": lzma.compress(NOISE),
    "Zstandard: give it a name that ends in .zst": b"\x28\xb5\x2f\xfd" + NOISE,
    "gzip: give it a name that ends in .gz": gzip.compress(NOISE),
    "a zip archive: unpack it": zipped("a.txt", "text"),
    "a zip archive (an EPUB book): export its text": zipped("mimetype", "application/epub+zip"),
    "a zip archive (an OpenDocument": zipped("mimetype", "application/vnd.oasis.opendocument.text"),
    "a zip archive (a .docx document)": zipped("word/document.xml", "<a/>"),
    "a 7z archive: unpack it": b"7z\xbc\xaf\x27\x1c\0\x04" + NOISE,
    "a rar archive: unpack it": b"Rar!\x1a\x07\0" + NOISE,
    "a PDF: export its text": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "an old Office document": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + NOISE,
    "a PNG picture": b"\x89PNG\r\n\x1a\n" + NOISE,
    "a JPEG picture": b"\xff\xd8\xff\xe0" + NOISE,
    "a GIF picture": b"GIF89a" + NOISE,
    "a program": b"\x7fELF\x02\x01\x01" + NOISE,
    "sound (MP3)": b"ID3\x04\0\0" + NOISE,
    "video, sound or a picture (MP4": b"\0\0\0\x20ftypisom" + NOISE,
    "a safetensors file": (60).to_bytes(8, "little") + b'{"__metadata__":{}}' + NOISE,
}


@pytest.mark.parametrize("words", BINARIES)
def test_a_binary_file(words: str, tmp_path: Path) -> None:
    """Law: it is called what it is, with what to do; no encoding is offered."""
    message = refusal(write(tmp_path / "x.txt", BINARIES[words]))
    assert f"x.txt is {words}" in message and "--encoding" not in message


def test_a_database(tmp_path: Path) -> None:
    """Law: the same for a real one."""
    assert "x.txt is an SQLite database: export its text" in refusal(write(tmp_path / "x.txt", database(tmp_path)))


def test_unknown_binary_data(tmp_path: Path) -> None:
    """Law: it is called binary data; a NUL in it is named by its line."""
    assert "binary data" in refusal(write(tmp_path / "x.txt", NOISE))
    assert "x.txt, line 2: a NUL character" in refusal(write(tmp_path / "x.txt", b"ab\ncd\0ef"))


def test_a_text_may_begin_as_a_binary_file_does(tmp_path: Path) -> None:
    """Law: a few letters at the beginning do not make a text a picture."""
    for start in ("BM", "MZ", "GIF8", "ID3", "RIFF", "PAR1"):
        assert "--encoding windows-1252" in refusal(write(tmp_path / "x.txt", (start + GERMAN * 3).encode("cp1252")))
        assert text_of(write(tmp_path / "x.txt", (start + GERMAN).encode())) == start + GERMAN


# ------------------------------------------------------------------------------------------------------- --encoding


@few_examples
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff\ufffd"), min_size=1),
    chunk=st.integers(2, 9),
)
@pytest.mark.parametrize("name", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "gb18030", "utf-7"])
def test_a_text_is_read_as_it_was(name: str, text: str, chunk: int, tmp_path: Path) -> None:
    """Law: in every encoding of all characters, whatever the pieces; the byte order mark is no character."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "CHUNK", chunk)
        assert text_of(write(tmp_path / "x.txt", text.encode(name)), name) == text
        assert text_of(write(tmp_path / "x.txt.gz", gzip.compress(text.encode(name))), name) == text


@few_examples
@given(data=st.binary(max_size=40), chunk=st.integers(2, 9))
@pytest.mark.parametrize("name", ["windows-1252", "shift-jis", "utf-16-le", "utf-7", "iso2022-jp", "ascii"])
def test_errors_do_not_depend_on_the_pieces(name: str, data: bytes, chunk: int, tmp_path: Path) -> None:
    """Law: strict decoding refuses what Python's refuses, with one message."""
    path, found = write(tmp_path / "x.txt", data), []
    try:
        expected = data.decode(name)
        expected.encode()
    except UnicodeError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        for size in (reader.CHUNK, chunk):
            patch.setattr(reader, "CHUNK", size)
            try:
                found.append((text_of(path, name), ""))
            except CorpusError as error:
                found.append(("", "" if name == "utf-7" else str(error)))  # its errors are found a piece at a time
    assert found[0] == found[1]
    if expected is None or "\0" in expected:
        assert found[0][0] == ""
    else:
        assert found[0][0] == expected.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def test_another_encoding_than_the_text_has(tmp_path: Path) -> None:
    """Law: line, column and byte, and that the file is UTF-8 if it is; never another encoding than was asked for."""
    path = write(tmp_path / "x.txt", b"ab\nc\x81\n")
    assert "x.txt, line 2, column 2: byte 0x81 is not windows-1252" in refusal(path, "windows-1252")
    path = write(tmp_path / "x.txt", GREEK.encode())
    assert "the file is UTF-8: leave out --encoding" in refusal(path, "ascii")
    path = write(tmp_path / "x.txt", "abc€".encode("utf-16")[:-1])
    assert "line 1, column 4: the text ends in the middle of a character: 1 byte" in refusal(path, "utf-16")


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("windows-1253x", "windows-1253"),
        ("latin_l", "latin-1"),
        ("utf8x", "utf-8"),
        *((name, "") for name in ("rot13", "hex", "base64", "idna", "punycode", "unicode_escape", "undefined", "zlib")),
        *((name, "") for name in ("", "\0", "\udcff", "x" * 5000, "../x", "os", "klingon")),
    ],
)
def test_no_encoding(name: str, close: str, tmp_path: Path) -> None:
    """Law: what is no character encoding is refused in one line, with names that are nearly it, and nothing is read."""
    with pytest.raises(SpecError) as raised:
        read_corpus(tmp_path / "missing.txt", encoding=name)
    assert len(str(raised.value).splitlines()) == 1 and len(str(raised.value)) < 400
    assert close in str(raised.value)
    if not close:
        assert "windows-1252, utf-16 and shift-jis" in str(raised.value)


# ------------------------------------------------------------------------------------------------------------- notes


@pytest.mark.parametrize("in_memory", [2**24, 0])
def test_notes(in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: C1 controls and U+FFFD are counted, a next line (U+0085) is none; read, encoded now or found again."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("charlm.corpus.corpus.IN_MEMORY", in_memory)
    spoiled = (QUOTED * 3).encode("windows-1252").decode("latin-1") + "\x85 a\ufffdb\ufffd\n"
    path = write(tmp_path / "x.txt", spoiled.encode())
    controls = sum("\x80" <= character < "\xa0" for character in spoiled) - 1
    text = Text(path)
    list(text)
    for notes in (clean_up_notes([text]), read_corpus(path).notes, read_corpus(path).notes):
        assert notes[0].startswith(
            f"{path}: {controls} C1 control characters: was this windows-1252 decoded as latin-1"
        )
        assert notes[1].startswith(f"{path}: 2 replacement characters (U+FFFD)") and len(notes) == 2
    path = write(tmp_path / "y.txt", QUOTED.encode("windows-1252"))
    (note,) = read_corpus(path, encoding="latin-1").notes
    assert "use --encoding windows-1252 in place of iso8859-1" in note
    assert read_corpus(path, encoding="windows-1252").notes == () == read_corpus(path, encoding="windows-1252").notes


@pytest.mark.parametrize("in_memory", [2**24, 0])
def test_utf_8_that_was_read_in_another_encoding(
    in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: 8-bit encodings read nearly everything, so it is said; ids of one encoding are not those of another."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("charlm.corpus.corpus.IN_MEMORY", in_memory)
    path = write(tmp_path / "x.txt", GERMAN.encode())
    for _ in range(2):
        for encoding, text in (("cp437", GERMAN.encode().decode("cp437")), ("utf-8", GERMAN)):
            corpus = read_corpus(path, encoding=encoding)
            assert corpus.vocabulary.decode(corpus.ids) == text
            assert [("is UTF-8, too" in note) for note in corpus.notes] == [True] * (encoding == "cp437")
