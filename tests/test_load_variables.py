"""Loading: all values or none, what fits, and what the report says."""

import re

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs.checkpoint import LoadReport
from flowrs.errors import (
    ArgumentTypeError,
    CheckpointError,
    CheckpointIOError,
    LoadError,
    SessionError,
)
from flowrs.session import default_session

STEP = "System-Train-TrainStep-train"


@pytest.fixture
def variables():
    """A session with a matrix, a vector, an int8 vector, a scalar, and a train job's step."""

    def get(name, *shape, dtype=flow.float32):
        return flow.get_variable(name, shape, dtype, flow.zeros_initializer())

    @flow.global_function(type="train")
    def train(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        loss = x * get("vector", 2)
        rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
        flow.optimizer.SGD(rate, momentum=0).minimize(loss)
        return loss

    @flow.global_function()
    def predict() -> None:
        get("matrix", 2, 3)
        get("other", 2, 3)
        get("codes", 4, dtype=flow.int8)
        get("scalar", dtype=flow.float64)

    return lambda: {name: v.numpy() for name, v in flow.get_all_variables().items()}


MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


class TestWhatFits:
    def test_arrays_of_any_layout(self, variables):
        for array in (
            MATRIX,
            np.asfortranarray(MATRIX),
            MATRIX.astype(">f4"),
            MATRIX[::-1].copy()[::-1],
            np.repeat(MATRIX, 2, axis=0)[::2],
            np.frombuffer(b"\0" + MATRIX.tobytes(), np.uint8)[1:].view("<f4").reshape(2, 3),
        ):
            flow.load_variables({"matrix": np.zeros((2, 3), np.float32)})
            report = flow.load_variables({"matrix": array})
            np.testing.assert_array_equal(variables()["matrix"], MATRIX)
            assert report.loaded == ["matrix"]
        flow.load_variables({"matrix": np.broadcast_to(MATRIX[0], (2, 3))})
        np.testing.assert_array_equal(variables()["matrix"], [MATRIX[0]] * 2)

    def test_int8_and_scalars(self, variables):
        codes = np.array([-128, -1, 0, 127], np.int8)
        flow.load_variables({"codes": codes, "scalar": np.array(2.5)})
        found = variables()
        np.testing.assert_array_equal(found["codes"], codes)
        assert found["scalar"].shape == () and found["scalar"] == 2.5

    def test_int8_under_its_older_name(self, variables, tmp_path):
        flow.save({"codes": np.array([1, 2, 3, 4], np.int8)}, tmp_path / "snapshot")
        meta = tmp_path / "snapshot" / "codes" / "meta"
        meta.write_text(meta.read_text().replace("kInt8", "kChar"))
        flow.load_variables(flow.load(tmp_path / "snapshot"))
        assert variables()["codes"].tolist() == [1, 2, 3, 4]

    def test_values_are_copied(self, variables):
        array = MATRIX.copy()
        flow.load_variables({"matrix": array})
        array[:] = -1
        found = variables()["matrix"]
        np.testing.assert_array_equal(found, MATRIX)
        found[:] = -1
        np.testing.assert_array_equal(variables()["matrix"], MATRIX)

    def test_values_of_a_checkpoint(self, variables, tmp_path):
        variables()
        flow.load_variables({"matrix": MATRIX, STEP: np.array([5])})
        flow.checkpoint.save(tmp_path / "snapshot")
        flow.load_variables({"matrix": MATRIX * 0, STEP: np.array([0])})
        report = flow.load_variables(flow.checkpoint.get(tmp_path / "snapshot"))
        assert set(report.loaded) == {"codes", "matrix", "other", "scalar", "vector", STEP}
        found = variables()
        np.testing.assert_array_equal(found["matrix"], MATRIX)
        assert found[STEP].tolist() == [5]

    def test_a_part_of_a_checkpoint(self, variables, tmp_path):
        flow.save({"matrix": MATRIX, "vector": np.ones(2, np.float32)}, tmp_path / "snapshot")
        opened = flow.load(tmp_path / "snapshot")
        flow.load_variables({"matrix": opened["matrix"], "other": opened["matrix"]})
        found = variables()
        np.testing.assert_array_equal(found["other"], MATRIX)
        assert found["vector"].tolist() == [0, 0]

    def test_files_without_meta_take_the_variables_shape(self, variables, tmp_path):
        flow.save({"matrix": MATRIX, "scalar": np.array(2.5)}, tmp_path / "snapshot")
        for name in ("matrix", "scalar"):
            (tmp_path / "snapshot" / name / "meta").unlink()
        flow.load_variables(flow.load(tmp_path / "snapshot"))
        found = variables()
        np.testing.assert_array_equal(found["matrix"], MATRIX)
        assert found["scalar"] == 2.5

    def test_files_without_meta_of_another_size(self, variables, tmp_path):
        flow.save({"matrix": np.zeros((2, 2), np.float32)}, tmp_path / "snapshot")
        (tmp_path / "snapshot" / "matrix" / "meta").unlink()
        message = (
            r"matrix: .*float32 of shape \(2, 3\), the value 16 bytes without meta .*matrix/out"
        )
        with pytest.raises(LoadError, match=message):
            flow.load_variables(flow.load(tmp_path / "snapshot"))

    def test_variables_change_places(self, variables):
        variables()
        flow.load_variables({"matrix": MATRIX, "other": MATRIX + 10})
        handles = flow.get_all_variables()
        flow.load_variables({"matrix": handles["other"], "other": handles["matrix"]})
        found = variables()
        np.testing.assert_array_equal(found["matrix"], MATRIX + 10)
        np.testing.assert_array_equal(found["other"], MATRIX)

    def test_variables_of_a_cleared_session(self, variables):
        flow.load_variables({"vector": np.array([1, 2], np.float32)})
        kept = flow.get_all_variables()["vector"]
        flow.clear_default_session()

        @flow.global_function()
        def job() -> tp.Numpy:
            return flow.get_variable("new", (2,), initializer=flow.zeros_initializer())

        flow.load_variables({"new": kept})
        assert job().tolist() == [1, 2]

    def test_jobs_use_what_was_loaded(self, variables):
        flow.load_variables({"vector": np.array([2, 3], np.float32)})
        train = default_session().jobs["train"]
        assert train(np.ones(2, np.float32)).tolist() == [2, 3]
        assert train(np.ones(2, np.float32)).tolist() == [1.5, 2.5]


class TestReport:
    def test_names(self, variables):
        report = flow.load_variables({"matrix": MATRIX, "dense1-weight": MATRIX})
        assert report.loaded == ["matrix"]
        assert report.missing == ["vector", STEP, "other", "codes", "scalar"]
        assert report.unexpected == ["dense1-weight"]
        assert report.mismatched == []
        assert str(report) == (
            f"loaded 1 of 6 variables; kept as they were: vector, {STEP}, other, codes, scalar; "
            "no variable for: dense1-weight"
        )

    def test_one_line_even_for_many(self):
        report = LoadReport(loaded=["a"], missing=[f"v{number}" for number in range(100)])
        assert str(report) == (
            "loaded 1 of 101 variables; kept as they were: v0, v1, v2, v3, v4, v5 and 94 more"
        )

    def test_nothing(self, variables):
        report = flow.load_variables({})
        assert report.loaded == [] and len(report.missing) == 6

    def test_loads_compose(self, variables):
        flow.load_variables({"matrix": MATRIX})
        flow.load_variables({"vector": np.ones(2, np.float32)})
        np.testing.assert_array_equal(variables()["matrix"], MATRIX)


class TestRefusals:
    def refused(self, variables, values, *parts, kind=LoadError, **options):
        """The error of a load that must fail and change nothing."""
        flow.load_variables({"vector": np.array([1, 2], np.float32), STEP: np.array([3])})
        before = {name: value.tobytes() for name, value in variables().items()}
        with pytest.raises(kind) as caught:
            flow.load_variables(values, **options)
        assert {name: value.tobytes() for name, value in variables().items()} == before
        missing = [part for part in parts if part not in str(caught.value)]
        assert not missing, f"{caught.value!s} lacks {missing}"
        return caught.value

    @pytest.mark.parametrize("ignore_mismatch", [True, False])
    def test_all_that_does_not_fit_is_listed(self, ignore_mismatch, variables, tmp_path):
        flow.save({"other": np.zeros((6,), np.float32)}, tmp_path / "snapshot")
        variables()
        values = {
            "vector": np.array([7, 7], np.float32),
            "matrix": MATRIX.T,
            "other": flow.load(tmp_path / "snapshot")["other"],
            "codes": np.zeros(4, np.uint8),
            "scalar": flow.get_all_variables()["vector"],
        }
        error = self.refused(
            variables,
            values,
            "nothing was loaded",
            "matrix: the variable is oneflow.float32 of shape (2, 3)",
            "float32 of shape (3, 2)",
            "other: the variable is oneflow.float32 of shape (2, 3)",
            f"oneflow.float32 of shape (6,) ({tmp_path}/snapshot/other/out)",
            "codes: the variable is oneflow.int8 of shape (4,), the value uint8 of shape (4,)",
            "scalar: the variable is oneflow.float64 of shape (), the value oneflow.float32 of "
            "shape (2,) (variable vector)",
            ignore_mismatch=ignore_mismatch,
        )
        report = error.report
        assert [item.name for item in report.mismatched] == ["matrix", "other", "codes", "scalar"]
        assert report.loaded == [] and report.missing == [STEP] and report.unexpected == []
        assert "do not fit: matrix, other, codes, scalar" in str(report)

    @pytest.mark.parametrize(
        "value",
        [
            *(MATRIX.astype(np.float64), MATRIX.astype(np.int32), MATRIX.astype(np.float16)),
            *(MATRIX.astype(bool), MATRIX.astype(complex), MATRIX.astype(object)),
            *(MATRIX[0], MATRIX[None], MATRIX[:0], np.array(1, np.float32)),
        ],
    )
    def test_other_dtypes_and_shapes(self, value, variables):
        described = f"the value {value.dtype} of shape {value.shape}"
        self.refused(variables, {"matrix": value}, "matrix", described)

    def test_types_of_later_versions(self, variables, tmp_path):
        flow.save({"codes": np.zeros(4, np.int8)}, tmp_path / "snapshot")
        meta = tmp_path / "snapshot" / "codes" / "meta"
        meta.write_text(meta.read_text().replace("kInt8", "kBool"))
        self.refused(variables, flow.load(tmp_path / "snapshot"), "codes", "kBool of shape (4,)")

    def test_unexpected_names(self, variables):
        values = {"vectr": np.zeros(2, np.float32), "matrix": MATRIX, "nothing-like-it": MATRIX}
        error = self.refused(
            variables,
            values,
            '"vectr" is not a variable name; did you mean vector?',
            '"nothing-like-it" is not a variable name',
            ignore_mismatch=False,
        )
        assert error.report.unexpected == ["vectr", "nothing-like-it"]
        assert error.report.loaded == []

    def test_missing_names_are_an_error_only_where_asked(self, variables):
        every = {name: value for name, value in variables().items() if name not in ("codes", STEP)}
        assert flow.load_variables(every, ignore_mismatch=False).missing == [STEP, "codes"]
        error = self.refused(
            variables,
            every,
            'there is no value for variable "codes"',
            f'there is no value for variable "{STEP}"',
            strict=True,
        )
        assert error.report.missing == [STEP, "codes"]
        assert flow.load_variables(variables(), strict=True).missing == []

    def test_strict_refuses_unexpected_names_too(self, variables):
        values = {**variables(), "more": MATRIX}
        self.refused(variables, values, '"more" is not a variable name', strict=True)

    @pytest.mark.parametrize("value", [[[0, 1, 2], [3, 4, 5]], 1.0, None, "text", MATRIX[0, 0]])
    def test_values_that_are_no_arrays(self, value, variables):
        self.refused(
            variables,
            {"vector": np.zeros(2, np.float32), "matrix": value},
            f"variable matrix: unknown value type {type(value).__name__}",
            kind=ArgumentTypeError,
        )

    @pytest.mark.parametrize("values", [None, [("matrix", MATRIX)], "snapshot", {3: MATRIX}])
    def test_what_is_no_dict_of_values(self, values, variables):
        self.refused(variables, values, "load_variables: expected a dict", kind=ArgumentTypeError)

    def test_the_directory_of_a_variable(self, variables, tmp_path):
        flow.save({"matrix": MATRIX}, tmp_path / "snapshot")
        single = flow.load(tmp_path / "snapshot" / "matrix")
        self.refused(
            variables,
            single,
            "the single variable",
            "matrix/out",
            "path of the whole checkpoint",
            kind=ArgumentTypeError,
        )

    def test_a_file_that_is_gone_or_changed(self, variables, tmp_path):
        values = {"matrix": MATRIX, "other": MATRIX, "vector": np.zeros(2, np.float32)}
        flow.save(values, tmp_path / "snapshot")
        opened = flow.load(tmp_path / "snapshot")
        out = tmp_path / "snapshot" / "other" / "out"
        out.write_bytes(b"short")
        self.refused(variables, opened, "other/out", "found 5", kind=CheckpointError)
        out.unlink()
        self.refused(variables, opened, "other/out", kind=CheckpointIOError)

    def test_no_job_is_defined(self):
        with pytest.raises(SessionError, match=re.escape("no job is defined")):
            flow.load_variables({"matrix": MATRIX})
