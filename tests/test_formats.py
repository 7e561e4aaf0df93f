"""Other formats of weights: read, written and converted, and compared with their own programs."""

import errno
import io
import json
import os
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch_files

import flowrs as flow
from flowrs.errors import (
    ArgumentError,
    CheckpointError,
    CheckpointExistsError,
    CheckpointIOError,
    CheckpointNotFoundError,
)
from flowrs.formats import convert, open_tensors
from flowrs.formats.tensors import BFLOAT16, numbers, pieces, spilled

RANDOM = np.random.default_rng(3)
STORABLE = {
    "layer/weight": RANDOM.standard_normal((3, 5)).astype(np.float32),
    "double": RANDOM.standard_normal(7),
    "half": np.array([[1.5, -2, np.inf]], np.float16),
    "bytes": np.arange(5, dtype=np.uint8),
    "int8": np.array([-128, 127], np.int8),
    "int32": np.array([[-(2**31)], [2**31 - 1]], np.int32),
    "step": np.array([2**60], np.int64),
    "scalar": np.array(-0.0, np.float32),
    "empty": np.zeros((3, 0, 2), np.float32),
    "数": np.array([np.nan, np.inf, -0.0], np.float32),
}
OTHERS = {
    "bool": np.array([True, False]),
    "int16": np.array([-2, 3], np.int16),
    "uint16": np.array([65535], np.uint16),
    "uint32": np.array([2**32 - 1], np.uint32),
    "uint64": np.array([2**64 - 1], np.uint64),
}


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype, name
        assert found[name].tobytes() == array.tobytes(), name


def in_checkpoint(path):
    return {name: blob.numpy() for name, blob in flow.checkpoint.get(path).items()}


