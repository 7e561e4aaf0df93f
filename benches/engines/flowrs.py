"""flowrs: jobs, as a user writes them."""

# Annotations stay objects here (no `from __future__ import annotations`): a job's are read when it
# is defined, and these name local variables.

import re
from contextlib import nullcontext

import numpy as np
from harness.case import Case
from harness.operation import FUNCTIONS, RATE, Operation

import flowrs as flow
import flowrs.typing as tp
from flowrs.blob import Blob

from . import Action, Array, Step, Task

#: Settings of flowrs by the variants of the engine.
SETTINGS = {
    "strict": lambda: flow.config.precision("strict"),
    "direct": lambda: flow.config.convolution_algorithm("direct"),
}


def setup(task: Task, variant: str | None = None) -> Step:
    """Defines the job; its first step loads the first weights, when all other jobs are defined."""
    case = task.case
    flow.config.cpu_threads(task.threads)
    if variant is not None:
        SETTINGS[variant]()
    dtype = flow.float64 if case.dtype == "float64" else flow.float32
    images_type = tp.Numpy.Placeholder((case.batch, *case.sample), dtype=dtype)
    labels_type = tp.Numpy.Placeholder((case.batch,), dtype=flow.int32)

    if case.kind == "infer":

        @flow.global_function(type="predict")
        def infer_job(images: images_type) -> tp.Numpy:
            return _network(images, case)

        flow.load_variables(_named(task))
        return lambda images, labels: infer_job(images)

    def train_job(images: images_type, labels: labels_type) -> tp.Numpy:
        logits = _network(images, case)
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        schedule = flow.optimizer.PiecewiseConstantScheduler([], [case.rate])
        flow.optimizer.SGD(schedule, momentum=0).minimize(loss)
        return flow.math.reduce_mean(loss)

    train_job.__name__ = _label(f"train {case.name} {case.variant}")
    train_job = flow.global_function(type="train")(train_job)
    is_loaded = False

    def step(images: Array, labels: Array) -> float:
        nonlocal is_loaded
        if not is_loaded:
            flow.load_variables(_named(task))
            is_loaded = True
        return train_job(images, labels).item()

    return step


def _named(task: Task) -> dict[str, Array]:
    """The first weights by the names of the variables, which all variants have for themselves."""
    space = f"{_label(task.case.variant)}-" if task.case.variant else ""
    return {f"{space}{name}": array for name, array in task.weights.items()}


def _network(images: Blob, case: Case) -> Blob:
    variant = case.variant
    with flow.scope.namespace(_label(variant)) if variant else nullcontext():
        return _layers(images, case)


