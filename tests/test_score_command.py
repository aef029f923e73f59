"""`charlm score`: what it lists, chooses and sorts, and what reaches a terminal."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pexpect
import pytest
from runs import charlm, charlm_command, environment, give_stdin, lanterns, run_to_end, trained_run

from charlm.cli.screen import columns_of, harmless
from charlm.config import TrainSpec
from charlm.corpus.reader import read_texts
from charlm.scoring.units import entries
from charlm.trained_model import load
from charlm.training.new_run import new_run

Capture = pytest.CaptureFixture[str]
LINES = ["The lantern burns all night.\n", "\n", "qxzj vvkw jjqz xxpq zzkj wvqq\n", "The harbour sleeps, qzx.\n"]
FIGURES = ["characters", "nats", "bits", "nats_per_char", "bits_per_char", "perplexity"]
HOSTILE = (
    "a plain line\n\x1b[2J\x1b]0;owned\x07 takes the screen\n\x9b31mred\x08\x08\x7f\n\u202eturned\u2028 round\ttab\n"
    + "漢字かな交じり文" * 20
    + "\n"
    + "e\u0301" * 100
    + "\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder with a text of good and bad lines, one of good lines, and an empty one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixed.txt").write_text("".join(LINES))
    (tmp_path / "good.txt").write_text("The lantern burns.\nThe harbour sleeps.\n")
    (tmp_path / "empty.txt").write_text("")
    return tmp_path


def records(capsys: Capture, *arguments: object) -> list[dict[str, Any]]:
    """The list, as JSON."""
    done = charlm(capsys, "score", trained_run(), *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    return [json.loads(line) for line in done.out.splitlines()]


def rows(capsys: Capture, *arguments: object) -> list[str]:
    """The list, as a table without its heading."""
    return charlm(capsys, "score", trained_run(), *arguments).out.split("\n")[1:-1]


def test_per(capsys: Capture) -> None:
    """Law: one object for every file, line or character, with its place, its text and its figures, and the same rows
    in the table.
    """
    files = records(capsys, "mixed.txt", "good.txt", "empty.txt", "--per", "file")
    assert [list(record) for record in files] == [["file", *FIGURES]] * 3
    assert [record["file"] for record in files] == ["mixed.txt", "good.txt", "empty.txt"]
    assert files[2]["bits_per_char"] is None and files[2]["characters"] == 0
    lines = records(capsys, "mixed.txt", "--per", "line")
    assert [list(record) for record in lines] == [["file", "line", "text", *FIGURES, "worst_bits_per_char"]] * 4
    assert [(record["line"], record["text"]) for record in lines] == list(enumerate(LINES, 1))
    characters = records(capsys, "mixed.txt", "--per", "char")
    assert [list(record) for record in characters[:2]] == [["file", "line", "column", "text", *FIGURES]] * 2
    assert "".join(record["text"] for record in characters) == "".join(LINES)
    assert rows(capsys, "mixed.txt", "--per", "line") == [
        f"{record['bits_per_char']:>10.3f}  mixed.txt:{record['line']}  {record['text'].removesuffix(chr(10))}"
        for record in lines
    ]
    assert rows(capsys, "mixed.txt", "empty.txt", "--per", "file") == [
        f"{files[0]['bits_per_char']:>10.3f}{files[0]['characters']:>13}  mixed.txt",
        f"{'-':>10}{0:>13}  empty.txt",
    ]
    assert rows(capsys, "good.txt", "--per", "char")[18].endswith(r"  good.txt:1:19  \n")


@pytest.mark.parametrize("by", ["mean", "worst"])
def test_chosen_and_sorted(by: str, capsys: Capture) -> None:
    """Law: --above and --below are strict, --sort puts the most surprising first, --top is its beginning; all by what
    --by says.
    """
    options = ("mixed.txt", "good.txt", "--per", "line", "--by", by)
    every = records(capsys, *options)
    name = "bits_per_char" if by == "mean" else "worst_bits_per_char"
    ordered = sorted(every, key=lambda record: -record[name])
    assert records(capsys, *options, "--sort") == ordered
    assert records(capsys, *options, "--top", 2) == ordered[:2]
    assert records(capsys, *options, "--top", 99) == ordered
    middle = ordered[2][name]
    assert records(capsys, *options, "--above", middle) == [record for record in every if record[name] > middle]
    assert records(capsys, *options, "--below", middle) == [record for record in every if record[name] < middle]
    both = ("--above", ordered[4][name], "--below", ordered[0][name], "--top", 2)
    assert records(capsys, *options, *both) == ordered[1:3]


def test_the_two_measures_differ(here: Path, capsys: Capture) -> None:
    """Law: by its worst characters a good line with a bad word comes before a line that is a little odd throughout; the
    table then has one more column.
    """
    (here / "two.txt").write_text(
        "The harbour sleeps all night, and the zqjzq lantern burns.\nmfgwcmpfgwmcfpgwmcfpgwmc\n"
    )
    spec = TrainSpec(batch=16, window=25, steps=150, evaluations=1, optimizer="sgd")  # so that it knows common words
    score = ("score", run_to_end(new_run(lanterns(), here / "run", spec, hidden=32), lanterns()).path, "two.txt")

    def listed(*options: str) -> list[dict[str, Any]]:
        return [json.loads(row) for row in charlm(capsys, *score, "--per", "line", "--json", *options).out.splitlines()]

    by_mean, by_worst = ([record["line"] for record in listed("--by", by, "--sort")] for by in ("mean", "worst"))
    assert (by_mean, by_worst) == ([2, 1], [1, 2])
    heading, first, *_ = charlm(capsys, *score, "--per", "line", "--by", "worst").out.splitlines()
    assert heading.split() == ["bits/char", "worst", "where"]
    figures = listed()[0]
    assert first.split()[:2] == [f"{figures[name]:.3f}" for name in ("bits_per_char", "worst_bits_per_char")]


@pytest.mark.parametrize("choice", [("--sort",), ("--top", "9")])
def test_equals_keep_their_order(choice: tuple[str, ...], here: Path, capsys: Capture) -> None:
    """Law: lines of the same score come in the order of the text."""
    (here / "same.txt").write_text("abc\nThe lantern\nabc\nThe lantern\nabc\n")
    for by in ("mean", "worst"):
        options = ("same.txt", "--per", "line", "--reset", "line", "--by", by, *choice)
        assert [record["line"] for record in records(capsys, *options)] == [1, 3, 5, 2, 4]


@pytest.mark.parametrize("reset", ["never", "file", "line"])
def test_reset_and_adapt(reset: str, capsys: Capture) -> None:
    """Law: the figures are the library's for the same choices, in all and per line."""
    texts = ("mixed.txt", "good.txt")
    adapt = 0.0 if reset == "line" else 0.2
    options = (*texts, "--reset", reset, *(("--adapt", adapt) if adapt else ()))
    expected = list(entries(load(trained_run()), read_texts(texts), "line", reset=reset, adapt=adapt))
    for record, entry in zip(records(capsys, *options, "--per", "line"), expected, strict=True):
        assert record["nats"] == entry.score.nats
        assert ("adapted" in record) == bool(adapt)
        if entry.adapted:
            assert list(record["adapted"]) == FIGURES and record["adapted"]["nats"] == entry.adapted.nats
    (total,) = records(capsys, *options)
    assert total["nats"] == pytest.approx(sum(entry.score.nats for entry in expected))
    shown = charlm(capsys, "score", trained_run(), *options).out
    assert ("by adapting" in shown) == bool(adapt)
    if adapt:
        heading = charlm(capsys, "score", trained_run(), *options, "--per", "line").out.splitlines()[0]
        assert heading.split() == ["bits/char", "adapting", "where"]


