"""Checkpoints: their exact files, saving whole or not at all, opening without reading, resuming."""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs.checkpoint import FileBackendVariableBlob
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    CheckpointExistsError,
    CheckpointIOError,
    CheckpointNotFoundError,
    DTypeError,
    FlowrsError,
    SessionError,
)

STEP = "System-Train-TrainStep-train_job"
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def tree(path):
    """Every file below a path with its bytes."""
    files = {}
    for found in sorted(Path(path).rglob("*")):
        assert not found.is_symlink()
        if found.is_file():
            files[str(found.relative_to(path))] = found.read_bytes()
    return files


def constant_rate(rate):
    return flow.optimizer.PiecewiseConstantScheduler([], [rate])


def define_mlp(optimizer):
    @flow.global_function(type="train")
    def train_job(
        images: tp.Numpy.Placeholder((10, 1, 28, 28), dtype=flow.float),
        labels: tp.Numpy.Placeholder((10,), dtype=flow.int32),
    ) -> tp.Numpy:
        initializer = flow.truncated_normal(0.1)
        reshape = flow.reshape(images, [images.shape[0], -1])
        hidden = flow.layers.dense(
            reshape, 512, activation=flow.nn.relu, kernel_initializer=initializer, name="dense1"
        )
        dense2 = flow.layers.dense(hidden, 10, kernel_initializer=initializer, name="dense2")
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, dense2)
        optimizer.minimize(loss)
        return loss

    return train_job


def batch(number):
    random = np.random.default_rng(number)
    return random.random((10, 1, 28, 28), np.float32), random.integers(0, 10, 10, dtype=np.int32)


MLP = {
    "dense1-weight": (512, 784),
    "dense1-bias": (512,),
    "dense2-weight": (10, 512),
    "dense2-bias": (10,),
}
OPTIMIZERS = {
    "sgd": lambda: flow.optimizer.SGD(constant_rate(0.1), momentum=0),
    "momentum": lambda: flow.optimizer.SGD(constant_rate(0.1), momentum=0.9),
    "adam": lambda: flow.optimizer.Adam(constant_rate(0.01)),
    "corrected adam": lambda: flow.optimizer.Adam(
        flow.optimizer.CosineScheduler(0.01, 15, warmup=flow.optimizer.warmup.linear(5, 0.1)),
        do_bias_correction=True,
    ),
}


