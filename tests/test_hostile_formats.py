"""Damaged and malicious files of other formats: an error of ours, whatever they hold."""

import json
import os
import pickle
import random
import struct
import zipfile

import numpy as np
import pytest
import safetensors
import torch_files

from flowrs.errors import CheckpointError, FlowrsError
from flowrs.formats import convert, open_tensors, pickles
from flowrs.formats.tensors import pieces

#: How many damaged files of each kind are tried; more with FLOWRS_FUZZ_RUNS.
RUNS = int(os.environ.get("FLOWRS_FUZZ_RUNS", "300"))


def safetensors_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(begin, end, shape, dtype="U8"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SAFETENSORS = {
    "overlap": ({"a": entry(0, 8, [8]), "b": entry(4, 12, [8])}, 12, "'b' overlaps"),
    "same place": ({"a": entry(0, 8, [8]), "b": entry(0, 8, [8])}, 8, "'b' overlaps"),
    "hole": ({"a": entry(0, 4, [4]), "b": entry(8, 12, [4])}, 12, "leaves a hole"),
    "hole first": ({"a": entry(4, 8, [4])}, 8, "leaves a hole"),
    "outside": ({"a": entry(0, 8, [8])}, 4, "speaks of"),
    "bytes behind": ({"a": entry(0, 8, [8])}, 9, "speaks of"),
    "backwards": ({"a": entry(8, 0, [8])}, 8, "do not hold"),
    "negative": ({"a": entry(-8, 0, [8])}, 8, "do not hold"),
    "too few": ({"a": entry(0, 4, [2], "F32")}, 4, "do not hold"),
    "negative extents": ({"a": entry(0, 4, [-2, -2])}, 4, "-2 is no extent"),
    "overflowing shape": ({"a": entry(0, 0, [2**40, 2**40, 0])}, 0, "more than"),
    "giant extent": ({"a": entry(0, 0, [10**30])}, 0, "more than"),
    "33 dimensions": ({"a": entry(0, 1, [1] * 33)}, 1, "33 dimensions"),
    "true as an extent": ({"a": entry(0, 1, [True])}, 1, "True is no extent"),
    "float extent": ({"a": entry(0, 1, [1.0])}, 1, "no extent"),
    "float offset": ({"a": entry(0.0, 1, [1])}, 1, "not two offsets"),
    "three offsets": ({"a": {**entry(0, 1, [1]), "data_offsets": [0, 1, 1]}}, 1, "not two offsets"),
    "no shape": ({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, 1, "expected dtype, shape"),
    "shape is text": ({"a": entry(0, 1, "1")}, 1, "no shape"),
    "unknown type": ({"a": entry(0, 1, [1], "F8_E4M3")}, 1, "'F8_E4M3' is unknown"),
    "type is a list": ({"a": entry(0, 1, [1], ["U8"])}, 1, "is unknown"),
    "entry is a number": ({"a": 1}, 1, "expected dtype, shape"),
    "metadata with numbers": ({"__metadata__": {"a": 1}}, 0, "text to text"),
    "metadata is a list": ({"__metadata__": []}, 0, "text to text"),
    "name twice": (b'{"a":1,"a":2}', 0, "'a' is given twice"),
    "field twice": (b'{"a":{"dtype":"U8","dtype":"I8"}}', 0, "'dtype' is given twice"),
    "not JSON": (b"{a}", 0, "header is damaged"),
    "a list": (b"[]", 0, "does not begin"),
    "spaces first": (b'  {"a":1}', 0, "does not begin"),
    "NaN": (b'{"a":NaN}', 0, "NaN is not JSON"),
    "not UTF-8": (b'{"\xff":1}', 0, "header is damaged"),
    "deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 0, "header is damaged"),
    "many digits": (b'{"a":' + b"9" * 10_000 + b"}", 0, "header is damaged"),
    "empty": (b"", 0, "does not begin"),
}


@pytest.mark.parametrize(("header", "size", "message"), SAFETENSORS.values(), ids=SAFETENSORS)
def test_safetensors_headers_that_lie(tmp_path, header, size, message):
    path = safetensors_file(tmp_path / "x.safetensors", header, bytes(size))
    with pytest.raises(CheckpointError, match=message):
        open_tensors(path)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 1 << 40, 3])
