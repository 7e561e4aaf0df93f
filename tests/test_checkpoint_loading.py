"""Loading: other names, other dtypes, files as memory, steps, several checkpoints."""

import os

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs.checkpoint import get, reset_step, save
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    CheckpointIOError,
    LoadError,
)

STEP = "System-Train-TrainStep-train"
MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def train():
    """A job that subtracts 1 from the vector, and has a matrix beside it."""

    @flow.global_function(type="train")
    def train() -> tp.Numpy:
        vector = flow.get_variable("vector", (3,), initializer=flow.zeros_initializer())
        matrix = flow.get_variable("matrix", (2, 3), initializer=flow.zeros_initializer())
        loss = flow.math.reduce_sum(vector) + 0 * flow.math.reduce_sum(matrix)
        rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
        flow.optimizer.SGD(rate, momentum=0).minimize(loss)
        return loss

    return train


def value(name):
    return flow.get_all_variables()[name].numpy()


@pytest.mark.parametrize("io", ["mmap", "read"])
@pytest.mark.parametrize("adopt", [False, True])
def test_files_become_values(io, adopt, train, tmp_path):
    save(tmp_path / "s", {"vector": np.array([1, 2, 3], np.float32), "matrix": MATRIX})
    before = {each: (tmp_path / "s" / each / "out").read_bytes() for each in ("vector", "matrix")}
    report = flow.load_variables(get(tmp_path / "s", io=io), adopt=adopt)
    assert (sorted(report.loaded), report.missing) == (["matrix", "vector"], [STEP])
    np.testing.assert_array_equal(value("matrix"), MATRIX)
    for _ in range(3):
        train()
    assert value("vector").tolist() == [-2, -1, 0]
    # The files are as they were, and the variables outlive them.
    after = {each: (tmp_path / "s" / each / "out").read_bytes() for each in before}
    assert after == before
    save(tmp_path / "s", overwrite=True)
    train()
    assert value("vector").tolist() == [-3, -2, -1]
    np.testing.assert_array_equal(value("matrix"), MATRIX)
    assert get(tmp_path / "s")["vector"].numpy().tolist() == [-2, -1, 0]


def test_several_sources_in_one_step(train, tmp_path):
    save(tmp_path / "s", {"matrix": MATRIX})
    blob = get(tmp_path / "s")["matrix"]
    flow.load_variables({"matrix": blob, "vector": np.ones(3, np.float32)}, adopt=True)
    assert value("vector").tolist() == [1, 1, 1]
    np.testing.assert_array_equal(value("matrix"), MATRIX)


def test_one_checkpoint_after_the_other(train, tmp_path):
    save(tmp_path / "one", {"matrix": MATRIX, "vector": np.ones(3, np.float32)})
    save(tmp_path / "two", {"vector": np.full(3, 2, np.float32)})
    flow.load_variables(get(tmp_path / "one"))
    report = flow.load_variables(get(tmp_path / "two"))
    assert sorted(report.missing) == [STEP, "matrix"]
    assert value("vector").tolist() == [2, 2, 2]
    np.testing.assert_array_equal(value("matrix"), MATRIX)


def test_large_variables_are_read_in_pieces(tmp_path):
    big = np.random.default_rng(0).standard_normal((3, 1_500_000)).astype(np.float32)

    @flow.global_function()
    def job() -> None:
        flow.get_variable("big", big.shape, initializer=flow.zeros_initializer())

    save(tmp_path / "s", {"big": big})
    flow.load_variables(get(tmp_path / "s"), strict=True)
    np.testing.assert_array_equal(value("big"), big)


class TestNames:
    def test_a_dict(self, train):
        report = flow.load_variables(
            {"old": MATRIX, "vector": np.ones(3, np.float32)}, rename={"old": "matrix", "x": "y"}
        )
        assert sorted(report.loaded) == ["matrix", "vector"]

    def test_a_function(self, train, tmp_path):
        save(tmp_path / "s", {"model/matrix": MATRIX})
        flow.load_variables(get(tmp_path / "s"), rename=lambda name: name.removeprefix("model/"))
        np.testing.assert_array_equal(value("matrix"), MATRIX)

    def test_what_cannot_be(self, train):
        with pytest.raises(ArgumentError, match="two values the name 'matrix'"):
            flow.load_variables({"a": MATRIX, "matrix": MATRIX}, rename={"a": "matrix"})
        for rename in (3, lambda _: None):
            with pytest.raises(ArgumentTypeError, match="rename"):
                flow.load_variables({"a": MATRIX}, rename=rename)

    def test_close_names_are_suggested_both_ways(self, train):
        with pytest.raises(LoadError) as caught:
            flow.load_variables({"Matrix": MATRIX}, strict=True)
        text = str(caught.value)
        assert '"Matrix" is not a variable name; did you mean matrix?' in text
        assert 'no value for variable "matrix"; did you mean Matrix?' in text
        assert caught.value.report.unexpected == ["Matrix"]


