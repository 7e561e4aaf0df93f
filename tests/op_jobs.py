"""Jobs made of the rows of the op table, for the tests that go through it."""

import os
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
from op_table import Array, Row

import flowrs as flow
import flowrs.typing as tp
from flowrs import _flowrs, datatype
from flowrs.blob import Blob


def available_isas() -> list[str]:
    """The instruction sets that this CPU has, the plainest first."""
    names = []
    for name in ("portable", "avx2", "avx512"):
        with mock.patch.dict(os.environ, FLOWRS_ISA=name):
            try:
                names.append(_flowrs.isa())
            except flow.errors.ArgumentError:
                continue
    return names


ISAS = available_isas()


def variable(name: str, array: Array, trainable: bool = True) -> Blob:
    """A variable of the shape and dtype of an array."""
    dtype = datatype.from_numpy(array.dtype, name)
    zeros = flow.zeros_initializer(dtype)
    return flow.get_variable(name, array.shape, dtype, zeros, trainable=trainable)


def placeholder(array: Array) -> Any:
    """The annotation of a parameter that takes an array."""
    return tp.Numpy.Placeholder(array.shape, datatype.from_numpy(array.dtype, "an input"))


def ops_of(job: Any) -> set[str]:
    """Names of the operations in the graph of a job that was called."""
    (trace, _), *_ = job.job.traced.values()
    heads = [line.split(" = ")[-1].split("(")[0] for line in str(trace.graph).splitlines()]
    return {head.split("[")[0] for head in heads}


class ForwardJob:
    """A predict job that computes a row. What placeholders cannot hold comes as variables."""

    def __init__(self, row: Row, arrays: Sequence[Array]) -> None:
        flow.clear_default_session()
        self.arrays = arrays
        self.fed = [i for i, array in enumerate(arrays) if array.size]
        placeholders = [placeholder(arrays[i]) for i in self.fed]

        @flow.global_function()
        def job(fed: tuple[*placeholders]) -> tp.Numpy:
            blobs = dict(zip(self.fed, fed, strict=True))
            return row.function(
                *[
                    blobs[i] if i in blobs else variable(f"x{i}", array)
                    for i, array in enumerate(arrays)
                ]
            )

        self.job = job

    def __call__(self) -> Array:
        """The result."""
        return self.job(tuple(self.arrays[i] for i in self.fed))


class GradientJob:
    """A train job whose loss is the sum of a row's result times ``weights``.

    The differentiable inputs are variables. Momentum is zero at first and the rate is 1, so after
    one call the velocities are the negative gradients, to the bit.
    """

    def __init__(self, row: Row, arrays: Sequence[Array], weights: Array) -> None:
        flow.clear_default_session()
        self.variables = {f"x{i}": i for i in row.differentiable}
        self.arrays = arrays
        self.weights = weights
        held = {*row.differentiable, *(i for i, array in enumerate(arrays) if not array.size)}
        self.fed = [i for i in range(len(arrays)) if i not in held]
        placeholders = [placeholder(arrays[i]) for i in self.fed]

        @flow.global_function(type="train")
        def job(fed: tuple[*placeholders]) -> tp.Numpy:
            blobs = dict(zip(self.fed, fed, strict=True))
            inputs = [
                blobs[i] if i in blobs else variable(f"x{i}", array, i in row.differentiable)
                for i, array in enumerate(arrays)
            ]
            result = row.function(*inputs)
            loss = flow.math.reduce_sum(result * variable("weights", weights, trainable=False))
            rate = flow.optimizer.PiecewiseConstantScheduler([], [1.0])
            flow.optimizer.SGD(rate, momentum=0.9).minimize(loss)
            return loss

        self.job = job

    def loss(self, values: Sequence[Array] | None = None) -> float:
        """The loss where the differentiable inputs have other values."""
        given = self.arrays if values is None else values
        state = {name: np.ascontiguousarray(given[i]) for name, i in self.variables.items()}
        zeros = {f"{name}-momentum": np.zeros_like(array) for name, array in state.items()}
        flow.load_variables({**state, **zeros, "weights": self.weights}, ignore_mismatch=False)
        return float(self.job(tuple(self.arrays[i] for i in self.fed))[0])

    def gradients(self) -> list[Array]:
        """The gradient of each differentiable input."""
        self.loss()
        variables = flow.get_all_variables()
        return [-variables[f"{name}-momentum"].numpy() for name in self.variables]