@pytest.mark.parametrize(
    "options",
    [
        *(
            "--top 3",
            "--sort",
            "--above 2",
            "--below 2",
            "--by worst",
            "--by worst --per file",
            "--by worst --per char",
        ),
        *("--per line --top 0", "--per line --above x", "--per line --adapt 0", "--per line --adapt -1", "--per word"),
        *("--per line --adapt nan", "--per line --adapt inf", "--reset line --adapt 0.1", "--reset never --per x"),
        *("--per line --above 4 --below 3", "--per line --above 3 --below 3", "--per line --above nan"),
        *("--per line --adapt 100", "--per line --adapt 2.01"),
    ],
)
def test_impossible_options(options: str, capsys: Capture) -> None:
    """Law: one clear line, nothing on stdout, exit code 2."""
    assert charlm(capsys, "score", trained_run(), "mixed.txt", *options.split()).is_clear_error(2)


def test_unknown_characters(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: one line on stderr, whatever is listed: how many characters, and the first kinds by name."""
    (here / "greek.txt").write_text("The λamp: λ, μ, ν and ξ\x1b.\n", encoding="utf-8")
    sentence = (
        "The model never saw 6 of these characters, and they cost much: "
        "'λ' (U+03BB), 'μ' (U+03BC), 'ν' (U+03BD) and 2 more kinds\n"
    )
    for options in ((), ("--json",), ("--per", "line"), ("--per", "char", "--top", "1"), ("--adapt", "0.1")):
        assert charlm(capsys, "score", trained_run(), "greek.txt", *options).err == sentence
    give_stdin(monkeypatch, (here / "greek.txt").read_bytes())
    assert charlm(capsys, "score", trained_run(), "good.txt", "-", "--per", "file").err == sentence
    assert charlm(capsys, "score", trained_run(), "good.txt").err == ""


@pytest.mark.parametrize("options", ["--per line --by worst --top 9 --reset line", "--per char", "--json --per line"])
def test_a_text_cannot_control_a_terminal(options: str, here: Path) -> None:
    """Law: no control character of a text reaches a terminal, and no row is wider than its 80 columns."""
    name = "a name that is so long that it leaves no room for anything else.log"
    (here / name).write_text(HOSTILE, encoding="utf-8")
    command = shlex.join(charlm_command("score", trained_run(), name, *options.split()))
    child = pexpect.spawn(
        command,
        cwd=str(here),
        env=environment(),
        dimensions=(24, 80),
        timeout=30,
        encoding="utf-8",
        codec_errors="strict",
    )
    child.expect(pexpect.EOF)
    child.close()
    shown = (child.before or "").replace("\r\n", "\n")
    assert child.exitstatus == 0 and all(line.isprintable() for line in shown.split("\n"))
    notes = ("The model never saw", f"{name}: ")
    table = [row for row in shown.split("\n") if not (row.startswith(notes) and "character" in row)]
    if "--json" in options:
        assert [json.loads(row)["text"] for row in filter(None, table)] == [
            f"{line}\n" for line in HOSTILE.split("\n")[:-1]
        ]
    else:
        assert all(sum(map(columns_of, row)) <= 80 for row in table)
        assert " …" in shown and "anything else.log:" in shown and (r"\x1b[2J" in shown or "char" in options)


def test_a_pipe_gets_whole_lines(here: Path, capsys: Capture) -> None:
    """Law: outside a terminal every line is whole, in one row, without control characters; JSON has the text itself."""
    (here / "hostile\x1b[2J.log").write_text(HOSTILE, encoding="utf-8")
    score = ("score", trained_run(), "hostile\x1b[2J.log", "--per", "line")
    shown = charlm(capsys, *score).out.split("\n")[1:-1]
    assert [row.partition(r"hostile\x1b[2J.log:")[2][3:] for row in shown] == list(
        map(harmless, HOSTILE.split("\n")[:-1])
    )
    assert all(row.isprintable() for row in shown)
    records = [json.loads(row) for row in charlm(capsys, *score, "--json").out.split("\n")[:-1]]
    assert "".join(record["text"] for record in records) == HOSTILE
