"""Errors: each is of a class of ours, names what and where, and leaves everything as it was."""

import inspect
import math
import pickle
import re

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp
from flowrs import errors
from flowrs.checkpoint import LoadReport
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    DTypeError,
    FlowrsError,
    GraphError,
    LoadError,
    RangeError,
    ShapeError,
    VariableError,
)

Images = tp.Numpy.Placeholder((4, 3))
Labels = tp.Numpy.Placeholder((4,), dtype=flow.int32)
IMAGES = np.arange(12, dtype=np.float32).reshape(4, 3) / 12
LABELS = np.array([0, 1, 4, 2], np.int32)
CLASSES = [
    item
    for item in vars(errors).values()
    if inspect.isclass(item) and issubclass(item, FlowrsError)
]


def constant_rate(rate):
    return flow.optimizer.PiecewiseConstantScheduler([], [rate])


def train_job(optimizer):
    """A job that trains a classifier of five classes."""

    @flow.global_function(type="train")
    def train(images: Images, labels: Labels) -> tp.Numpy:
        logits = flow.layers.dense(
            images, 5, name="output", kernel_initializer=flow.random_normal_initializer()
        )
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits, name="loss")
        optimizer.minimize(loss)
        return loss

    return train


def bits():
    """Every variable's bytes."""
    return {name: v.numpy().tobytes() for name, v in flow.get_all_variables().items()}