def in_npz(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def values(path):
    """Everything in a file, read through flowrs."""
    return {
        tensor.name: np.concatenate(
            [np.array(piece) for piece in pieces(tensor.load(), tensor.type)]
            or [np.empty(0, tensor.type.stored)]
        ).reshape(tensor.shape)
        for tensor in open_tensors(path).tensors
    }


@pytest.fixture
def snapshot(tmp_path):
    flow.save(STORABLE, tmp_path / "snapshot")
    return tmp_path / "snapshot"


class TestSafetensors:
    def test_the_safetensors_package_reads_what_we_write(self, tmp_path, snapshot):
        convert(snapshot, tmp_path / "x.safetensors")
        same(safetensors.numpy.load_file(tmp_path / "x.safetensors"), STORABLE)

    def test_we_read_what_the_safetensors_package_writes(self, tmp_path):
        arrays = {**STORABLE, **OTHERS}
        safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors", {"by": "us"})
        same(values(tmp_path / "x.safetensors"), arrays)
        assert open_tensors(tmp_path / "x.safetensors").metadata == {"by": "us"}

    def test_a_checkpoint_comes_back_byte_for_byte(self, tmp_path, snapshot):
        convert(snapshot, tmp_path / "x.safetensors")
        convert(tmp_path / "x.safetensors", tmp_path / "again")
        for one in snapshot.rglob("out"):
            other = tmp_path / "again" / one.relative_to(snapshot)
            assert other.read_bytes() == one.read_bytes()
            assert other.with_name("meta").read_bytes() == one.with_name("meta").read_bytes()

    def test_every_tensor_is_aligned(self, tmp_path):
        arrays = {"a": np.arange(3, dtype=np.uint8), "b": np.arange(2.0), "c": np.ones(1, "f2")}
        flow.save(arrays, tmp_path / "snapshot")
        convert(tmp_path / "snapshot", tmp_path / "x.safetensors")
        content = (tmp_path / "x.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        assert (8 + length) % 8 == 0
        for name, entry in header.items():
            assert (8 + length + entry["data_offsets"][0]) % arrays[name].itemsize == 0

    def test_bfloat16_is_widened_exactly_where_there_is_none(self, tmp_path):
        floats = np.array([1.0, -2.5, np.inf, 3.0], np.float32)
        upper = (floats.view(np.uint32) >> 16).astype("<u2").tobytes()
        header = b'{"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
        path = tmp_path / "b.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + upper)
        for target, read in (("x.npz", in_npz), ("x", in_checkpoint)):
            assert convert(path, tmp_path / target).widened == ["w"]
            same(read(tmp_path / target), {"w": floats.reshape(2, 2)})
        assert convert(path, tmp_path / "y.safetensors").widened == []
        (tensor,) = open_tensors(tmp_path / "y.safetensors").tensors
        assert tensor.type is BFLOAT16
        (piece,) = pieces(tensor.load(), tensor.type)
        assert numbers(piece, tensor.type).tolist() == floats.tolist()


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_we_read_what_numpy_writes(self, tmp_path, save):
        arrays = {
            **STORABLE,
            **OTHERS,
            "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "swapped": np.arange(4, dtype=">i4"),
        }
        save(tmp_path / "x.npz", **arrays)
        expected = {
            name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()
        }
        same(values(tmp_path / "x.npz"), {k: np.array(v, order="C") for k, v in expected.items()})

    def test_numpy_reads_what_we_write(self, tmp_path, snapshot):
        convert(snapshot, tmp_path / "x.npz")
        same(in_npz(tmp_path / "x.npz"), STORABLE)
        convert(tmp_path / "x.npz", tmp_path / "again")
        same(in_checkpoint(tmp_path / "again"), STORABLE)

    def test_unusual_layouts_become_the_logical_values(self, tmp_path):
        array = np.asfortranarray(np.arange(24, dtype=">f4").reshape(2, 3, 4))
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / f"{save.__name__}.npz", w=array)
            convert(tmp_path / f"{save.__name__}.npz", tmp_path / save.__name__)
            same(in_checkpoint(tmp_path / save.__name__), {"w": np.array(array, "<f4", order="C")})

    def test_members_that_are_no_arrays_are_left_out(self, tmp_path):
        np.savez(tmp_path / "x.npz", w=np.ones(2, np.float32))
        with zipfile.ZipFile(tmp_path / "x.npz", "a") as file:
            file.writestr("note.txt", "text")
        assert convert(tmp_path / "x.npz", tmp_path / "x").left_out == ["note.txt"]

    def test_a_changed_byte_is_noticed(self, tmp_path):
        np.savez(tmp_path / "x.npz", w=np.zeros(65536, np.float32))
        content = bytearray((tmp_path / "x.npz").read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(CheckpointError, match="checksum"):
            convert(tmp_path / "x.npz", tmp_path / "x")


class TestTorch:
    def test_tensors_of_all_types(self, tmp_path):
        kept = [array for array in STORABLE.values() if array.dtype.str in torch_files.STORAGES]
        arrays = {f"t{number}": array for number, array in enumerate(kept)}
        arrays |= {"bool": OTHERS["bool"], "int16": OTHERS["int16"]}
        for options in ({}, {"compression": zipfile.ZIP_DEFLATED}, {"order": None}):
            torch_files.save(tmp_path / "x.pt", arrays, **options)
            assert open_tensors(tmp_path / "x.pt").format == "PyTorch"
            same(values(tmp_path / "x.pt"), arrays)

    def test_big_endian_storages(self, tmp_path):
        stored = torch_files.tensor(torch_files.storage("FloatStorage", "0", 2), 0, (2,), (1,))
        data = np.array([1.5, -2], ">f4").tobytes()
        torch_files.archive(tmp_path / "x.pt", torch_files.program(stored), {"0": data}, b"big")
        same(values(tmp_path / "x.pt"), {"tensor": np.array([1.5, -2], np.float32)})

    def test_views_of_shared_storages(self, tmp_path):
        whole = torch_files.storage("LongStorage", "0", 12)
        pairs = {
            "transposed": torch_files.tensor(whole, 0, (4, 3), (1, 4)),
            "part": torch_files.tensor(whole, 5, (2, 2), (4, 2)),
            "repeated": torch_files.tensor(whole, 11, (3,), (0,)),
            "none": torch_files.tensor(whole, 12, (0, 5), (5, 1)),
        }
        numbers = np.arange(12)
        program = torch_files.program(torch_files.mapping(pairs))
        torch_files.archive(tmp_path / "x.pt", program, {"0": numbers.tobytes()})
        expected = {
            "transposed": numbers.reshape(3, 4).T,
            "part": np.array([[5, 7], [9, 11]]),
            "repeated": np.full(3, 11),
            "none": np.zeros((0, 5), np.int64),
        }
        same(values(tmp_path / "x.pt"), expected)
        convert(tmp_path / "x.pt", tmp_path / "x")
        same(in_checkpoint(tmp_path / "x"), expected)

    def test_newer_ways_to_write_tensors(self, tmp_path):
        untyped = torch_files.group(
            torch_files.text("storage"),
            torch_files.name("torch.storage.UntypedStorage"),
            torch_files.text("0"),
            torch_files.text("cpu"),
            torch_files.integer(4),
        )
        arguments = torch_files.group(
            untyped + b"Q",
            torch_files.integer(0),
            torch_files.group(torch_files.integer(2)),
            torch_files.group(torch_files.integer(1)),
            b"\x89",
            torch_files.name("collections.OrderedDict") + b")R",
            torch_files.name("torch.uint16"),
        )
        third = torch_files.name("torch._utils._rebuild_tensor_v3") + arguments + b"R"
        parameter = torch_files.name("torch._utils._rebuild_parameter")
        parameter += torch_files.group(third, b"\x88", b"N") + b"R"
        torch_files.archive(tmp_path / "x.pt", torch_files.program(parameter), {"0": b"\1\0\2\0"})
        same(values(tmp_path / "x.pt"), {"tensor": np.array([1, 2], np.uint16)})

    def test_nested_dicts_and_lists_become_names(self, tmp_path):
        one = torch_files.tensor(torch_files.storage("FloatStorage", "0", 1), 0, (), ())
        layers = b"](" + one + one + b"e"
        state = torch_files.name("collections.OrderedDict") + b")R("
        state += (
            torch_files.text("w") + one + b"u" + torch_files.mapping({"_metadata": b"N"}) + b"b"
        )
        pairs = {"model": state, "layers": layers, "epoch": torch_files.integer(3)}
        program = torch_files.program(torch_files.mapping(pairs))
        torch_files.archive(tmp_path / "x.pt", program, {"0": np.float32(2.5).tobytes()})
        file = open_tensors(tmp_path / "x.pt")
        assert [tensor.name for tensor in file.tensors] == ["layers.0", "layers.1", "model.w"]
        assert file.left_out == ["epoch"]
        result = convert(tmp_path / "x.pt", tmp_path / "x", include=["model.*"], strip="model.")
        assert result.names == ["w"] and result.left_out == ["epoch"]
        assert in_checkpoint(tmp_path / "x")["w"] == 2.5


def test_what_pytorch_itself_saves(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    kinds = [
        torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16, torch.int32,
        torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.uint32, torch.uint64,
    ]  # fmt: skip
    whole = torch.arange(24.0).reshape(2, 3, 4)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "views": [whole, whole.permute(2, 0, 1), whole[1, 1:, ::2], whole[0, 0, 0].expand(5)],
        "kinds": {str(kind): torch.tensor([0, 1, 2]).to(kind) for kind in kinds},
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "empty": torch.empty(0, 3),
    }
    torch.save(state, tmp_path / "x.pt")

    def leaves(value, path=""):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            name = f"{path}.{key}" if path else str(key)
            if isinstance(one, torch.Tensor):
                yield name, one.detach()
            elif isinstance(one, (dict, list, tuple)):
                yield from leaves(one, name)

    expected = {}
    for name, tensor in leaves(state):
        narrow = tensor.view(torch.uint16) if tensor.dtype is torch.bfloat16 else tensor
        expected[name] = narrow.numpy()
    assert len(expected) > 25
    same(values(tmp_path / "x.pt"), {k: np.array(v, order="C") for k, v in expected.items()})


class TestConvert:
    def test_the_choice_of_tensors(self, tmp_path, snapshot):
        result = convert(snapshot, tmp_path / "a.npz", include=["*8", "s*"], exclude=["scalar"])
        assert result.names == ["int8", "step"] == sorted(in_npz(tmp_path / "a.npz"))
        with pytest.raises(ArgumentError, match=r"nothing to convert \(no tensor of 10"):
            convert(snapshot, tmp_path / "b.npz", include=["x*"])
        flow.save({"a.w": np.ones(1), "w": np.ones(1)}, tmp_path / "two")
        with pytest.raises(ArgumentError, match="name of two tensors"):
            convert(tmp_path / "two", tmp_path / "b.npz", strip="a.")

    def test_nothing_that_exists_is_replaced_unasked(self, tmp_path, snapshot):
        for name in ("x.npz", "x.safetensors"):
            (tmp_path / name).write_text("mine")
            with pytest.raises(CheckpointExistsError, match="exists already"):
                convert(snapshot, tmp_path / name)
            assert (tmp_path / name).read_text() == "mine"
            convert(snapshot, tmp_path / name, overwrite=True)
            same(values(tmp_path / name), STORABLE)
        with pytest.raises(CheckpointExistsError):
            convert(tmp_path / "x.npz", snapshot)
        (tmp_path / "folder.npz").mkdir()
        with pytest.raises(CheckpointExistsError):
            convert(snapshot, tmp_path / "folder.npz", overwrite=True)

    def test_types_that_a_checkpoint_lacks_are_named(self, tmp_path):
        np.savez(tmp_path / "x.npz", good=np.ones(2), **OTHERS)
        with pytest.raises(CheckpointError, match=r"no type for .*int16 \(int16\)"):
            convert(tmp_path / "x.npz", tmp_path / "x")
        names = [name for name in OTHERS]
        assert convert(tmp_path / "x.npz", tmp_path / "x", exclude=names).names == ["good"]

    def test_a_failure_leaves_nothing_behind(self, tmp_path, snapshot, monkeypatch):
        before = sorted(os.listdir(tmp_path))
        (snapshot / "step" / "meta").unlink()
        with pytest.raises(CheckpointError, match="'step' has no meta"):
            convert(snapshot, tmp_path / "x.npz")
        real = Path(os.fspath(tmp_path / "none" / "x.npz"))
        with pytest.raises(CheckpointIOError, match="cannot write"):
            convert(snapshot, real, exclude=["step"])

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        for name in ("x.npz", "x.safetensors"):
            with pytest.raises(CheckpointIOError, match="No space left"):
                convert(snapshot, tmp_path / name, exclude=["step"])
        assert sorted(os.listdir(tmp_path)) == before

    def test_checkpoints_are_replaced_when_asked(self, tmp_path, snapshot):
        flow.save({"w": np.ones(2)}, tmp_path / "x")
        with pytest.raises(CheckpointExistsError):
            convert(snapshot, tmp_path / "x")
        convert(snapshot, tmp_path / "x", overwrite=True)
        same(in_checkpoint(tmp_path / "x"), STORABLE)
        (tmp_path / "x" / "thesis.txt").write_text("mine")
        with pytest.raises(CheckpointExistsError, match=r"thesis\.txt"):
            convert(snapshot, tmp_path / "x", overwrite=True)

    def test_metadata_go_along(self, tmp_path):
        metadata = {"note": "good", "epochs": [1, 2]}
        flow.checkpoint.save(tmp_path / "x", {"w": np.ones(2)}, metadata=metadata)
        convert(tmp_path / "x", tmp_path / "y")
        assert flow.checkpoint.get(tmp_path / "y").metadata == metadata
        convert(tmp_path / "x", tmp_path / "x.safetensors")
        text = {"note": "good", "epochs": "[1, 2]"}
        assert open_tensors(tmp_path / "x.safetensors").metadata == text
        convert(tmp_path / "x.safetensors", tmp_path / "z")
        assert flow.checkpoint.get(tmp_path / "z").metadata == text
        (tmp_path / "x" / "flowrs.json").write_text("{")
        result = convert(tmp_path / "x", tmp_path / "x.npz")
        assert result.left_out == [str(tmp_path / "x" / "flowrs.json")]

    def test_types_of_later_versions_stay_what_they_are(self, tmp_path):
        flow.save({"b": np.zeros(3, np.uint8), "f": np.zeros(2, np.float16)}, tmp_path / "x")
        for name, kind, size, data in [
            ("b", "kBool", 3, b"\0\1\1"),
            ("f", "kBFloat16", 2, b"\x80\x3f\0\0"),
        ]:
            meta = f"shape {{\n  dim: {size}\n}}\ndata_type: {kind}\n"
            (tmp_path / "x" / name / "meta").write_text(meta)
            (tmp_path / "x" / name / "out").write_bytes(data)
        assert convert(tmp_path / "x", tmp_path / "y").widened == []
        for name in ("b", "f"):
            assert (tmp_path / "y" / name / "out").read_bytes() == (
                tmp_path / "x" / name / "out"
            ).read_bytes()
        assert [one.type.name for one in open_tensors(tmp_path / "y").tensors] == [
            "bool",
            "bfloat16",
        ]
        assert convert(tmp_path / "y", tmp_path / "y.npz").widened == ["f"]
        assert in_npz(tmp_path / "y.npz")["b"].tolist() == [False, True, True]

    @pytest.mark.parametrize("name", ["x.pt", "x.h5", "x.PTH"])
    def test_targets_that_are_not_written(self, tmp_path, snapshot, name):
        with pytest.raises(ArgumentError, match="not written"):
            convert(snapshot, tmp_path / name)

    def test_files_of_other_kinds_are_named(self, tmp_path):
        (tmp_path / "old").write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
        (tmp_path / "h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20))
        (tmp_path / "text").write_text("hello, this is text")
        (tmp_path / "nothing").write_text("")
        os.mkfifo(tmp_path / "pipe")
        for name, message in [
            ("old", r"before PyTorch 1\.6"),
            ("h5", "HDF5"),
            ("text", "no safetensors file"),
            ("nothing", "0 bytes are no"),
            ("pipe", "no regular file"),
        ]:
            with pytest.raises(CheckpointError, match=message):
                open_tensors(tmp_path / name)
        with pytest.raises(CheckpointNotFoundError):
            open_tensors(tmp_path / "absent")

    def test_progress_ends_with_all_bytes(self, tmp_path, snapshot):
        total = sum(array.nbytes for array in STORABLE.values())
        for name in ("x.npz", "x.safetensors", "x"):
            seen = [(0, 0)]

            def note(*now, seen=seen):
                seen.append(now)

            convert(snapshot, tmp_path / name, progress=note)
            assert seen[-1] == (total, total)

    def test_memory_does_not_grow_with_the_file(self, tmp_path):
        import tracemalloc

        np.savez(tmp_path / "x.npz", w=np.zeros((4096, 2048), np.float32))
        for source, target in [
            ("x.npz", "x.safetensors"),
            ("x.safetensors", "y.npz"),
            ("y.npz", "y"),
        ]:
            tracemalloc.start()
            convert(tmp_path / source, tmp_path / target)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 8 << 20, (source, target)


class TestTheSystemRefuses:
    def test_room_is_taken_before_anything_is_written(self, tmp_path, snapshot, monkeypatch):
        def full(descriptor, offset, size):
            raise OSError(errno.ENOSPC, "No space left on device")

        np.savez_compressed(tmp_path / "x.npz", w=np.ones(1000))
        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(CheckpointIOError, match=r"cannot write .*No space left"):
            convert(snapshot, tmp_path / "x.safetensors")
        with pytest.raises(CheckpointIOError, match=r"cannot unpack 8128 bytes.*TMPDIR"):
            convert(tmp_path / "x.npz", tmp_path / "x")
        assert sorted(os.listdir(tmp_path)) == ["snapshot", "x.npz"]

    @pytest.mark.parametrize("missing", [True, False])
    def test_file_systems_that_cannot_take_room(self, tmp_path, snapshot, monkeypatch, missing):
        def unsupported(descriptor, offset, size):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        if missing:
            monkeypatch.delattr(os, "posix_fallocate")
        else:
            monkeypatch.setattr(os, "posix_fallocate", unsupported)
        convert(snapshot, tmp_path / "x.safetensors")
        same(values(tmp_path / "x.safetensors"), STORABLE)

    def test_no_folder_for_temporary_files(self, tmp_path, monkeypatch):
        np.savez_compressed(tmp_path / "x.npz", w=np.ones(1000))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
        with pytest.raises(CheckpointIOError, match="TMPDIR"):
            convert(tmp_path / "x.npz", tmp_path / "x")

    @pytest.mark.parametrize("parts", [[b"abc"], [b"abcd", b"e"], []])
    def test_more_or_fewer_bytes_than_were_said(self, parts):
        with pytest.raises(CheckpointError, match="w: the file holds other than the 4 bytes"):
            spilled(parts, 4, "w")

    def test_file_systems_without_links(self, tmp_path, snapshot, monkeypatch):
        def no_links(one, other):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
        convert(snapshot, tmp_path / "x.npz")
        same(values(tmp_path / "x.npz"), STORABLE)

    @pytest.mark.parametrize("links", [True, False])
    def test_a_file_that_appears_meanwhile_is_not_replaced(
        self, tmp_path, snapshot, monkeypatch, links
    ):
        def appears(done, total):
            (tmp_path / "x.npz").write_text("mine")

        def no_links(one, other):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        if not links:
            monkeypatch.setattr(os, "link", no_links)
        with pytest.raises(CheckpointError):
            convert(snapshot, tmp_path / "x.npz", progress=appears)
        assert sorted(os.listdir(tmp_path)) == ["snapshot", "x.npz"]
        assert (tmp_path / "x.npz").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("__metadata__", "x.safetensors", "no such name"),
        ("a\0b", "x.npz", "cannot store this name"),
        ("\ud800", "x.npz", "cannot store this name"),
        ("\ud800", "x.safetensors", "UTF-8 alone"),
        ("\ud800", "x", r"the name '\\ud800', which is not UTF-8"),
    ],
)
def test_names_that_a_format_lacks(tmp_path, name, target, message):
    tensor = torch_files.tensor(torch_files.storage("ByteStorage", "0", 1), 0, (), ())
    encoded = name.encode("utf-8", "surrogatepass")
    text = b"X" + struct.pack("<I", len(encoded)) + encoded
    program = torch_files.program(b"}(" + text + tensor + b"u")
    torch_files.archive(tmp_path / "x.pt", program, {"0": b"x"})
    with pytest.raises(CheckpointError, match=message):
        convert(tmp_path / "x.pt", tmp_path / target)
    assert os.listdir(tmp_path) == ["x.pt"]


def test_types_that_safetensors_lacks(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.array([1j]))
    with pytest.raises(CheckpointError, match="no such type as complex128"):
        convert(tmp_path / "x.npz", tmp_path / "x.safetensors")
    assert os.listdir(tmp_path) == ["x.npz"]


def test_npz_header_that_is_not_a_literal(tmp_path):
    buffer = io.BytesIO()
    buffer.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 20) + b"__import__('os')   \n")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("w.npy", buffer.getvalue())
    with pytest.raises(CheckpointError, match="no npy file"):
        open_tensors(tmp_path / "x.npz")