def test_safetensors_header_longer_than_the_file(tmp_path, length):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(CheckpointError, match="header should have"):
        open_tensors(path)


def test_safetensors_header_that_is_too_long_to_read(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 33 << 20) + b"{")
    os.truncate(path, 34 << 20)
    with pytest.raises(CheckpointError, match="at most 33554432 are read"):
        open_tensors(path)


@pytest.mark.parametrize(
    "name", ["../out", "/etc/x", "a/../../b", "a\0b", "", ".", "snapshot_done"]
)
def test_names_lead_nowhere_else(tmp_path, name):
    path = safetensors_file(tmp_path / "x.safetensors", {name: entry(0, 1, [1])}, b"x")
    with pytest.raises(FlowrsError):
        convert(path, tmp_path / "inside" / "x")
    assert not (tmp_path / "out").exists() and not (tmp_path / "b").exists()
    assert not (tmp_path / "inside" / "x").exists()


class Executed:
    """Would make a file if its pickle were run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_not_run(tmp_path):
    torch_files.of_object(tmp_path / "x.pt", {"w": Executed(tmp_path / "made")})
    with pytest.raises(CheckpointError, match=r"asks for posix\.mkdir, which is not read"):
        open_tensors(tmp_path / "x.pt")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval", "os.system", "torch.load", "torch.nn.Linear", "torch.FloatTensor",
        "torch._utils._rebuild_tensor_v2.__globals__", "collections.namedtuple", "torch.storage",
        "collections.OrderedDict.fromkeys", "numpy.core.multiarray._reconstruct",
    ],
)  # fmt: skip
def test_other_names_are_refused_by_name(name):
    with pytest.raises(pickles.RefusedPickle, match=f"asks for {name}"):
        pickles.load(torch_files.program(torch_files.name(name)))
    module, _, word = name.rpartition(".")
    by_stack = b"\x8c" + bytes([len(module)]) + module.encode()
    by_stack += b"\x8c" + bytes([len(word)]) + word.encode() + b"\x93"
    with pytest.raises(pickles.RefusedPickle, match=f"asks for {name}"):
        pickles.load(b"\x80\x04" + by_stack + b".")


def view(*arguments):
    return torch_files.program(torch_files.tensor(*arguments))


STORAGE = torch_files.storage("FloatStorage", "0", 4)
TWICE = (b"q" + bytes([number]) + b"h" + bytes([number]) + b"\x86" for number in range(30))
PICKLES = {
    "empty": (b"", "damaged"),
    "ends early": (b"\x80\x02}", "damaged"),
    "stop at once": (b".", "damaged"),
    "extension": (b"\x80\x02\x82\x01.", "instruction EXT1"),
    "class": (b"(i__main__\nX\n.", "instruction INST"),
    "new object": (b"\x80\x02}}\x81.", "instruction NEWOBJ"),
    "call of a dict": (b"\x80\x02})R.", "calls a dict"),
    "call of a type": (
        torch_files.program(torch_files.name("torch.float32") + b")R"),
        "calls torch",
    ),
    "attribute of a list": (b"\x80\x02]}b.", "dict is missing"),
    "mark at the end": (b"\x80\x02(.", "not finished"),
    "no mark": (b"\x80\x02Nt.", "damaged"),
    "forgotten value": (b"\x80\x02h\x07.", "damaged"),
    "odd items": (b"\x80\x02}(Nu.", "key without a value"),
    "list as a key": (b"\x80\x02}(]Nu.", "list as the key"),
    "persistent text": (b"Pname\n.", "instruction PERSID"),
    "giant text": (b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b".", "damaged"),
    "giant bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b".", "damaged"),
    "dict of a dict": (
        torch_files.program(torch_files.name("collections.OrderedDict") + b"}\x85R"),
        "makes an OrderedDict",
    ),
    "storage that is none": (b"\x80\x02NQ.", "no storage"),
    "tensor without storage": (view(b"N", 0, (), ()), "no storage"),
    "negative offset": (view(STORAGE, -1, (), ()), "no sizes"),
    "negative stride": (view(STORAGE, 3, (2,), (-1,)), "no sizes"),
    "other lengths": (view(STORAGE, 0, (2,), (1, 1)), "strides"),
    "too few arguments": (
        torch_files.program(torch_files.name("torch._utils._rebuild_tensor_v2") + b")R"),
        "damaged",
    ),
    "contains itself": (b"\x80\x02]q\x00h\x00a.", "nested too deeply"),
    "doubles 30 times": (
        b"\x80\x02N" + b"".join(TWICE) + b".",
        "nested too deeply",
    ),
    "long names": (
        torch_files.program(
            torch_files.mapping({"k" * 9999: torch_files.mapping({"a": b"N"})}),
        ),
        "9999 characters",
    ),
}


@pytest.mark.parametrize(("pickled", "message"), PICKLES.values(), ids=PICKLES)
def test_pickles_that_are_refused(tmp_path, pickled, message):
    torch_files.archive(tmp_path / "x.pt", pickled, {"0": bytes(16)})
    with pytest.raises(CheckpointError, match=message):
        open_tensors(tmp_path / "x.pt")


VIEWS = {
    "behind the storage": (torch_files.tensor(STORAGE, 0, (5,), (1,)), "ends outside"),
    "offset behind": (torch_files.tensor(STORAGE, 4, (), ()), "ends outside"),
    "giant stride": (torch_files.tensor(STORAGE, 0, (2,), (2**47,)), "ends outside"),
    "giant shape": (torch_files.tensor(STORAGE, 0, (2**40, 2**40), (0, 0)), "more than"),
    "one element often": (torch_files.tensor(STORAGE, 0, (2**30,), (0,)), "repeat elements"),
    "other size": (
        torch_files.tensor(torch_files.storage("FloatStorage", "0", 3), 0, (3,), (1,)),
        "should have 12",
    ),
    "no such storage": (
        torch_files.tensor(torch_files.storage("FloatStorage", "../0", 4), 0, (4,), (1,)),
        "has no 'archive/data/../0'",
    ),
}


@pytest.mark.parametrize(("instructions", "message"), VIEWS.values(), ids=VIEWS)
def test_tensors_outside_of_their_storage(tmp_path, instructions, message):
    program = torch_files.program(instructions)
    torch_files.archive(tmp_path / "x.pt", program, {"0": bytes(16)})
    with pytest.raises(CheckpointError, match=message):
        open_tensors(tmp_path / "x.pt")


class TestNpz:
    def test_objects_and_records_are_refused(self, tmp_path):
        np.savez(tmp_path / "o.npz", w=np.array([Executed(tmp_path / "made")], object))
        np.savez(tmp_path / "r.npz", w=np.zeros(2, [("a", "f4")]))
        np.savez(tmp_path / "t.npz", w=np.array(["text"]))
        for name, message in [
            ("o", "objects and rec"),
            ("r", "objects and rec"),
            ("t", "no element"),
        ]:
            with pytest.raises(CheckpointError, match=message):
                open_tensors(tmp_path / f"{name}.npz")
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_shapes_that_lie(self, tmp_path, compression):
        for shape in ("(9,)", "(-1,)", "(3000000000000, 4000000000000)", "(True,)", "(1.0,)"):
            header = (
                f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
            )
            data = (
                b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(4)
            )
            with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as file:
                file.writestr("w.npy", data)
            with pytest.raises(CheckpointError):
                open_tensors(tmp_path / "x.npz")

    def test_a_member_that_is_given_twice(self, tmp_path):
        np.savez(tmp_path / "x.npz", w=np.zeros(2))
        with zipfile.ZipFile(tmp_path / "x.npz", "a") as file, pytest.warns(UserWarning):
            file.writestr("w.npy", b"")
        with pytest.raises(CheckpointError, match=r"'w\.npy' twice"):
            open_tensors(tmp_path / "x.npz")

    def test_more_bytes_than_the_archive_says(self, tmp_path):
        np.savez_compressed(tmp_path / "x.npz", w=np.zeros(100_000, np.float32))
        content = bytearray((tmp_path / "x.npz").read_bytes())
        size = struct.pack("<I", 400_128)
        said = struct.pack("<I", 4128)
        header = np.lib.format.header_data_from_array_1_0(np.zeros(1000, np.float32))
        assert header["shape"] == (1000,)
        content = content.replace(size, said)
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(CheckpointError):
            convert(tmp_path / "x.npz", tmp_path / "x")
        assert not (tmp_path / "x").exists()


def some_file(kind, path):
    """A small good file."""
    arrays = {
        "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "b": np.array([1, 2], np.int64),
        "c": np.array(7, np.uint8),
    }
    if kind == "torch":
        torch_files.save(path, arrays)
    elif kind == "torch, compressed":
        torch_files.save(path, arrays, compression=zipfile.ZIP_DEFLATED)
    elif kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npz, compressed":
        np.savez_compressed(path, **arrays)
    else:
        np.savez(path.with_suffix(".npz"), **arrays)
        convert(path.with_suffix(".npz"), path)
    return path.read_bytes()


def damaged(content, chance):
    """The content with a few changes of the kinds that find errors."""
    content = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        place = chance.randrange(len(content))
        match chance.randrange(6):
            case 0:
                content[place] ^= 1 << chance.randrange(8)
            case 1:
                content[place] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, ord("9"), ord("-")])
            case 2:
                content[place : place + 4] = struct.pack(
                    "<I", chance.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
                )
            case 3:
                del content[place:]
            case 4:
                del content[place : place + chance.randrange(1, 16)]
            case 5:
                other = chance.randrange(len(content))
                content[place:place] = content[other : other + chance.randrange(1, 32)]
        if not content:
            break
    return bytes(content)


@pytest.mark.parametrize(
    "kind", ["safetensors", "npz", "npz, compressed", "torch", "torch, compressed"]
)
def test_damaged_files_cost_an_error_of_ours(tmp_path, kind):
    chance = random.Random(kind)
    suffix = {"s": ".safetensors", "n": ".npz", "t": ".pt"}[kind[0]]
    content = some_file(kind, tmp_path / f"good{suffix}")
    path = tmp_path / f"bad{suffix}"
    refused = 0
    for run in range(RUNS):
        path.write_bytes(damaged(content, chance))
        try:
            for tensor in open_tensors(path).tensors:
                assert sum(piece.size for piece in pieces(tensor.load(), tensor.type)) == (
                    tensor.elements
                )
        except CheckpointError as error:
            refused += 1
            assert len(str(error)) < 1000 and "\n" not in str(error), run
    assert RUNS / 10 < refused


def test_damaged_safetensors_mean_the_same_to_the_safetensors_package(tmp_path):
    """What it refuses we refuse; what both read has the same bytes."""
    chance = random.Random(2)
    content = some_file("safetensors", tmp_path / "good.safetensors")
    (length,) = struct.unpack("<Q", content[:8])
    path = tmp_path / "bad.safetensors"
    both = 0
    for _ in range(RUNS * 5):
        # Mostly the header, and its length put right: otherwise nearly all would be refused.
        header = damaged(content[8 : 8 + length], chance)
        path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])
        try:
            theirs = dict(safetensors.deserialize(path.read_bytes()))
        except safetensors.SafetensorError:
            theirs = None
        try:
            ours = {tensor.name: tensor for tensor in open_tensors(path).tensors}
        except CheckpointError as error:
            # We are stricter where the format's description is stricter than the package.
            strict = ("is unknown", "is given twice", "does not begin")
            assert theirs is None or any(words in str(error) for words in strict), error
            continue
        assert theirs is not None and ours.keys() == theirs.keys(), path.read_bytes()
        for name, tensor in ours.items():
            assert tensor.type.safetensors == theirs[name]["dtype"]
            assert tensor.shape == tuple(theirs[name]["shape"])
            assert tensor.load().tobytes() == bytes(theirs[name]["data"])
        both += 1
    assert RUNS / 100 < both


def test_damaged_pickles_cost_an_error_of_ours():
    chance = random.Random(1)
    one = torch_files.tensor(STORAGE, 0, (2, 2), (2, 1))
    content = torch_files.program(torch_files.mapping({"w": one, "x": b"](" + one + b"e"}))
    contents = [content, pickle.dumps({"a": [1, 2.5, None, (3, "x")]}, 4)]
    for _ in range(RUNS * 10):
        try:
            pickles.load(damaged(chance.choice(contents), chance))
        except pickles.RefusedPickle as error:
            assert len(str(error)) < 300