class TestCast:
    def test_dtypes_of_the_same_kind(self, train, tmp_path):
        for given in (MATRIX.astype(np.float64), MATRIX.astype(np.float16), MATRIX.astype(int)):
            with pytest.raises(LoadError, match="matrix: the variable is"):
                flow.load_variables({"matrix": given})
            report = flow.load_variables({"matrix": given + 1}, cast=True)
            assert report.cast == report.loaded == ["matrix"]
            assert "converted: matrix" in str(report)
            np.testing.assert_array_equal(value("matrix"), MATRIX + 1)
        save(tmp_path / "s", {"matrix": MATRIX.astype(np.float64)})
        assert flow.load_variables(get(tmp_path / "s"), cast=True).cast == ["matrix"]
        np.testing.assert_array_equal(value("matrix"), MATRIX)

    def test_bfloat16(self, train, tmp_path):
        save(tmp_path / "s", {"vector": np.array([1.5, -2, 3], np.float32)})
        out = tmp_path / "s" / "vector" / "out"
        out.write_bytes((np.array([1.5, -2, 3], "<f4").view("<u4") >> 16).astype("<u2").tobytes())
        (tmp_path / "s/vector/meta").write_text("shape { dim: 3 } data_type: kBFloat16")
        with pytest.raises(LoadError, match=r"value kBFloat16 of shape \(3,\)"):
            flow.load_variables(get(tmp_path / "s"))
        flow.load_variables(get(tmp_path / "s"), cast=True)
        assert value("vector").tolist() == [1.5, -2, 3]

    def test_what_would_lose_more_than_digits(self, train):
        for given in (MATRIX + 0j, MATRIX.T.copy()):
            with pytest.raises(LoadError):
                flow.load_variables({"matrix": given}, cast=True)
        with pytest.raises(LoadError, match=STEP):
            flow.load_variables({STEP: np.array([1.5])}, cast=True)


class TestSteps:
    def test_of_a_checkpoint(self, train, tmp_path):
        train()
        train()
        save(tmp_path / "s")
        assert get(tmp_path / "s").step == 2
        reset_step(tmp_path / "s")
        assert get(tmp_path / "s", verify=True).step == 0
        reset_step(os.fspath(tmp_path / "s"), 41)
        flow.load_variables(get(tmp_path / "s"))
        train()
        assert value(STEP).tolist() == [42]

    def test_of_a_job(self, train):
        train()
        reset_step("train")
        assert value(STEP).tolist() == [0]
        reset_step("train", np.int64(9))
        assert value(STEP).tolist() == [9]

    def test_what_has_no_step(self, train, tmp_path, monkeypatch):
        save(tmp_path / "s", {"w": MATRIX})
        with pytest.raises(CheckpointError, match="holds no step"):
            reset_step(tmp_path / "s")
        with pytest.raises(ArgumentError, match="neither a job nor a checkpoint"):
            reset_step("other")
        for step, kind in ((-1, ArgumentError), (1 << 63, ArgumentError), (1.0, ArgumentTypeError)):
            with pytest.raises(kind, match="step"):
                reset_step("train", step)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "train").mkdir()
        with pytest.raises(ArgumentError, match="both a job and a directory"):
            reset_step("train")


def test_nothing_changes_when_a_file_is_gone(train, tmp_path):
    for adopt in (False, True):
        flow.load_variables({"matrix": MATRIX, "vector": np.ones(3, np.float32)})
        save(
            tmp_path / "s",
            {"matrix": MATRIX + 1, "vector": np.zeros(3, np.float32)},
            overwrite=True,
        )
        opened = get(tmp_path / "s")
        (tmp_path / "s" / "vector" / "out").unlink()
        with pytest.raises(CheckpointIOError, match="vector/out"):
            flow.load_variables(opened, adopt=adopt)
        np.testing.assert_array_equal(value("matrix"), MATRIX)
        os.unlink(tmp_path / "s" / "vector" / "meta")
        os.rmdir(tmp_path / "s" / "vector")