class TestFiles:
    @pytest.mark.parametrize(
        ("array", "meta", "out"),
        [
            (
                np.zeros((512, 784), np.float32),
                b"shape {\n  dim: 512\n  dim: 784\n}\ndata_type: kFloat\n",
                bytes(4 * 512 * 784),
            ),
            (
                np.ones(10, np.float32),
                b"shape {\n  dim: 10\n}\ndata_type: kFloat\n",
                b"\x00\x00\x80\x3f" * 10,
            ),
            (np.array(-2, np.float32), b"shape {\n}\ndata_type: kFloat\n", b"\x00\x00\x00\xc0"),
            (
                np.array([258], np.int64),
                b"shape {\n  dim: 1\n}\ndata_type: kInt64\n",
                b"\x02\x01\0\0\0\0\0\0",
            ),
            (
                np.array([[1.5]]),
                b"shape {\n  dim: 1\n  dim: 1\n}\ndata_type: kDouble\n",
                b"\0\0\0\0\0\0\xf8\x3f",
            ),
            (np.array([-1, 1], np.int8), b"shape {\n  dim: 2\n}\ndata_type: kInt8\n", b"\xff\x01"),
            (np.array([255], np.uint8), b"shape {\n  dim: 1\n}\ndata_type: kUInt8\n", b"\xff"),
            (np.array([1], np.int32), b"shape {\n  dim: 1\n}\ndata_type: kInt32\n", b"\1\0\0\0"),
            (np.array([1], np.float16), b"shape {\n  dim: 1\n}\ndata_type: kFloat16\n", b"\0\x3c"),
            (
                np.zeros((3, 0), np.float32),
                b"shape {\n  dim: 3\n  dim: 0\n}\ndata_type: kFloat\n",
                b"",
            ),
        ],
    )
    def test_exact_bytes(self, array, meta, out, tmp_path):
        flow.checkpoint.save(tmp_path / "snapshot", {"some-name": array}, checksum=False)
        assert tree(tmp_path / "snapshot") == {
            "some-name/meta": meta,
            "some-name/out": out,
            "snapshot_done": b"",
        }

    def test_the_mlp_leaves_six_entries(self, tmp_path):
        train_job = define_mlp(OPTIMIZERS["sgd"]())
        for number in range(3):
            train_job(*batch(number))
        flow.checkpoint.save(tmp_path / "mlp_models_1", checksum=False)
        assert sorted(os.listdir(tmp_path / "mlp_models_1")) == sorted(
            [*MLP, STEP, "snapshot_done"]
        )
        files = tree(tmp_path / "mlp_models_1")
        assert files.pop("snapshot_done") == b""
        for name, variable in flow.get_all_variables().items():
            assert files.pop(f"{name}/out") == variable.numpy().tobytes()
            dims = "".join(f"  dim: {extent}\n" for extent in variable.shape)
            kind = "kInt64" if name == STEP else "kFloat"
            assert files.pop(f"{name}/meta").decode() == (
                f"shape {{\n{dims}}}\ndata_type: {kind}\n"
            )
        assert files == {}
        assert (tmp_path / "mlp_models_1" / STEP / "out").read_bytes() == b"\3" + bytes(7)

    @pytest.mark.parametrize(
        ("optimizer", "suffixes"), [("momentum", ["momentum"]), ("adam", ["m", "v"])]
    )
    def test_slots_are_saved_beside_their_variables(self, optimizer, suffixes, tmp_path):
        define_mlp(OPTIMIZERS[optimizer]())(*batch(0))
        flow.checkpoint.save(tmp_path / "snapshot")
        opened = flow.load(tmp_path / "snapshot")
        slots = {f"{name}-{suffix}": shape for name, shape in MLP.items() for suffix in suffixes}
        assert {name: v.shape for name, v in opened.items()} == {**MLP, **slots, STEP: (1,)}

    @pytest.mark.parametrize("name", ["mlp_init", "lenet_init"])
    def test_saving_the_golden_weights_again(self, name, golden_dir, tmp_path):
        flow.checkpoint.save(tmp_path / "again", flow.load(golden_dir / name), checksum=False)
        assert tree(tmp_path / "again") == tree(golden_dir / name)

    def test_any_memory_layout_is_saved_in_c_order(self, tmp_path):
        read_only = ARRAY.copy()
        read_only.setflags(write=False)
        misaligned = np.frombuffer(b"\0" + ARRAY.tobytes(), np.uint8)[1:].view("<f4").reshape(2, 3)
        layouts = {
            "fortran": np.asfortranarray(ARRAY),
            "negative": ARRAY[::-1, ::-1].copy()[::-1, ::-1],
            "strided": np.repeat(ARRAY, 2, axis=1)[:, ::2],
            "swapped": ARRAY.astype(">f4"),
            "read-only": read_only,
            "misaligned": misaligned,
            "transposed": ARRAY.T.copy().T,
        }
        layouts["mapped"] = np.memmap(tmp_path / "file", "<f4", "w+", shape=(2, 3))
        layouts["mapped"][:] = ARRAY
        flow.save({**layouts, "broadcast": np.broadcast_to(ARRAY[0], (2, 3))}, tmp_path / "s")
        files = tree(tmp_path / "s")
        for name in layouts:
            assert files[f"{name}/out"] == ARRAY.astype("<f4").tobytes(), name
        assert files["broadcast/out"] == ARRAY[0].tobytes() * 2

    @pytest.mark.parametrize(
        "array",
        [
            *(np.array([True]), np.array([1j]), np.array(["a"]), np.array([None])),
            *(np.zeros(1, np.uint16), np.zeros(1, np.int16), np.zeros(1, "M8[s]")),
            np.zeros(1, [("a", "f4")]),
        ],
    )
    def test_dtypes_that_cannot_be_saved(self, array, tmp_path):
        name = re.escape(str(array.dtype))
        with pytest.raises(DTypeError, match=f"variable b: {name} is no element type.*float32"):
            flow.save({"a": ARRAY, "b": array}, tmp_path / "new" / "snapshot")
        assert os.listdir(tmp_path) == []

    def test_names_with_parts(self, tmp_path):
        values = {"a/b": ARRAY, "a/c/d": ARRAY + 1, "e": ARRAY + 2, "größe.1 x": ARRAY + 3}
        flow.save(values, tmp_path / "snapshot")
        opened = flow.load(tmp_path / "snapshot")
        assert list(opened) == sorted(values)
        for name, array in values.items():
            np.testing.assert_array_equal(opened[name].numpy(), array)
            assert opened[name].name == name