def _layers(images: Blob, case: Case) -> Blob:
    x, named = images, {}
    for placed in case.placed:
        layer = placed.layer
        x = named.get(layer.input, x)
        activation = flow.nn.relu if layer.relu else None
        if layer.kind == "dense":
            x = flow.reshape(x, [case.batch, -1])
            x = flow.layers.dense(
                x, layer.outputs, activation=activation, use_bias=layer.bias, name=layer.name
            )
        elif layer.kind == "conv":
            spatial = len(placed.before) - 1
            convolve = {1: flow.layers.conv1d, 2: flow.layers.conv2d}[spatial]
            x = convolve(
                x,
                layer.outputs,
                layer.size,
                layer.stride,
                padding=[0, 0, *[layer.size // 2] * spatial],
                activation=activation,
                use_bias=layer.bias,
                name=layer.name,
            )
        elif layer.kind == "max_pool":
            x = flow.nn.max_pool2d(x, layer.size, layer.size, "VALID", name=layer.name)
        elif layer.kind == "batch_norm":
            x = flow.layers.batch_normalization(x, axis=1, epsilon=1e-5, name=layer.name)
        elif layer.kind == "mean":
            x = flow.math.reduce_mean(x, axis=list(range(2, len(placed.before) + 1)))
        else:
            x = x + named[layer.other]
        if activation and layer.kind not in ("dense", "conv"):
            x = activation(x)
        named[layer.name] = x
    return x


def setup_operation(operation: Operation, threads: int) -> Action:
    """A job with nothing but the operation."""
    flow.config.cpu_threads(threads)
    if operation.kind == "copy":
        raise NotImplementedError("a copy is none of its operations")
    arrays = operation.arrays()
    return _forward(operation, arrays) if _is_predict(operation) else _update(operation, arrays)


def _is_predict(operation: Operation) -> bool:
    return operation.direction in ("forward", "input_gradient")


def _label(name: str) -> str:
    """A part of the name of a job or its variables."""
    return re.sub(r"\W+", "_", name)


def _apply(operation: Operation, values: dict[str, Blob]) -> Blob:
    x, edge = values["x"], operation.size // 2
    if operation.kind == "convolution":
        padding = [0, 0, edge, edge]
        return flow.nn.conv2d(x, values["weight"], 1, padding, groups=operation.groups)
    if operation.kind == "max_pool":
        return flow.nn.max_pool2d(x, 2, 2, "VALID")
    if operation.kind == "avg_pool":
        return flow.nn.avg_pool2d(x, 2, 2, "VALID")
    if operation.kind == "cross_entropy":
        return flow.nn.sparse_softmax_cross_entropy_with_logits(values["labels"], x)
    if operation.kind == "momentum":
        return x
    if operation.kind == "batch_norm":
        return flow.layers.batch_normalization(x, axis=1, epsilon=1e-5, name=_label(operation.name))
    if operation.kind == "softmax":
        return flow.nn.softmax(x)
    if operation.kind in FUNCTIONS:
        return getattr(flow.math, operation.kind)(x)
    return flow.nn.relu(x * values["a"] + values["b"]) * x


def _forward(operation: Operation, arrays: dict[str, Array]) -> Action:
    """The result, or the gradient of a convolution's input, as a predict job."""
    dtype = flow.float64 if operation.dtype == "float64" else flow.float32
    annotations = [tp.Numpy.Placeholder(array.shape, dtype) for array in arrays.values()]

    def body(fed: tuple[*annotations]) -> tp.Numpy:
        values = dict(zip(arrays, fed, strict=True))
        if operation.direction == "forward":
            return _apply(operation, values)
        edge = operation.size // 2
        padding, shape = [0, 0, edge, edge], list(operation.shape)
        return flow.nn.conv2d_transpose(values["dy"], values["weight"], shape, 1, padding)

    body.__name__ = _label(operation.name)
    job, fed = flow.global_function()(body), tuple(arrays.values())
    return Action(lambda: job(fed), lambda: job(fed))


def _update(operation: Operation, arrays: dict[str, Array]) -> Action:
    """A train job that updates what is learned by the gradient of ``result * dy``, or of a loss."""
    learned = "weight" if operation.direction == "weight_gradient" else "x"
    fed = {name: arrays[name] for name in ("x", "weight", "dy", "labels") if name in arrays}
    del fed[learned]
    types = {"labels": flow.int32}
    annotations = [
        tp.Numpy.Placeholder(array.shape, types.get(name, flow.float32))
        for name, array in fed.items()
    ]
    variable, first = f"{_label(operation.name)}-{learned}", arrays[learned]

    def body(values: tuple[*annotations]) -> tp.Numpy:
        named = dict(zip(fed, values, strict=True))
        zeros = flow.zeros_initializer()
        named[learned] = flow.get_variable(variable, first.shape, flow.float32, zeros)
        result = _apply(operation, named)
        loss = flow.math.reduce_sum(result * named["dy"] if "dy" in named else result)
        schedule = flow.optimizer.PiecewiseConstantScheduler([], [RATE])
        momentum = 0.9 if operation.kind == "momentum" else 0
        flow.optimizer.SGD(schedule, momentum=momentum).minimize(loss)
        return flow.constant(0, flow.float32, (1,))

    body.__name__ = _label(operation.name)
    job, values = flow.global_function(type="train")(body), tuple(fed.values())

    def gradient() -> Array:
        flow.load_variables({variable: first})
        job(values)
        return (first - flow.get_all_variables()[variable].numpy()) / np.float32(RATE)

    return Action(lambda: job(values), gradient)
