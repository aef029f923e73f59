"""Whatever is in a file that charlm opens: one of its own exceptions, soon and at little memory, or it is of use."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hostile_files import (
    HOSTILE,
    Tensors,
    changed_checkpoint,
    changed_text,
    checkpoint_parts,
    forged,
    header_of,
    nested,
    safetensors_file,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import (
    LANTERNS,
    bits_of,
    charlm,
    charlm_process,
    copy_of_trained_run,
    lanterns,
    run_to_end,
    short_corpus,
    some_checkpoint,
    tiny_run,
    trained_run,
)

from charlm import TrainSpec, change_budget, load, plot, resume_notes, summary, train
from charlm.errors import CharlmError, CheckpointError, DivergenceError, RunError, SpecError, StorageError
from charlm.journal import Tally
from charlm.nn.arrays import NamedArrays
from charlm.nn.model import MOST_CHARACTERS, ModelSpec
from charlm.store.checkpoint import MOST_HEADER, Checkpoint, load_checkpoint, save_checkpoint
from charlm.store.run import MOST_CONFIG, MOST_METRICS, Run, newest_run
from charlm.store.strict_json import MOST_VALUES
from charlm.text.vocabulary import Vocabulary

Capture = pytest.CaptureFixture[str]
SECONDS, MEGABYTES = 2.0, 100  # that opening a file may take; the memory, beyond the file's size
DEEP = 100_000
SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """What is written here need not outlive the machine, and is written hundreds of times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def put(path: Path, data: bytes) -> None:
    """Write a file, as a new one: to cut one off and write it again waits for the disk on many systems."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@contextmanager
def soon() -> Iterator[None]:
    """No longer than it may take, of a processor's time: the machine may be busy. What waits for ever is woken up."""

    def wake(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits for ever")

    before = signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
    start = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - start < SECONDS


def is_short_line(message: str) -> bool:
    """Whether a message is one line that a person reads, with nothing in it that a terminal obeys."""
    return message.isprintable() and 20 < len(message) < 1000


def refusal(kind: type[CharlmError], call: Callable[..., object], *arguments: Any) -> str:
    """What charlm says instead of opening a file."""
    with soon(), pytest.raises(kind) as raised:
        call(*arguments)
    assert is_short_line(str(raised.value)), str(raised.value)[:1500]
    return str(raised.value)


def refused_or(call: Callable[..., object], *arguments: Any) -> bool:
    """Whether a call comes to its end; otherwise it must have been refused as it should be."""
    try:
        with soon():
            call(*arguments)
    except CharlmError as error:
        assert is_short_line(str(error)), str(error)[:1500]
        return False
    return True


def use(path: Path) -> None:
    """All that a checkpoint is good for."""
    model = load(path)
    list(model.sample(length=3, rng_seed=0))
    model.score(model.vocabulary.characters[:5])


def use_run(path: Path) -> None:
    """All that a run is good for, but a picture."""
    run = Run.open(path)
    summary(run)
    assert all(map(is_short_line, resume_notes(run)))
    assert all(isinstance(source, str) for source in run.sources)
    training = train(run, lanterns())
    next(training, None)
    training.close()
    change_budget(run, steps=10**6)
    list(load(path).sample(length=3, rng_seed=0))


def metrics_of(path: Path) -> list[dict[str, Any]]:
    return Run.open(path).metrics()


def summary_of(path: Path) -> dict[str, Any]:
    return summary(Run.open(path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint as training writes it, small, with an optimizer's memory and a state."""
    folder = tmp_path_factory.mktemp("whole")
    corpus = short_corpus(folder)
    run = tiny_run(folder / "run", corpus, TrainSpec(batch=2, window=5, steps=3, optimizer="adam"))
    return run_to_end(run, corpus).last_path.read_bytes()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with something left to train, to be broken."""
    path = copy_of_trained_run(tmp_path / "run")
    config = json.loads((path / "config.json").read_bytes())
    config["training"]["steps"] += 5
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


# ----------------------------------------------------------------------------------------------- a checkpoint's bytes


def test_cut_at_every_64th_byte(whole: bytes, file: Path) -> None:
    """Law: no proper beginning of a checkpoint is a checkpoint."""
    for length in sorted({*range(0, len(whole), 64), *range(17), len(whole) - 1}):
        put(file, whole[:length])
        refusal(CheckpointError, load_checkpoint, file)
    put(file, whole)
    load_checkpoint(file)


def regions(data: bytes) -> dict[str, tuple[int, int]]:
    """Where the parts of a checkpoint begin and end: its length, its head, its metadata, and each of its tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = data.index(b'"__metadata__"')
    found = {"length": (0, 8), "header": (8, end), "metadata": (metadata, data.index(b"}", metadata))}
    for name in header.keys() - {"__metadata__"}:
        start, stop = header[name]["data_offsets"]
        found[name] = (end + start, end + stop)
    assert max(stop for _, stop in found.values()) == len(data)
    return found


def test_a_flip_in_every_region(whole: bytes, file: Path) -> None:
    """Law: whichever bit is flipped, the file is refused, or holds exactly what was saved."""
    put(file, whole)
    saved, rng = bits_of(load_checkpoint(file)), Random(1)
    for start, stop in regions(whole).values():
        places = {start, stop - 1, *(rng.randrange(start, stop) for _ in range(8))}
        for place in places if stop - start > 8 else range(start, stop):
            changed = bytearray(whole)
            changed[place] ^= 1 << rng.randrange(8)
            put(file, changed)
            refused_or(check_bits, file, saved)


def check_bits(file: Path, saved: dict[str, Any]) -> None:
    """Load a checkpoint, which must be the one that was saved."""
    assert bits_of(load_checkpoint(file)) == saved


@settings(max_examples=60)
@given(SEEDS, st.sampled_from(["zeros", "moved", "doubled", "dropped", "noise", "turned round"]))
def test_whole_pieces_are_changed(whole: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int, how: str) -> None:
    """Law: the same for pieces of up to a few hundred bytes, as a broken disk or transfer leaves them."""
    rng, file = Random(seed), tmp_path_factory.getbasetemp() / "pieces.safetensors"
    start = rng.randrange(len(whole))
    stop = min(len(whole), start + rng.randrange(1, 600))
    before, piece, after = whole[:start], whole[start:stop], whole[stop:]
    other = {
        "zeros": bytes(len(piece)),
        "moved": whole[-len(piece) :],
        "doubled": piece * 2,
        "dropped": b"",
        "noise": rng.randbytes(len(piece)),
        "turned round": piece[::-1],
    }
    put(file, whole)
    saved = bits_of(load_checkpoint(file))
    put(file, before + other[how] + after)
    refused_or(check_bits, file, saved)


# ---------------------------------------------------------------------------------- a checkpoint's header, made by hand


def entry(kind: str = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


def with_entry(name: str, **changes: Any) -> Callable[[dict[str, Any]], Any]:
    """One tensor of the header said to be something else."""
    return lambda header: header | {name: header[name] | changes}


B = "params/readout.b"  # (4,) in `some_checkpoint`
HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "huge shape": with_entry(B, shape=[10**12]),
    "shape beyond the machine's words": with_entry(B, shape=[2**64]),
    "shape with as many bytes, by overflow": with_entry(B, shape=[2**62, 4, 2**2]),
    "negative shape": with_entry(B, shape=[-4]),
    "shape of numbers with a point": with_entry(B, shape=[4.0]),
    "shape of true": with_entry(B, shape=[True, 4]),
    "shape is no list": with_entry(B, shape=4),
    "shape is null": with_entry(B, shape=None),
    "more dimensions than arrays have": with_entry(B, shape=[1] * 70 + [4]),
    "very many dimensions": with_entry(B, shape=[1] * DEEP + [4]),
    "nothing, of huge size": with_entry(B, shape=[0, 2**62]),
    "offsets overlap": lambda header: with_entry(B, data_offsets=header["state/0"]["data_offsets"])(header),
    "offsets beyond the end": with_entry(B, data_offsets=[10**9, 10**9 + 16]),
    "offsets turned round": with_entry(B, data_offsets=[16, 0]),
    "negative offsets": with_entry(B, data_offsets=[-16, 0]),
    "offsets of strings": with_entry(B, data_offsets=["0", "16"]),
    "offsets missing": lambda header: header | {B: {"dtype": "F32", "shape": [4]}},
    "type missing": lambda header: header | {B: {"shape": [4], "data_offsets": [0, 16]}},
    "type is a list": with_entry(B, dtype=["F32"]),
    "tensor is null": lambda header: header | {B: None},
    "tensor is a string": lambda header: header | {B: "F32"},
    "tensor of no size": lambda header: header | {"optimizer/x": entry("F32", [0], [0, 0])},
    "name missing": lambda header: {name: value for name, value in header.items() if name != B},
    "name with a zero": lambda header: {name.replace(B, B + "\0"): value for name, value in header.items()},
    "name of a line": lambda header: {name.replace(B, "a\nb\x1b[2J"): value for name, value in header.items()},
    "name very long": lambda header: {name.replace(B, "params/" + "b" * DEEP): value for name, value in header.items()},
    "only metadata": lambda header: {"__metadata__": header["__metadata__"]},
    "no metadata": lambda header: {name: value for name, value in header.items() if name != "__metadata__"},
    "metadata is null": lambda header: header | {"__metadata__": None},
    "metadata is a list": lambda header: header | {"__metadata__": ["charlm"]},
    "metadata of numbers": lambda header: header | {"__metadata__": {"charlm": 1}},
    "metadata of an object": lambda header: header | {"__metadata__": {"charlm": {"format": 1}}},
    "head is empty": lambda header: header | {"__metadata__": {"charlm": ""}},
    "head is a list": lambda header: header | {"__metadata__": {"charlm": "[1]"}},
    "head is nested": lambda header: header | {"__metadata__": {"charlm": "[" * DEEP}},
    "head with a key twice": lambda header: (
        header | {"__metadata__": {"charlm": header["__metadata__"]["charlm"].replace("{", '{"format": 1, ', 1)}}
    ),
    "a list": lambda header: list(header),
    "a string": lambda header: "__metadata__",
    "null": lambda header: None,
    "pairs": lambda header: [[name, value] for name, value in header.items()],
    "nested": lambda header: b"[" * DEEP,
    "nested objects": lambda header: b'{"a":' * DEEP,
    "a tensor twice": lambda header: json.dumps(header).replace("{", f'{{"{B}": {json.dumps(entry())}, ', 1).encode(),
    "a tensor twice, alike": lambda header: (
        json.dumps(header).replace("{", f'{{"{B}": {json.dumps(header[B])}, ', 1).encode()
    ),
    "metadata twice": lambda header: json.dumps(header).replace("{", '{"__metadata__": {"charlm": "{}"}, ', 1).encode(),
    "a key of it twice": lambda header: (
        json.dumps(header).replace('{"charlm"', '{"charlm": "{}", "charlm"', 1).encode()
    ),
    "not UTF-8": lambda header: json.dumps(header).encode().replace(b"readout", b"read\xffut"),
    "UTF-16": lambda header: json.dumps(header).encode("utf-16-le"),
    "a byte order mark": lambda header: b"\xef\xbb\xbf" + json.dumps(header).encode(),
    "NaN": lambda header: json.dumps(header).replace("[4]", "[NaN]").encode(),
    "a second value": lambda header: json.dumps(header).encode() + b"{}",
}
KINDS = [
    "F64",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U32",
    "U16",
    "U8",
    "BOOL",
    "C64",
    "F8_E5M2",
    "F8_E4M3",
    "F8_E8M0",
    "F4",
    "F6_E2M3",
    "F128",
    "f32",
]


def parts_of_some_checkpoint(file: Path) -> tuple[dict[str, Any], Tensors]:
    save_checkpoint(file, some_checkpoint())
    return checkpoint_parts(file.read_bytes())


def header_and_body(file: Path) -> tuple[dict[str, Any], bytes]:
    """Of a checkpoint that is whole as long as nothing is changed."""
    head, tensors = parts_of_some_checkpoint(file)
    header = {"__metadata__": {"charlm": json.dumps(head)}} | header_of(tensors)
    body = b"".join(array.tobytes() for array in tensors.values())
    put(file, safetensors_file(header, body))
    load_checkpoint(file)
    return header, body


@pytest.mark.parametrize("change", HEADERS)
def test_headers_that_are_wrong(change: str, file: Path) -> None:
    """Law: refused, though all the rest is in order."""
    header, body = header_and_body(file)
    put(file, safetensors_file(HEADERS[change](header), body))
    refusal(CheckpointError, load_checkpoint, file)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_another_type(kind: str, file: Path) -> None:
    """Law: refused, whether safetensors and NumPy know that type or not, in charlm's file and in a foreign one."""
    header, body = header_and_body(file)
    put(file, safetensors_file(with_entry(B, dtype=kind)(header), body))
    refusal(CheckpointError, load_checkpoint, file)
    for metadata in ({}, {"format": "pt"}, {"charlm": "{}"}):
        put(file, safetensors_file({"__metadata__": metadata, "weight": entry(kind)}, bytes(16)))
        refusal(CheckpointError, load_checkpoint, file)


@pytest.mark.parametrize("length", [0, 1, 8, MOST_HEADER - 1, MOST_HEADER, MOST_HEADER + 1, 2**31, 2**63, 2**64 - 1])
def test_lengths_of_a_header_that_are_wrong(length: int, whole: bytes, file: Path) -> None:
    """Law: refused, without a header of that length in memory."""
    put(file, length.to_bytes(8, "little") + whole[8:])
    assert peak_megabytes(refusal, CheckpointError, load_checkpoint, file) < MOST_HEADER / 1e6 + 1


def test_the_largest_header_there_can_be(file: Path) -> None:
    """Law: what may be trained can be saved and loaded: the most layers and the most characters together."""
    spec = ModelSpec(MOST_CHARACTERS, hidden=1, layers=1000)
    vocabulary = Vocabulary("".join(map(chr, range(0x10000, 0x10000 + MOST_CHARACTERS))))
    params = NamedArrays(spec.shapes)
    memory = {
        f"{kind}.{name}": array for kind in ("square", "mean") for name, array in params.items() if array.size < 9
    }
    state = (np.zeros((1, 1), np.float32),) * spec.layers
    save_checkpoint(file, Checkpoint(spec, vocabulary, params, memory, state))
    assert load_checkpoint(file).vocabulary == vocabulary
    with pytest.raises(SpecError):
        ModelSpec(MOST_CHARACTERS + 1, hidden=1)


def test_a_foreign_file_of_many_gigabytes(file: Path) -> None:
    """Law: what charlm did not write is seen before its tensors are read."""
    size = 2**36
    for metadata in (None, {"format": "pt"}):
        header = {"model.weight": entry("F32", [size // 4], [0, size])}
        put(file, safetensors_file(header | ({"__metadata__": metadata} if metadata else {})))
        os.truncate(file, file.stat().st_size + size)  # holes: there is no such disk here
        assert peak_megabytes(refusal, CheckpointError, load_checkpoint, file) < 1


def test_a_tensor_of_many_gigabytes(file: Path) -> None:
    """Law: in a file of charlm's, what its model has no place for is seen before it is read, too."""
    header, body = header_and_body(file)
    size = 2**36
    for name in (B, "optimizer/x", "optimizer/velocity.readout.b", "x", "params/x"):
        big = header | {name: entry("F32", [size // 4], [len(body), len(body) + size])}
        put(file, safetensors_file(big, body))
        os.truncate(file, file.stat().st_size + size)
        assert peak_megabytes(refusal, CheckpointError, load_checkpoint, file) < 1


# ----------------------------------------------------------------------------------- a checkpoint's lies, checksummed


def model_of(**changes: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head["model"].update(changes)


def head_of(**changes: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head.update(changes)


def tensor_of(name: str, array: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: tensors.update({name: np.asarray(array)})


ONES = np.ones(4, np.float32)
LIES: dict[str, Callable[[dict[str, Any], Tensors], object]] = {
    **{f"format {value!r:.20}": head_of(format=value) for value in (0, 2, 99, 10**400, -1, 1.5, "1", None, [1] * 999)},
    **{
        f"no {key}": lambda head, tensors, key=key: head.pop(key)
        for key in ("format", "model", "vocabulary", "progress")
    },  # type: ignore[misc]
    "model of pairs": head_of(model=[["vocabulary", 4]]),
    "model of a list": head_of(model=[]),
    "hidden a thousand million": model_of(hidden=10**9),
    "hidden beyond all": model_of(hidden=10**4000),
    "hidden 3.0": model_of(hidden=3.0),
    "hidden true": model_of(hidden=True),
    "hidden 0": model_of(hidden=0),
    "hidden of a string": model_of(hidden="3"),
    "a million layers": model_of(layers=10**6),
    "embedding negative": model_of(embedding=-1),
    "embedding huge": model_of(embedding=10**9),
    "vocabulary size huge": model_of(vocabulary=10**9),
    "no vocabulary size": lambda head, tensors: head["model"].pop("vocabulary"),
    "cell of another kind": model_of(cell="qrnn"),
    "cell of a list": model_of(cell=[]),
    "cell very long": model_of(cell="x" * 10**5),
    "cell lstm": model_of(cell="lstm"),
    "tied": model_of(tied=True),
    "tied of 1": model_of(tied=1),
    "residual of a list": model_of(residual=[[]]),
    "residual deep": model_of(residual=nested(90)),
    "bidirectional": model_of(bidirectional=True),
    "bidirectional 5": model_of(bidirectional=5),
    "bidirectional -1": model_of(bidirectional=-1),
    "bidirectional 0": model_of(bidirectional=0),
    "an unknown size of two lines": model_of(**{"a\nb\x1b[2J": 1}),
    "an unknown size, very long": model_of(**{"a" * 10**5: 1}),
    "vocabulary with one character twice": head_of(vocabulary="aabc"),
    "vocabulary with half of a pair": head_of(vocabulary="abc\ud800"),
    "vocabulary with a byte that was none": head_of(vocabulary="abc\udcff"),
    "vocabulary empty": head_of(vocabulary=""),
    "vocabulary too long": head_of(vocabulary="abcde"),
    "vocabulary of a list": head_of(vocabulary=list("abcd")),
    "vocabulary of an object": head_of(vocabulary=dict.fromkeys("abcd")),
    "vocabulary of a number": head_of(vocabulary=4),
    "progress of a list": head_of(progress=[]),
    "progress of pairs": head_of(progress=[["step", 1]]),
    "progress of null": head_of(progress=None),
    **{
        f"step {value!r:.20}": lambda head, tensors, value=value: head["progress"].update(step=value)  # type: ignore[misc]
        for value in (-1, 2**63, 10**4000, 1.5, 1e300, True, None, "1", [0] * 999, {})
    },
    "a value deep": head_of(x=nested(150)),
    "a value very deep": head_of(x=nested(900)),
    "no parameters": lambda head, tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("params/")],
    "a parameter less": lambda head, tensors: tensors.pop(B),
    "a parameter more": tensor_of("params/x", ONES),
    "a parameter of another shape": tensor_of(B, np.ones((2, 2), np.float32)),
    "a parameter of one dimension more": tensor_of(B, ONES[None]),
    "a parameter empty": tensor_of(B, ONES[:0]),
    "a parameter of float64": tensor_of(B, [1e300] * 4),
    "a parameter of float16": tensor_of(B, ONES.astype(np.float16)),
    "a parameter of int32": tensor_of(B, ONES.astype(np.int32)),
    "a parameter of truths": tensor_of(B, ONES.astype(bool)),
    **{
        f"{name} of {value}": tensor_of(name, np.full(shape, value, np.float32))
        for value in (math.nan, math.inf, -math.inf)
        for name, shape in ((B, 4), ("state/0", (2, 3)), ("optimizer/velocity.readout.b", 4))
    },
    "a count that is no number": tensor_of("optimizer/updates", [math.nan]),
    "a memory of another shape": tensor_of("optimizer/velocity.readout.b", np.ones(5, np.float32)),
    "a memory of what is no parameter": tensor_of("optimizer/velocity.x", ONES),
    "a memory of whole numbers": tensor_of("optimizer/velocity.readout.b", ONES.astype(np.int32)),
    "a state less": lambda head, tensors: tensors.pop("state/0"),
    "a state more": tensor_of("state/2", np.ones((2, 3), np.float32)),
    "a state misnamed": lambda head, tensors: tensors.update({"state/00": tensors.pop("state/0")}),
    "a state of float64": tensor_of("state/0", np.full((2, 3), 1e300)),
    "a tensor of no group": tensor_of("x", ONES),
    "a tensor without a name": tensor_of("", ONES),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_with_a_right_checksum(lie: str, file: Path) -> None:
    """Law: whoever can compute a checksum still cannot have charlm open what does not fit together."""
    head, tensors = parts_of_some_checkpoint(file)
    put(file, forged(head, tensors))
    load_checkpoint(file)
    LIES[lie](head, tensors)
    put(file, forged(head, tensors))
    message = refusal(CheckpointError, load_checkpoint, file)
    assert "checksum" not in message
    if lie.startswith("format"):
        assert "reads format 1" in message


def test_checksums_that_are_none(file: Path) -> None:
    """Law: a checksum that is missing or no text is wrong."""
    head, tensors = parts_of_some_checkpoint(file)
    body = b"".join(array.tobytes() for array in tensors.values())
    for value in (None, "", 0, [], {}, True, head["sha256"].upper(), "missing"):
        told = {name: entry for name, entry in head.items() if name != "sha256"}
        told |= {} if value == "missing" else {"sha256": value}
        header = {"__metadata__": {"charlm": json.dumps(told)}} | header_of(tensors)
        put(file, safetensors_file(header, body))
        assert "sha256" in (message := refusal(CheckpointError, load_checkpoint, file)) or "checksum" in message


@settings(max_examples=150)
@given(SEEDS)
def test_any_lie(whole: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Law: a checkpoint in which anything was changed and the checksum put right is refused, or is of use."""
    file = tmp_path_factory.getbasetemp() / "lie.safetensors"
    put(file, changed_checkpoint(whole, Random(seed)))
    refused_or(use, file)


# ------------------------------------------------------------------------------------------- files that fill the memory


def header_of_head(head: bytes) -> bytes:
    """A header whose metadata are that text, which is to have no quotes or backslashes in it."""
    return b'{"__metadata__":{"charlm":"' + head + b'"}}'


FILL = MOST_HEADER - 100
AMPLIFIERS: dict[str, Callable[[], bytes]] = {
    "header of spaces": lambda: b"{" + b" " * FILL + b"}",
    "header of brackets": lambda: b"[" * FILL,
    "header of empty lists": lambda: b'{"a":[' + b"[]," * (FILL // 3) + b"[]]}",
    "header of as many lists as are read": lambda: b'{"a":[' + b"[]," * (MOST_VALUES // 2 - 9) + b"[]]}",
    "header of as many objects as are read": lambda: b'{"a":[' + b'{"a":0},' * (MOST_VALUES // 2 - 9) + b"0]}",
    "header of tensors": lambda: (
        b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(FILL // 62)) + b"}"
    ),
    "header of one wide string": lambda: header_of_head("\U0001f600".encode() + b"a" * (FILL - 50)),
    "header of a wide string, escaped": lambda: header_of_head(b"\\ud83d\\ude00" + b"a" * (FILL - 50)),
    "head of empty lists": lambda: header_of_head(b"[" + b"[]," * (FILL // 3 - 20) + b"[]]"),
    "head of as many lists as are read": lambda: header_of_head(b"[" + b"[]," * (MOST_VALUES // 2 - 9) + b"[]]"),
    "head of numbers": lambda: header_of_head(b"[" + b"1.5e1," * (FILL // 7) + b"1]"),
    "head of one number": lambda: header_of_head(b"1" * (FILL - 50)),
    "head of one number with a point": lambda: header_of_head(b"1." + b"1" * (FILL - 50)),
    "head of one number that is too large": lambda: header_of_head(b"1" * (FILL - 50) + b".0"),
    "vocabulary that is wide": lambda: header_of_head(
        rb"{\"format\":1,\"sha256\":\"\",\"progress\":{},\"model\":{\"vocabulary\":500000},"
        rb"\"vocabulary\":\"\\ud83d\\ude00" + b"a" * (FILL - 200) + rb"\"}"
    ),
    "format that is long": lambda: header_of_head(rb"{\"format\":\"" + b"a" * (FILL - 100) + rb"\"}"),
}


def peak_megabytes(call: Callable[..., object], *arguments: Any) -> float:
    """The most memory that Python had in a call, in MB."""
    tracemalloc.start()
    try:
        call(*arguments)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", AMPLIFIERS)
def test_headers_that_fill_the_memory(make: str, file: Path) -> None:
    """Law: refused soon, and at no more than 100 MB beyond the file's size."""
    put(file, safetensors_file(AMPLIFIERS[make]()))
    refusal(CheckpointError, load_checkpoint, file)
    peak = peak_megabytes(refused_or, load_checkpoint, file)
    assert peak < MEGABYTES + file.stat().st_size / 1e6


# ------------------------------------------------------------------------------------------------------ config.json


def plain_config() -> bytes:
    return (trained_run() / "config.json").read_bytes()


def small_record(**changes: Any) -> bytes:
    record = {"step": 1, "characters": 1, "seconds": 1, "nats": 1, "split": ""}
    return json.dumps(record | changes, separators=(",", ":")).encode() + b"\n"


FILLING_RUNS: dict[str, tuple[Callable[[], bytes], Callable[[], bytes]]] = {
    "config of brackets": (lambda: b"[" * MOST_CONFIG, bytes),
    "config of lists": (lambda: b'{"a":[' + b"[]," * (MOST_CONFIG // 3 - 9) + b"[]]}", bytes),
    "config of as many lists as are read": (lambda: b'{"a":[' + b"[]," * (MOST_VALUES // 2 - 9) + b"[]]}", bytes),
    "config of as many objects as are read": (lambda: b'{"a":[' + b'{"a":0},' * (MOST_VALUES // 2 - 9) + b"0]}", bytes),
    "config of a wide string": (lambda: b'"\xf0\x9f\x98\x80' + b"a" * (MOST_CONFIG - 9) + b'"', bytes),
    "config of a wide string escaped": (lambda: b'"\\ud83d\\ude00' + b"a" * (MOST_CONFIG - 20) + b'"', bytes),
    "config too long": (lambda: b" " * (MOST_CONFIG + 1), bytes),
    "config of one number": (lambda: b"1" * MOST_CONFIG, bytes),
    "config of one number that is too large": (lambda: b"1" * (MOST_CONFIG - 2) + b".0", bytes),
    "config of bytes that are none": (lambda: b'"' + b"\xff" * (MOST_CONFIG - 2) + b'"', bytes),
    "metrics too long": (plain_config, lambda: small_record() * (MOST_METRICS // len(small_record()) + 1)),
    "metrics of small records": (
        plain_config,
        lambda: small_record() * (MOST_METRICS // len(small_record()) - 1) + b"\n",
    ),
    "metrics of small objects": (
        plain_config,
        lambda: small_record(a={}, b={}, c={}, d={}) * (MOST_METRICS // 90) + b"{}\n",
    ),
    "metrics of line ends": (plain_config, lambda: b"\n" * MOST_METRICS),
    "metrics of one line": (plain_config, lambda: b"[" * (MOST_METRICS - 1) + b"\n"),
    "metrics of one wide line": (plain_config, lambda: b'"\\ud83d\\ude00' + b"a" * (MOST_METRICS - 20) + b'"\n'),
}


LIMITED = """
import os, resource, sys, time
from pathlib import Path
import safetensors  # loaded before memory is short, like the rest
from charlm.errors import CharlmError
from charlm.store.checkpoint import load_checkpoint
from charlm.store.run import Run

def open_it(path):
    return load_checkpoint(path) if path.suffix == ".safetensors" else Run.open(path).metrics()

for path in map(Path, sys.argv[1:]):
    if os.fork():
        _, status = os.wait()
        print(path.name, os.waitstatus_to_exitcode(status), flush=True)
        continue
    size = path.stat().st_size if path.is_file() else max(file.stat().st_size for file in path.iterdir())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + size + 100 * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = time.process_time()
    try:
        open_it(path)
    except CharlmError as error:
        if time.process_time() - start < 2 and str(error).isprintable() and len(str(error)) < 1000:
            os._exit(7)
        print(path.name, time.process_time() - start, "s", str(error)[:1000])
    except BaseException as error:
        print(path.name, type(error).__name__, error)
    os._exit(1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_process_that_may_have_no_more_memory(tmp_path: Path) -> None:
    """Law: where the system gives no more than the file's size and 100 MB, the answer is still charlm's, and soon."""
    for number, make in enumerate(AMPLIFIERS.values()):
        put(tmp_path / f"{number}.safetensors", safetensors_file(make()))
    for name, (config, metrics) in FILLING_RUNS.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        put(folder / "config.json", config())
        put(folder / "metrics.jsonl", metrics())
    paths = sorted(tmp_path.iterdir())
    done = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n") == [*(f"{path.name} 7" for path in paths), ""], done.stdout + done.stderr


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_file_without_end(name: str, run: Path) -> None:
    """Law: no more than its beginning is read of a file of many gigabytes, or of a device that never ends."""
    os.truncate(run / name, 2**36)  # holes
    assert name in refusal(RunError, metrics_of, run)
    (run / name).unlink()
    (run / name).symlink_to("/dev/zero")
    assert name in refusal(RunError, metrics_of, run)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "last.safetensors", "best.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "link to itself"])
def test_what_is_no_file(kind: str, name: str, run: Path) -> None:
    """Law: a pipe blocks nobody; a folder or a link that leads nowhere in the place of a file is as a damaged one."""
    (run / name).unlink()
    match kind:
        case "pipe":
            os.mkfifo(run / name)
        case "folder":
            (run / name).mkdir()
        case "link to nothing":
            (run / name).symlink_to(run / "nothing")
        case "link to itself":
            (run / name).symlink_to(run / name)
    refused_or(use_run, run)
    refused_or(metrics_of, run)
    if name != "config.json":
        assert newest_run(run.parent) == run


def test_leftovers_that_are_folders(run: Path) -> None:
    """Law: what charlm would sweep and cannot is told, not thrown at people."""
    (run / ".x.tmp").mkdir()
    assert ".x.tmp" in refusal(StorageError, use_run, run)
    (run / ".x.tmp").rmdir()
    (run / "step-000000001.safetensors").mkdir()
    with pytest.raises(StorageError, match="step-000000001"):
        Run.open(run).prune(0)


def test_config_cut_at_every_64th_byte(run: Path) -> None:
    """Law: no beginning of a configuration is one."""
    whole = (run / "config.json").read_bytes()
    for length in sorted({*range(0, len(whole), 64), len(whole) - 1}):
        put(run / "config.json", whole[:length])
        refusal(RunError, Run.open, run)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_flip_in_a_text(name: str, run: Path) -> None:
    """Law: it is refused, or the run is still of use."""
    whole, rng = (run / name).read_bytes(), Random(2)
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        put(run / name, changed)
        refused_or(summary_of, run)
        refused_or(metrics_of, run)


PLACES = [
    *(("model", field.name) for field in fields(ModelSpec)),
    *(("training", field.name) for field in fields(TrainSpec)),
    *(("corpus", name) for name in ("name", "sources", "sha256", "characters", "x")),
    *((name, None) for name in ("model", "training", "corpus", "numpy", "threads", "x")),
]


@pytest.mark.parametrize(("part", "key"), PLACES, ids=str)
def test_every_entry_of_a_configuration(part: str, key: str | None, run: Path) -> None:
    """Law: whatever stands there, a run is refused, or of use."""
    whole = json.loads((run / "config.json").read_bytes())
    if key in ("minutes", "epochs"):
        whole["training"]["steps"] = None  # which would be the budget instead
    for value in (*HOSTILE, ["\0"], ["\ud800"], [1], ["/nowhere"], nested(90), nested(DEEP // 200), "a" * 10**5):
        config = whole | {part: value if key is None else whole[part] | {key: value}}
        put(run / "config.json", json.dumps(config).encode())
        refused_or(use_run, run)


@pytest.mark.parametrize(
    "text", ["[" * DEEP, '{"a":' * DEEP, "[" * DEEP + "]" * DEEP, '{"model": {}, "model": {}}', "1" * DEEP]
)
def test_configurations_that_are_hostile_as_a_whole(text: str, run: Path) -> None:
    """Law: deep nesting, a key twice, numbers of any length: refused in one line that names the file."""
    put(run / "config.json", text.encode())
    assert "config.json" in refusal(RunError, Run.open, run)
    whole = plain_config()
    for key in (b'"model"', b'"hidden"', b'"sources"'):
        put(run / "config.json", whole.replace(key, key + b": 0, " + key, 1))
        assert "more than once" in refusal(RunError, Run.open, run)


@settings(max_examples=60)
@given(SEEDS)
def test_any_configuration(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Law: the same for any change."""
    run = tmp_path_factory.getbasetemp() / "any-configuration"
    if not run.exists():
        copy_of_trained_run(run)
    put(run / "config.json", changed_text(plain_config(), Random(seed)))
    refused_or(use_run, run)


# --------------------------------------------------------------------------------------------------- metrics.jsonl


def test_metrics_cut_at_every_64th_byte(run: Path) -> None:
    """Law: the whole lines before the cut are read, the one that was cut is left out."""
    whole = (run / "metrics.jsonl").read_bytes()
    records = Run.open(run).metrics()
    for length in range(0, len(whole), 64):
        put(run / "metrics.jsonl", whole[:length])
        assert Run.open(run).metrics() == records[: whole[:length].count(b"\n")]


@pytest.mark.parametrize("key", ["step", "characters", "seconds", "nats", "split", "bpc", "learning_rate"])
def test_every_entry_of_a_record(key: str, run: Path) -> None:
    """Law: what cannot have been logged is refused with its line; the rest is read, and comes back from a rewrite."""
    wrong = 0
    for value in (*HOSTILE, nested(150)):
        put(run / "metrics.jsonl", small_record() + small_record(**{key: value}))
        if refused_or(metrics_of, run):
            records = Run.open(run).metrics()
            Run.open(run).forget_metrics_after(2**63)
            assert Run.open(run).metrics() == records
        else:
            wrong += 1
            assert "line 2" in refusal(RunError, metrics_of, run)
    assert wrong > (15 if key in ("step", "characters", "seconds", "nats") else 2)


LINES = [b"[" * DEEP, b"1" * DEEP, b'{"step": 1, "step": 1}', b'{"step": NaN}', b"\0" * 64]
LINES += [small_record(**{key: -1}).strip() for key in ("step", "characters", "seconds")]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_lines_that_are_hostile(line: bytes, run: Path) -> None:
    """Law: refused by their number."""
    put(run / "metrics.jsonl", small_record() + line + b"\n")
    assert "line 2" in refusal(RunError, metrics_of, run)


RECORDS = {
    "zero": [{"nats": 0}],
    "all zero": [{"nats": 0, "step": 0, "characters": 0, "seconds": 0}] * 2,
    "below zero": [{"nats": -1}, {"nats": -2}],
    "tiny": [{"nats": 5e-324}, {"nats": 5e-324}],
    "large": [{"nats": 9e18, "step": 2**62, "characters": 2**62, "seconds": 9e18}],
    "far apart": [{"nats": -9e18}, {"nats": 1e-300, "step": 2**62}],
    "before the beginning": [{"step": -21}, {"step": -1}],
    "backwards": [{"step": 9}, {"step": 3}, {"step": 3}],
    "of no kind": [{"split": "test"}],
    "of two kinds": [{"split": "validation"}, {"split": "train", "nats": True}],
}


@pytest.mark.parametrize("name", RECORDS)
def test_losses_that_are_odd(name: str, run: Path, tmp_path: Path) -> None:
    """Law: what can be read can be drawn, without a warning."""
    records = [small_record(**({"split": "validation"} | record)) for record in RECORDS[name]]
    put(run / "metrics.jsonl", b"".join(records))
    assert refused_or(plot, [run], tmp_path / "loss.svg") == (name not in ("before the beginning", "of no kind"))


@settings(max_examples=100)
@given(SEEDS)
def test_any_metrics(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Law: the same for any change."""
    run = tmp_path_factory.getbasetemp() / "any-metrics"
    if not run.exists():
        copy_of_trained_run(run)
    whole = (trained_run() / "metrics.jsonl").read_bytes()
    put(run / "metrics.jsonl", changed_text(whole, Random(seed)))
    refused_or(metrics_of, run)


# ----------------------------------------------------------------------------------- what only its use can tell


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two optimizers with steps left."""
    runs = {}
    for optimizer in ("sgd", "adam"):
        run = tiny_run(
            tmp_path_factory.mktemp(optimizer) / "run", lanterns(), TrainSpec(**TINY_STEPS, optimizer=optimizer)
        )
        run_to_end(run, lanterns())
        run.config["training"]["steps"] += 5
        run.save_config()
        runs[optimizer] = run.path
    return runs


TINY_STEPS: dict[str, Any] = {"batch": 4, "window": 10, "steps": 4, "evaluations": 2, "reports": 2}


def go_on(path: Path, change: Callable[[dict[str, Any], Tensors], object]) -> None:
    """Train a run from a checkpoint that lies."""
    run = Run.open(path)
    whole = {file: file.read_bytes() for file in path.iterdir()}  # training changes them
    try:
        for checkpoint in (run.last_path, run.best_path):
            head, tensors = checkpoint_parts(whole[checkpoint])
            change(head, tensors)
            put(checkpoint, forged(head, tensors))
        use_run(path)
    finally:
        for file, data in whole.items():
            put(file, data)


@pytest.mark.parametrize("field", [*(field.name for field in fields(Tally)), "x"])
def test_tallies_that_lie(field: str, stopped: dict[str, Path]) -> None:
    """Law: what training cannot have counted is refused; with anything else it goes on."""
    for value in (*(value for value in HOSTILE if not isinstance(value, str | list | dict)), "1", [1], {}):
        refused_or(go_on, stopped["sgd"], progress_of(field, value))


def progress_of(field: str, value: Any) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: head["progress"].update({field: value})


def drop(start: str) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(start)]


def fill(start: str, value: float, kind: Any = np.float32) -> Callable[[dict[str, Any], Tensors], object]:
    return lambda head, tensors: tensors.update(
        {name: np.full(array.shape, value, kind) for name, array in tensors.items() if name.startswith(start)}
    )


@pytest.mark.parametrize(
    ("optimizer", "change"),
    [
        ("sgd", drop("optimizer/")),
        ("adam", drop("optimizer/")),
        ("adam", drop("optimizer/updates")),
        ("adam", drop("optimizer/mean")),
        ("adam", fill("optimizer/updates", -1.0, np.float64)),
        ("adam", fill("optimizer/updates", -7.0, np.float64)),
        ("adam", fill("optimizer/updates", 3.0)),
        ("adam", fill("optimizer/square", -1.0)),
        ("adam", fill("optimizer/mean", 1e300, np.float64)),
        ("sgd", fill("optimizer/velocity", 1e300, np.float64)),
        ("sgd", lambda head, tensors: tensors.update({"optimizer/mean.readout.b": np.zeros(4, np.float32)})),
        ("sgd", drop("state/")),
        ("sgd", lambda head, tensors: tensors.update({"state/0": np.zeros((5, 8), np.float32)})),
        ("sgd", lambda head, tensors: tensors.update({"state/0": np.zeros((4, 8, 1), np.float32)})),
        ("sgd", lambda head, tensors: tensors.update({"state/0": np.zeros((), np.float32)})),
    ],
)
def test_memories_and_states_that_lie(
    optimizer: str, change: Callable[[dict[str, Any], Tensors], object], stopped: dict[str, Path]
) -> None:
    """Law: an optimizer's memory or a state that is missing, or cannot be that of the run, is refused."""
    refusal(CharlmError, go_on, stopped[optimizer], change)


@pytest.mark.parametrize("start", ["params/", "params/readout.b", "optimizer/", "optimizer/updates", "state/"])
@pytest.mark.parametrize("value", [3e38, -3e38, 1e30])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_numbers_that_overflow(optimizer: str, value: float, start: str, stopped: dict[str, Path]) -> None:
    """Law: finite numbers that grow beyond all bounds in use are seen there; no warning, and no NaN comes out."""
    kind = np.float64 if start == "optimizer/updates" else np.float32
    refused_or(go_on, stopped[optimizer], fill(start, value, kind))


def sample_of(file: Path, length: int, temperature: float = 1.0) -> str:
    return "".join(load(file).sample("a", length=length, temperature=temperature))


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_network_that_explodes(cell: str, file: Path) -> None:
    """Law: sampling and scoring say so, instead of a character or a number that is none."""
    spec = ModelSpec(4, 3, cell=cell, activation="relu")
    tensors = {f"params/{name}": np.full(shape, 3e38, np.float32) for name, shape in spec.shapes.items()}
    head = {"format": 1, "vocabulary": "abcd", "progress": {}, "model": {"vocabulary": 4, "hidden": 3, "cell": cell}}
    put(file, forged(head | {"model": head["model"] | {"activation": "relu"}}, tensors))  # type: ignore[operator]
    for temperature in (0.0, 1.0):
        assert "checkpoint" in refusal(DivergenceError, sample_of, file, 9, temperature)
    assert "checkpoint" in refusal(DivergenceError, load(file).score, "abcd")


def test_a_network_that_explodes_slowly(file: Path) -> None:
    """Law: the same where it takes a hundred characters, in every length of text."""
    spec = ModelSpec(4, 3, cell="rnn", activation="relu")
    tensors = {f"params/{name}": np.full(shape, 1.0, np.float32) for name, shape in spec.shapes.items()}
    tensors["params/readout.W"] = np.eye(3, 4, dtype=np.float32) - 1
    head = {"format": 1, "vocabulary": "abcd", "progress": {}, "model": {"vocabulary": 4, "hidden": 3}}
    head["model"] |= {"cell": "rnn", "activation": "relu"}  # type: ignore[operator]
    put(file, forged(head, tensors))
    assert len(sample_of(file, 20)) == 20
    refusal(DivergenceError, sample_of, file, 200)
    for length in (200, 3000, 300_000):
        refusal(DivergenceError, load(file).score, "a" * length)


# ------------------------------------------------------------------------------------------------- the commands

COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "sample": lambda path: ["sample", path, "-n", 3, "--rng-seed", 0],
    "score": lambda path: ["score", path, LANTERNS],
    "info": lambda path: ["info", path],
    "info --json": lambda path: ["info", path, "--json"],
    "plot": lambda path: ["plot", path, "-o", path / "x.png"],
    "train": lambda path: ["train", "--resume", path, LANTERNS, "--quiet"],
}
READS = {
    "config.json": {"plot", "train", "info", "info --json", "sample", "score"},
    "metrics.jsonl": {"plot", "train"},
    "best.safetensors": {"sample", "score"},
    "last.safetensors": {"info", "info --json"},
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 3] + b"\n",
    "deep": lambda data: b"[" * DEEP + b"\n",
    "large": lambda data: b" " * (MOST_HEADER + 9) + b"\n",
    "zeros": lambda data: bytes(len(data)) + b"\n",
    "lying": lambda data: safetensors_file({"__metadata__": {"charlm": '{"format": 2, "a\\nb": 1}'}}) + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", READS)
def test_commands_and_damaged_files(name: str, damage: str, run: Path, capsys: Capture) -> None:
    """Law: exit code 1 and one line on standard error from every command that reads the file; the others go on."""
    if (name, damage) == ("metrics.jsonl", "empty"):
        pytest.skip("that is a run which has not logged anything yet")
    put(run / name, DAMAGES[damage]((run / name).read_bytes()))
    for command in sorted(READS[name]):
        with soon():
            outcome = charlm(capsys, *COMMANDS[command](run))
        assert outcome.is_clear_error(1), (command, outcome)
        assert outcome.err.startswith("charlm: ") and is_short_line(outcome.err.strip())
        assert name.split(".")[0] in outcome.err


def test_commands_and_a_network_that_explodes(run: Path, capsys: Capture) -> None:
    """Law: exit code 3, as for a training that explodes, and one line, in a process of its own as well."""
    best = run / "best.safetensors"
    head, tensors = checkpoint_parts(best.read_bytes())
    put(best, forged(head, {name: np.full_like(array, 3e38) for name, array in tensors.items()}))
    for command in ("sample", "score"):
        outcome = charlm(capsys, *COMMANDS[command](run))
        assert outcome.code == 3 and len(outcome.err.splitlines()) == 1 and not outcome.out.strip()
    done = charlm_process(*COMMANDS["score"](run), cwd=run)
    assert done.is_clear_error(3), done


def test_commands_and_a_lying_run(run: Path, capsys: Capture) -> None:
    """Law: what the run says of its network, its text or its tally is checked before it is used or shown."""
    config = json.loads((run / "config.json").read_bytes())
    lies: list[tuple[str, str, Any]] = [
        ("training", "batch", 10**12),
        ("training", "window", 10**12),
        ("training", "minutes", 10**400),
        ("training", "schedule", "nonsense\n\x1b[2J"),
        ("model", "residual", nested(90)),
        ("model", "hidden", 10**4000),
        ("corpus", "characters", -1),
        ("corpus", "sources", [1]),
    ]
    for part, key, value in lies:
        put(run / "config.json", json.dumps(config | {part: config[part] | {key: value}}).encode())
        for command in ("info", "info --json", "train"):
            outcome = charlm(capsys, *COMMANDS[command](run))
            assert outcome.is_clear_error(1), (part, key, command, outcome)


def test_what_a_terminal_obeys_is_spelt_out(run: Path, capsys: Capture) -> None:
    """Law: info shows what stands in a configuration; nothing in it, not even a name, is a command to the terminal."""
    config = json.loads((run / "config.json").read_bytes())
    config["corpus"] |= {"name": "\x1b[2J", "sources": ["/a\n\x1b[2J"], "\x1b[2J": 1, "list": ["\r", 1.5, None]}
    put(run / "config.json", json.dumps(config).encode())
    done = charlm(capsys, "info", run)
    assert done.code == 0 and "x1b[2J" in done.out
    assert all(line.isprintable() for line in done.out.split("\n"))


def test_a_configuration_that_says_no_more_than_it_must(run: Path, capsys: Capture) -> None:
    """Law: a size that is left out is the default, in what training shows, too."""
    config = json.loads((run / "config.json").read_bytes())
    assert config["model"].pop("layers") == ModelSpec.layers
    put(run / "config.json", json.dumps(config).encode())
    done = charlm(capsys, "train", "--resume", run, LANTERNS)
    assert done.code == 0 and "1 layer(s) of 8 units" in done.err