# What is passed to a job that has run before, and what the error says.
CALLS = {
    "too few arguments": (
        lambda: (IMAGES,),
        ArgumentTypeError,
        ["job train", "takes 2 arguments (images, labels)", "found 1"],
    ),
    "too many arguments": (
        lambda: (IMAGES, LABELS, LABELS),
        ArgumentTypeError,
        ["job train", "takes 2 arguments", "found 3"],
    ),
    "rank": (
        lambda: (IMAGES[0], LABELS),
        ShapeError,
        ["job train, argument images", "expected shape (4, 3)", "found (3,)"],
    ),
    "shape": (
        lambda: (IMAGES, LABELS[:3]),
        ShapeError,
        ["job train, argument labels", "expected shape (4,)", "found (3,)"],
    ),
    "empty": (
        lambda: (IMAGES[:0], LABELS),
        ShapeError,
        ["argument images", "expected shape (4, 3)", "found (0, 3)"],
    ),
    "no array": (
        lambda: (IMAGES.tolist(), LABELS),
        ArgumentTypeError,
        ["job train, argument images", "expected a NumPy array", "found list", "numpy.asarray"],
    ),
    "float for integer": (
        lambda: (IMAGES, LABELS.astype(np.float32)),
        DTypeError,
        ["argument labels", "expected int32", "found float32", "round and convert"],
    ),
    "integer that does not fit": (
        lambda: (IMAGES, np.array([0, 1, 2**40, 3])),
        DTypeError,
        ["argument labels", "expected int32", "found int64", "1099511627776", "do not fit"],
    ),
    "complex": (
        lambda: (IMAGES.astype(complex), LABELS),
        DTypeError,
        ["argument images", "expected float32", "found complex128"],
    ),
    "objects": (
        lambda: (IMAGES.astype(object), LABELS),
        DTypeError,
        ["argument images", "expected float32", "found object"],
    ),
    "text": (
        lambda: (IMAGES.astype(str), LABELS),
        DTypeError,
        ["argument images", "expected float32", "found <U32"],
    ),
    "label above the classes": (
        lambda: (IMAGES, np.array([0, 1, 5, 2], np.int32)),
        RangeError,
        ["loss", "label 5", "position 2", "5 classes, 0 to 4"],
    ),
    "label below 0": (
        lambda: (IMAGES, np.array([0, 1, 2, -1], np.int32)),
        RangeError,
        ["loss", "label -1", "position 3", "5 classes"],
    ),
}
OPTIMIZERS = {
    "sgd": lambda: flow.optimizer.SGD(constant_rate(0.1), momentum=0),
    "momentum": lambda: flow.optimizer.SGD(constant_rate(0.1), momentum=0.9),
    "adam": lambda: flow.optimizer.Adam(constant_rate(0.1), do_bias_correction=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", CALLS)
def test_a_call_that_fails_changes_nothing(case, optimizer):
    arguments, kind, parts = CALLS[case]
    train = train_job(OPTIMIZERS[optimizer]())
    train(IMAGES, LABELS)
    before = bits()
    for _ in range(2):
        with pytest.raises(kind) as caught:
            train(*arguments())
        assert_says(caught.value, kind, parts)
    assert bits() == before
    assert np.isfinite(train(IMAGES, LABELS)).all()
    after = bits()
    assert all(after[name] != before[name] for name in before)


def assert_says(error, kind, parts):
    assert type(error) is kind and isinstance(error, FlowrsError)
    message = str(error)
    missing = [part for part in parts if part not in message]
    assert not missing, f"{message!r} lacks {missing}"
    assert not message.endswith(".") and "panic" not in message


def test_the_first_call_may_fail_too():
    train = train_job(OPTIMIZERS["momentum"]())
    before = {}
    for arguments, kind, _ in CALLS.values():
        with pytest.raises(kind):
            train(*arguments())
        before = before or bits()
        assert bits() == before
    assert flow.get_all_variables()["System-Train-TrainStep-train"].numpy().tolist() == [0]
    train(IMAGES, LABELS)
    assert flow.get_all_variables()["System-Train-TrainStep-train"].numpy().tolist() == [1]


def variable(name, shape, **options):
    return flow.get_variable(name, shape, initializer=flow.zeros_initializer(), **options)


def matrices(x):
    return flow.matmul(x, variable("w", (2, 2)), name="product")


def labels_of_another_size(x):
    labels = flow.cast(flow.math.reduce_sum(x, axis=1), flow.int32)
    return flow.nn.sparse_softmax_cross_entropy_with_logits(
        labels, flow.reshape(x, [3, 4]), name="loss"
    )


def float_labels(x):
    return flow.nn.sparse_softmax_cross_entropy_with_logits(
        flow.math.reduce_sum(x, axis=1), x, name="loss"
    )


# Bodies that cannot be traced, and what the error says.
BODIES = {
    "product of shapes": (matrices, ShapeError, ["matmul (product)", "[4, 3]", "[2, 2]"]),
    "sum of shapes": (
        lambda x: flow.math.add(x, variable("b", (4,)), name="sum"),
        ShapeError,
        ["add (sum)", "[4, 3]", "[4]"],
    ),
    "sum of dtypes": (
        lambda x: x + variable("b", (3,), dtype=flow.float64),
        DTypeError,
        ["add (Add_0)", "float32", "float64"],
    ),
    "integers into a product": (
        lambda x: flow.matmul(flow.cast(x, flow.int32), flow.cast(x, flow.int32), name="product"),
        DTypeError,
        ["matmul (product)", "int32"],
    ),
    "labels and logits": (labels_of_another_size, ShapeError, ["(loss)", "[4]", "[3, 4]"]),
    "float labels": (float_labels, DTypeError, ["(loss)", "labels must be integers", "float32"]),
    "reshape": (
        lambda x: flow.reshape(x, [5, -1]),
        ShapeError,
        ["reshape", "(4, 3)", "(5, -1)"],
    ),
    "bias": (
        lambda x: flow.nn.bias_add(x, variable("b", (4,)), name="shift"),
        ShapeError,
        ["bias_add (shift)", "[4, 3]", "[4]"],
    ),
    "axis": (
        lambda x: flow.math.reduce_sum(x, axis=2),
        ArgumentError,
        ["math.reduce_sum", "axis 2", "2 dimensions"],
    ),
    "a scalar that is no integer": (
        lambda x: flow.cast(x, flow.int32) + 0.5,
        ArgumentError,
        ["math.add", "0.5", "int32", "cast"],
    ),
    "a scalar that is too large": (
        lambda x: flow.cast(x, flow.int8) + 200,
        ArgumentError,
        ["200", "int8"],
    ),
    "an array as operand": (
        lambda x: x + IMAGES,
        ArgumentTypeError,
        ["math.add", "expected a blob, an int or a float", "ndarray"],
    ),
    "a dense layer over an array": (
        lambda x: flow.layers.dense(IMAGES, 2, name="d"),
        ArgumentTypeError,
        ["layers.dense (d)", "must be a blob", "ndarray"],
    ),
    "a dense layer over a vector": (
        lambda x: flow.layers.dense(variable("b", (4,)), 2, name="d"),
        ShapeError,
        ["layers.dense (d)", "rank 2 or more", "(4,)"],
    ),
    "two layers of one name": (
        lambda x: flow.layers.dense(flow.layers.dense(x, 3), 3),
        VariableError,
        ["'Dense-weight' already exists", "reuse is False", "another name"],
    ),
    "a variable without initializer": (
        lambda x: flow.get_variable("w", (3,)),
        ArgumentError,
        ["variable w", "an initializer is needed", "zeros_initializer"],
    ),
    "a variable without shape": (
        lambda x: flow.get_variable("w", initializer=flow.zeros_initializer()),
        ArgumentTypeError,
        ["variable w", "shape must be a list or tuple", "None"],
    ),
    "a variable larger than memory": (
        lambda x: variable("w", (10**7, 10**6)),
        VariableError,
        ["variable w", "cannot draw", "(10000000, 1000000)"],
    ),
    "a variable larger than addresses": (
        lambda x: variable("w", (2**40, 2**40)),
        ShapeError,
        ["w: float32", "does not fit into memory"],
    ),
    "an initializer out of range": (
        lambda x: flow.get_variable(
            "w", (3,), dtype=flow.int8, initializer=flow.constant_initializer(300, flow.int32)
        ),
        VariableError,
        ["variable w", "300", "int8"],
    ),
    "an infinite rate": (
        lambda x: constant_rate(math.inf),
        ArgumentError,
        ["PiecewiseConstantScheduler", "rate", "finite", "inf"],
    ),
    "a rate that is no number": (
        lambda x: constant_rate(math.nan),
        ArgumentError,
        ["PiecewiseConstantScheduler", "rate", "finite", "nan"],
    ),
    "a cosine that is no number": (
        lambda x: flow.optimizer.CosineScheduler(math.nan, 10),
        ArgumentError,
        ["CosineScheduler", "base_lr", "finite", "nan"],
    ),
    "no schedule": (
        lambda x: flow.optimizer.SGD(0.1),
        ArgumentTypeError,
        ["SGD", "lr_scheduler", "PiecewiseConstantScheduler", "0.1"],
    ),
    "no blob": (lambda x: 3, GraphError, ["job broken", "tp.Numpy", "returns int"]),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_fails_leaves_nothing_behind(case):
    body, kind, parts = BODIES[case]

    def define(function):
        @flow.global_function()
        def broken(x: Images) -> tp.Numpy:
            return function(x)

        return broken

    broken = define(body)
    for _ in range(2):
        with pytest.raises(kind) as caught:
            broken(IMAGES)
        assert_says(caught.value, kind, parts)
    whole = define(lambda x: x * 2)
    np.testing.assert_array_equal(whole(IMAGES), IMAGES * 2)
    assert flow.get_all_variables() == {}


def test_losses_that_differ():
    @flow.global_function("train")
    def broken(x: Images) -> None:
        OPTIMIZERS["sgd"]().minimize([x, flow.math.reduce_sum(x)])

    with pytest.raises(GraphError) as caught:
        broken(IMAGES)
    assert_says(caught.value, GraphError, ["minimize", "one shape and dtype", "(4, 3)", "(1)"])


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        (
            {"shape": (2, 3)},
            {"shape": (3, 2)},
            ["variable w", "shape (2, 3) in job one", "shape (3, 2) in job two"],
        ),
        (
            {"shape": (2,), "dtype": flow.float32},
            {"shape": (2,), "dtype": flow.float64},
            ["variable w", "float32 of shape (2,) in job one", "float64 of shape (2,) in job two"],
        ),
        (
            {"shape": (2,), "random_seed": 1},
            {"shape": (2,), "random_seed": 2},
            ["variable w", "random_seed 1 in job one", "2 in job two"],
        ),
    ],
)
def test_jobs_that_disagree(first, second, parts):
    described = {"one": first, "two": second}

    @flow.global_function()
    def one() -> tp.Numpy:
        return variable("w", **described["one"])

    @flow.global_function()
    def two() -> tp.Numpy:
        return variable("w", **described["two"])

    for job in (one, two):
        with pytest.raises(VariableError) as caught:
            job()
        assert_says(caught.value, VariableError, parts)
    described["two"] = first
    assert one().shape == two().shape == first["shape"]


def saved(path, **arrays):
    flow.save(arrays or {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, path)
    return path


def with_meta(path, text):
    (saved(path) / "w" / "meta").write_text(text)
    return path


def truncated(path):
    with open(saved(path) / "w" / "out", "r+b") as file:
        file.truncate(20)
    return path


def lengthened(path):
    with open(saved(path) / "w" / "out", "ab") as file:
        file.write(b"0")
    return path


def a_file(path):
    path.write_text("mine")
    return path


def empty(path):
    path.mkdir()
    return path


def linked(path):
    out = saved(path) / "w" / "out"
    out.rename(path.parent / "elsewhere")
    out.symlink_to(path.parent / "elsewhere")
    return path


HUGE = "shape {\n  dim: 4611686018427387904\n  dim: 4611686018427387904\n}\ndata_type: kFloat\n"
# Directories that cannot be opened, and what the error says.
DAMAGED = {
    "nothing": (lambda path: path, CheckpointNotFoundError, ["no such checkpoint"]),
    "a file": (a_file, CheckpointNotFoundError, ["a checkpoint is a directory"]),
    "an empty directory": (empty, CheckpointError, ["holds no variables", "file named out"]),
    "a truncated file": (
        truncated,
        CheckpointError,
        ["w/out", 'variable "w"', "expected 24 bytes", "[2, 3] of kFloat", "found 20"],
    ),
    "a lengthened file": (lengthened, CheckpointError, ["w/out", "expected 24", "found 25"]),
    "a negative dimension": (
        lambda path: with_meta(path, "shape { dim: -2 dim: 3 } data_type: kFloat"),
        CheckpointError,
        ["w/meta", 'variable "w"', "0 or more", "-2"],
    ),
    "a huge dimension": (
        lambda path: with_meta(path, HUGE),
        CheckpointError,
        ["w/meta", 'variable "w"', "4611686018427387904", "overflows"],
    ),
    "a dimension beyond 64 bits": (
        lambda path: with_meta(path, f"shape {{ dim: {10**30} }} data_type: kFloat"),
        CheckpointError,
        ["w/meta", 'variable "w"', "expected a 64-bit integer"],
    ),
    "a type that is not known": (
        lambda path: with_meta(path, "shape { dim: 2 dim: 3 } data_type: kQuaternion"),
        CheckpointError,
        ["w/meta", 'variable "w"', "kQuaternion"],
    ),
    "a text that is no meta": (
        lambda path: with_meta(path, "shape: {{"),
        CheckpointError,
        ["w/meta", 'variable "w"'],
    ),
    "a meta that is empty": (
        lambda path: with_meta(path, ""),
        CheckpointError,
        ["w/meta", 'variable "w"', "data_type"],
    ),
    "a link in place of a file": (linked, CheckpointError, ["w/out", "not a regular file"]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_checkpoint_that_cannot_be_opened(case, tmp_path):
    make, kind, parts = DAMAGED[case]
    path = make(tmp_path / "snapshot")
    for open_checkpoint in (flow.checkpoint.get, flow.load):
        with pytest.raises(kind) as caught:
            open_checkpoint(path)
        assert_says(caught.value, kind, [str(path), *parts])
    train = train_job(OPTIMIZERS["sgd"]())
    train(IMAGES, LABELS)


OCCUPIED = {
    "a file": (a_file, ["there is a file of this name", "another name"]),
    "a full directory": (saved, ["not empty", "save into a new directory"]),
}


@pytest.mark.parametrize("case", OCCUPIED)
def test_a_place_that_is_taken(case, tmp_path):
    make, parts = OCCUPIED[case]
    path = make(tmp_path / "snapshot")
    train = train_job(OPTIMIZERS["momentum"]())
    train(IMAGES, LABELS)
    before = {found: found.is_file() and found.read_bytes() for found in tmp_path.rglob("*")}
    with pytest.raises(CheckpointExistsError) as caught:
        flow.checkpoint.save(path)
    assert_says(caught.value, CheckpointExistsError, [str(path), *parts])
    assert isinstance(caught.value, FileExistsError)
    after = {found: found.is_file() and found.read_bytes() for found in tmp_path.rglob("*")}
    assert after == before
    flow.checkpoint.save(tmp_path / "another")
    train(IMAGES, LABELS)


@pytest.mark.parametrize("path", [3, None, b"bytes", "", "a\0b"])
@pytest.mark.parametrize("function", [flow.checkpoint.get, flow.load, flow.checkpoint.save])
def test_what_is_no_path(function, path):
    train_job(OPTIMIZERS["sgd"]())
    with pytest.raises((ArgumentError, ArgumentTypeError), match=r"checkpoint.*path"):
        function(path)


class TestClasses:
    def test_all_are_there(self):
        assert len(CLASSES) > 15
        assert all(getattr(flow.errors, kind.__name__) is kind for kind in CLASSES)

    @pytest.mark.parametrize("kind", CLASSES)
    def test_each_is_also_what_other_code_catches(self, kind):
        builtin = [
            base
            for base in kind.__mro__
            if base.__module__ == "builtins" and base not in (Exception, BaseException, object)
        ]
        assert builtin or kind is FlowrsError
        assert inspect.getdoc(kind)

    @pytest.mark.parametrize("kind", CLASSES)
    def test_each_is_pickled(self, kind):
        error = pickle.loads(pickle.dumps(kind("where: expected 1, found 2")))
        assert type(error) is kind and str(error) == "where: expected 1, found 2"

    def test_the_report_is_pickled_too(self):
        report = LoadReport(missing=["w"], mismatched=[])
        error = pickle.loads(pickle.dumps(LoadError("nothing was loaded", report)))
        assert error.report == report and str(error) == "nothing was loaded"

    def test_native_errors_are_pickled(self, tmp_path):
        with pytest.raises(CheckpointNotFoundError) as caught:
            flow.load(tmp_path / "none")
        copy = pickle.loads(pickle.dumps(caught.value))
        assert type(copy) is CheckpointNotFoundError and str(copy) == str(caught.value)
        assert re.search("no such checkpoint", str(copy))