class TestSave:
    def test_places_that_are_free(self, tmp_path, monkeypatch):
        flow.save({"w": ARRAY}, tmp_path / "new" / "below" / "snapshot")
        (tmp_path / "empty").mkdir()
        flow.save({"w": ARRAY}, str(tmp_path / "empty"))
        monkeypatch.chdir(tmp_path)
        flow.save({"w": ARRAY}, "./relative")
        flow.save({"w": ARRAY}, "with-slash/")
        expected = tree(tmp_path / "relative")
        for other in ("empty", "new/below/snapshot", "with-slash"):
            assert tree(tmp_path / other) == expected
        assert sorted(os.listdir(tmp_path)) == ["empty", "new", "relative", "with-slash"]

    def test_places_that_are_taken(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine").write_text("mine")
        before = tree(tmp_path)
        for name, words in (
            ("file", "a file of this name"),
            ("full", "not empty; save into a new directory, or replace"),
        ):
            with pytest.raises(CheckpointExistsError, match=f"{name}: .*{words}"):
                flow.save({"w": ARRAY}, tmp_path / name)
        assert tree(tmp_path) == before

    def test_a_save_that_fails_leaves_nothing(self, tmp_path):
        for values, kind in (
            ({"a": ARRAY, "b": "text"}, ArgumentTypeError),
            ({"a": ARRAY, "b": None}, ArgumentTypeError),
            ({"a": ARRAY, "b": np.zeros(1, complex)}, DTypeError),
            ({"a": ARRAY, "..": ARRAY}, CheckpointError),
            ({"a": ARRAY, "a/out": ARRAY}, CheckpointError),
            ({"a": ARRAY, "snapshot_done": ARRAY}, CheckpointError),
            ({"a": ARRAY, "": ARRAY}, CheckpointError),
            ({"a": ARRAY, "b" * 300: ARRAY}, CheckpointError),
            ({"a": ARRAY, 3: ARRAY}, ArgumentTypeError),
            ([("a", ARRAY)], ArgumentTypeError),
        ):
            with pytest.raises(kind) as caught:
                flow.save(values, tmp_path / "new" / "snapshot")
            assert isinstance(caught.value, FlowrsError)
            assert os.listdir(tmp_path) == []

    def test_a_parent_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(CheckpointIOError, match="file") as caught:
            flow.save({"w": ARRAY}, tmp_path / "file" / "snapshot")
        assert isinstance(caught.value, OSError)
        assert tree(tmp_path) == {"file": b"mine"}

    def test_values_of_all_kinds(self, tmp_path):
        @flow.global_function()
        def job() -> None:
            flow.get_variable("w", (2,), initializer=flow.constant_initializer(3))

        flow.save({"file": ARRAY}, tmp_path / "one")
        values = {
            "array": ARRAY + 1,
            "variable": flow.get_all_variables()["w"],
            "blob": flow.load(tmp_path / "one")["file"],
        }
        flow.checkpoint.save(tmp_path / "two", values)
        opened = {name: v.numpy().tolist() for name, v in flow.load(tmp_path / "two").items()}
        assert opened == {
            "array": (ARRAY + 1).tolist(),
            "variable": [3, 3],
            "blob": ARRAY.tolist(),
        }

    def test_the_arguments_of_the_two_forms(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "one")
        flow.save(obj={"w": ARRAY}, save_dir=tmp_path / "two")
        flow.checkpoint.save(path=tmp_path / "three", var_dict={"w": ARRAY})
        assert tree(tmp_path / "one") == tree(tmp_path / "two") == tree(tmp_path / "three")
        with pytest.raises(ArgumentTypeError):
            flow.save(str(tmp_path / "four"), {"w": ARRAY})
        assert not (tmp_path / "four").exists()

    def test_a_session_is_needed_for_all_variables_only(self, tmp_path):
        with pytest.raises(SessionError, match="no job is defined"):
            flow.checkpoint.save(tmp_path / "snapshot")
        flow.checkpoint.save(tmp_path / "nothing", {})
        assert flow.checkpoint.get(tmp_path / "nothing") == {}

    def test_a_save_beside_training_is_of_one_moment(self, tmp_path):
        @flow.global_function("train")
        def train() -> None:
            initializer = flow.zeros_initializer()
            a, z = (flow.get_variable(name, (9999,), initializer=initializer) for name in "az")
            loss = flow.math.reduce_sum(a) + flow.math.reduce_sum(z)
            flow.optimizer.SGD(constant_rate(1.0), momentum=0).minimize(loss)

        variables = flow.get_all_variables()
        renamed = {"a": variables["z"], "b": variables["z"], "z": variables["a"]}
        done = threading.Event()

        def train_on():
            while not done.is_set():
                train()

        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(train_on)
            for number in range(20):
                flow.save(renamed, tmp_path / str(number))
            done.set()
            training.result()
        for number in range(20):
            values = [value.numpy() for value in flow.load(tmp_path / str(number)).values()]
            assert len(set(np.concatenate(values))) == 1

    def test_a_checkpoint_that_is_being_read_keeps_its_values(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        mapped = flow.load(tmp_path / "snapshot")["w"].numpy()
        for found in sorted((tmp_path / "snapshot").rglob("*"), reverse=True):
            found.rmdir() if found.is_dir() else found.unlink()
        flow.save({"w": ARRAY + 1}, tmp_path / "snapshot")
        np.testing.assert_array_equal(mapped, ARRAY)


class TestGet:
    def test_attributes(self, tmp_path):
        flow.save({"w": ARRAY, "step": np.array([7])}, tmp_path / "snapshot")
        opened = flow.checkpoint.get(str(tmp_path / "snapshot"))
        assert list(opened) == ["step", "w"]
        value = opened["w"]
        assert isinstance(value, FileBackendVariableBlob)
        assert (value.shape, value.dtype, value.has_meta_info_) == ((2, 3), flow.float32, True)
        assert value.file_path == str(tmp_path / "snapshot" / "w" / "out")
        assert value.var_dir_ == str(tmp_path / "snapshot" / "w")
        assert (value.name, value.kind, value.size_in_bytes) == ("w", "kFloat", 24)
        assert "snapshot/w/out', (2, 3), kFloat" in repr(value)
        assert opened["step"].numpy().item() == 7

    def test_no_session_is_needed(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        assert list(flow.checkpoint.get(tmp_path / "snapshot")) == ["w"]
        assert flow.load is flow.checkpoint.get

        @flow.global_function()
        def job() -> None:
            pass

        job()

    def test_a_single_variable(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        value = flow.checkpoint.get(tmp_path / "snapshot" / "w")
        np.testing.assert_array_equal(value.numpy(), ARRAY)
        assert value.name == "w"

    def test_only_metadata_is_read(self, tmp_path):
        flow.save({"w": np.zeros(1, np.float32)}, tmp_path / "snapshot")
        size = 1 << 36
        os.truncate(tmp_path / "snapshot" / "w" / "out", size)
        (tmp_path / "snapshot" / "w" / "meta").write_text(
            f"shape {{ dim: {size // 4} }} data_type: kFloat"
        )
        value = flow.load(tmp_path / "snapshot")["w"]
        assert value.shape == (size // 4,)
        assert value.numpy()[-1] == 0

    def test_arrays_are_read_only_views_of_the_file(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        value = flow.load(tmp_path / "snapshot")["w"]
        array = value.numpy()
        assert type(array) is np.ndarray and not array.flags.writeable and not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        with open(value.file_path, "r+b") as file:
            file.write(np.float32(100).tobytes())
        assert array[0, 0] == 100

    def test_memmaps(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        value = flow.load(tmp_path / "snapshot")["w"]
        shown, changed = value.memmap(), value.memmap(mode="c")
        for mapped, mode in ((shown, "r"), (value.memmap("r"), "r"), (changed, "c")):
            assert type(mapped) is np.memmap and mapped.mode == mode
            assert (mapped.filename, mapped.offset) == (value.file_path, 0)
            np.testing.assert_array_equal(mapped, ARRAY)
        with pytest.raises(ValueError, match="read-only"):
            shown[0, 0] = 1
        changed[0] = -1
        changed.flush()
        assert changed.sum() == 9 and changed[1:].mean() == 4
        assert shown.sum() == 15 and value.numpy().sum() == 15
        assert Path(value.file_path).read_bytes() == ARRAY.tobytes()
        for mode in ("r+", "w+", "w", None, ""):
            with pytest.raises(ArgumentError, match='mode must be "r" or "c"'):
                value.memmap(mode)

    @pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
    def test_shapes_without_axes_or_elements(self, shape, tmp_path):
        flow.save({"w": np.ones(shape, np.float32)}, tmp_path / "snapshot")
        value = flow.load(tmp_path / "snapshot")["w"]
        for array in (value.numpy(), value.memmap("c")):
            assert array.shape == value.shape == shape and array.dtype == np.float32
            assert array.sum() == np.ones(shape).sum()

    def test_files_that_are_gone(self, tmp_path):
        flow.save({"w": ARRAY, "v": ARRAY + 1}, tmp_path / "snapshot")
        opened = flow.load(tmp_path / "snapshot")
        kept, owned = opened["w"].numpy(), opened["w"].memmap("c")
        for name in ("w", "v"):
            os.unlink(opened[name].file_path)
        np.testing.assert_array_equal(kept, ARRAY)
        np.testing.assert_array_equal(owned, ARRAY)
        with pytest.raises(CheckpointIOError, match="v/out: cannot open"):
            opened["v"].numpy()
        del opened
        np.testing.assert_array_equal(kept, ARRAY)

    def test_files_that_change_their_size(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        value = flow.load(tmp_path / "snapshot")["w"]
        os.truncate(value.file_path, 8)
        with pytest.raises(CheckpointError, match=r"expected 24 bytes as when.*found 8"):
            value.numpy()

    def test_what_other_writers_leave(self, tmp_path):
        flow.save({"w": ARRAY, "v": ARRAY + 1}, tmp_path / "snapshot")
        root = tmp_path / "snapshot"
        (root / "snapshot_done").unlink()
        (root / "w" / "out.npy").write_bytes(b"stray")
        (root / "notes.txt").write_text("stray")
        (root / "empty").mkdir()
        (root / "pickled_data").write_bytes(b"never opened")
        (root / "link").symlink_to(root / "w")
        (root / "v" / "meta").write_text(
            "# a comment\ndata_type: 2 shape < dim: [2, 3] >\nstride { dim: 3 dim: 1 }\n"
        )
        opened = flow.load(root)
        assert list(opened) == ["v", "w"]
        np.testing.assert_array_equal(opened["v"].numpy(), ARRAY + 1)

    def test_without_meta(self, tmp_path):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        (tmp_path / "snapshot" / "w" / "meta").unlink()
        value = flow.load(tmp_path / "snapshot")["w"]
        assert (value.shape, value.dtype, value.has_meta_info_) == (None, None, False)
        assert "24 bytes, no meta" in repr(value)
        for read in (value.numpy, value.memmap):
            with pytest.raises(CheckpointError, match=r"w/out: there is no meta.*load_variables"):
                read()

    def test_types_of_later_versions(self, tmp_path):
        flow.save({"w": np.array([1], np.uint8)}, tmp_path / "snapshot")
        (tmp_path / "snapshot" / "w" / "meta").write_text("shape { dim: 1 } data_type: kBool")
        value = flow.load(tmp_path / "snapshot")["w"]
        assert (value.shape, value.kind) == ((1,), "kBool")
        with pytest.raises(DTypeError, match="w/out: kBool is no element type"):
            _ = value.dtype
        np.testing.assert_array_equal(value.numpy(), np.array([True]))

    def test_relative_paths_outlive_a_change_of_directory(self, tmp_path, monkeypatch):
        flow.save({"w": ARRAY}, tmp_path / "snapshot")
        monkeypatch.chdir(tmp_path)
        value = flow.load("./snapshot")["w"]
        assert value.file_path == "snapshot/w/out"
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        np.testing.assert_array_equal(value.numpy(), ARRAY)
        assert value.memmap().filename == str(tmp_path / "snapshot/w/out")

    def test_nothing_is_there(self, tmp_path):
        with pytest.raises(CheckpointNotFoundError, match="no such checkpoint") as caught:
            flow.checkpoint.get(tmp_path / "none")
        assert isinstance(caught.value, FileNotFoundError)
        with pytest.raises(CheckpointError, match="holds no variables"):
            flow.checkpoint.get(tmp_path)


class TestResume:
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_a_run_that_was_stopped_ends_with_the_same_bits(self, optimizer, tmp_path):
        flow.config.random_seed(7)
        losses = self.train(optimizer, 0, 10)
        flow.checkpoint.save(tmp_path / "half")
        losses += self.go_on(10, 20)
        expected = {name: v.numpy() for name, v in flow.get_all_variables().items()}

        flow.config.random_seed(8)
        resumed = self.train(optimizer, 0, 0)
        report = flow.load_variables(flow.checkpoint.get(tmp_path / "half"))
        assert not (report.missing or report.unexpected)
        resumed += self.go_on(10, 20)
        assert resumed == losses[10:]
        found = {name: v.numpy() for name, v in flow.get_all_variables().items()}
        assert list(found) == list(expected) and found[STEP].tolist() == [20]
        for name, value in expected.items():
            assert np.array_equal(found[name], value), name

    def train(self, optimizer, first, last):
        flow.clear_default_session()
        self.job = define_mlp(OPTIMIZERS[optimizer]())
        return self.go_on(first, last)

    def go_on(self, first, last):
        return [self.job(*batch(number)).tobytes() for number in range(first, last)]
