"""Whatever fails while a file is replaced, it is the old one or the new one, whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from runs import Faults

from charlm.arrays import NamedArrays
from charlm.errors import StorageError
from charlm.files.atomic import TEMPORARY_FILES, StagedFile, append, write_atomic
from charlm.nn.model import ModelSpec
from charlm.runs.checkpoint import Checkpoint, save_checkpoint
from charlm.runs.run import Run
from charlm.text.vocabulary import Vocabulary

OLD, NEW = b"old " * 1000, b"new, and longer " * 1000
MANY = 60  # more calls than one save makes


def checkpoint(value: float) -> Checkpoint:
    params = NamedArrays(ModelSpec(4, 2).shapes)
    params.flat[:] = value
    return Checkpoint(ModelSpec(4, 2), Vocabulary("abc"), params)


def save_bytes(path: Path, new: bool) -> None:
    write_atomic(path, NEW if new else OLD)


def save_a_checkpoint(path: Path, new: bool) -> None:
    save_checkpoint(path, checkpoint(float(new)))


def save_a_config(path: Path, new: bool) -> None:
    Run(path.parent, {"new": new}).save_config()


@pytest.mark.parametrize(
    ("name", "save"), [("x.bin", save_bytes), ("x.safetensors", save_a_checkpoint), ("config.json", save_a_config)]
)
@pytest.mark.parametrize("had_old", [True, False])
def test_any_call_that_fails_leaves_the_old_file_and_no_other(
    name: str, save: Callable[[Path, bool], None], had_old: bool, tmp_path: Path
) -> None:
    """Law: after a failed save the file is the old one; if only the sync of the folder failed, old or new."""
    path, whole = tmp_path / name, tmp_path / "whole"
    whole.mkdir()
    save(whole / name, True)
    new = (whole / name).read_bytes()
    (whole / name).unlink()
    whole.rmdir()

    reached = set()
    for nth in range(1, MANY):
        path.unlink(missing_ok=True)
        if had_old:
            save(path, False)
        before = path.read_bytes() if had_old else None
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, nth)
            try:
                save(path, True)
                error = None
            except StorageError as raised:
                error = raised
        after = path.read_bytes() if path.exists() else None
        assert [file.name for file in tmp_path.iterdir()] == [name] * (after is not None)
        if not faults.happened:
            assert error is None and after == new
            break
        reached.add(faults.failed_call)
        assert error is not None and str(path) in str(error) and "\n" not in str(error)
        assert after == before or (after == new and "os.replace" in faults.calls[: nth - 1])
    else:
        pytest.fail("every call failed")
    assert reached >= {"open", "write", "flush", "os.fsync", "os.replace", "os.open"}


def test_the_data_are_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the file is synced, then renamed, then the folder is synced; at the rename the new file is complete."""
    sizes: list[int] = []
    rename = os.replace

    def measured_rename(a: str | Path, b: str | Path) -> None:
        sizes.append(Path(a).stat().st_size)
        rename(a, b)

    monkeypatch.setattr(os, "replace", measured_rename)
    calls = Faults(monkeypatch).calls
    write_atomic(tmp_path / "x", NEW)
    assert sizes == [len(NEW)]
    renamed = calls.index("os.replace")
    assert "os.fsync" in calls[calls.index("flush") : renamed]
    assert "os.fsync" in calls[renamed:]


@pytest.mark.parametrize("nth", [2, 3, 4])
def test_an_interrupt_leaves_no_temporary_file(nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: after Ctrl-C there is the old file, and no other."""
    write_atomic(tmp_path / "x", OLD)
    Faults(monkeypatch, nth, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", NEW)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == OLD


def test_a_staged_file_that_is_committed(tmp_path: Path) -> None:
    """Law: it is written and read under a temporary name that the pattern matches; then it has its final name."""
    (tmp_path / "x").write_bytes(OLD)
    with StagedFile(tmp_path, "any") as staged:
        staged.file.write(NEW)
        staged.file.seek(0)
        assert staged.file.read() == NEW
        (temporary,) = tmp_path.glob(TEMPORARY_FILES)
        assert (tmp_path / "x").read_bytes() == OLD
        staged.commit(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == NEW and not temporary.exists()


@pytest.mark.parametrize("error", [None, OSError, KeyboardInterrupt])
def test_a_staged_file_that_is_not_committed(error: type[BaseException] | None, tmp_path: Path) -> None:
    """Law: the file is removed, however the block ends."""
    with suppress(*([error] if error else [])), StagedFile(tmp_path, "any") as staged:
        staged.file.write(NEW)
        if error:
            raise error
    assert staged.file.closed and not list(tmp_path.iterdir())


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_append_never_harms_what_was_there(nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: after a failed append the file still begins with the old content."""
    path = tmp_path / "x"
    append(path, b"one\n")
    Faults(monkeypatch, nth)
    with pytest.raises(StorageError, match="No space left"):
        append(path, b"two\n")
    assert path.read_bytes().startswith(b"one\n")
    assert len(path.read_bytes()) <= len(b"one\ntwo\n")


def test_a_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    """Law: a StorageError of one line."""
    (tmp_path / "file").write_bytes(b"")
    for folder in ("gone", "file"):
        for save in (write_atomic, append):
            with pytest.raises(StorageError) as raised:
                save(tmp_path / folder / "x", NEW)
            assert "\n" not in str(raised.value)


def test_a_read_only_folder(tmp_path: Path) -> None:
    """Law: refused in one line; the old file is unchanged."""
    write_atomic(tmp_path / "x", OLD)
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user can write everywhere")
        with pytest.raises(StorageError) as raised:
            write_atomic(tmp_path / "x", NEW)
    finally:
        tmp_path.chmod(0o700)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "x").read_bytes() == OLD
