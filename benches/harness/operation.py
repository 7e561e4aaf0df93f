"""Operations by themselves: what they are called with, what they cost, and what is compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

#: What the gradients are multiplied by when a pass updates what it differentiates: 2 ** -10.
RATE = 1 / 1024

#: Functions of single elements, by the names that flowrs and PyTorch have for them.
FUNCTIONS = ("exp", "log", "tanh", "sigmoid", "softplus", "gelu", "erf", "sin")

#: Arrays that an operation reads and writes at least, each as large as its input.
_STREAMS = {"chain": 4, "copy": 2, "softmax": 2, "cross_entropy": 2, "momentum": 5}
_STREAMS |= dict.fromkeys(FUNCTIONS, 2)


@dataclass(frozen=True)
class Operation:
    """One operation, on images of layout NCHW or on a plain array.

    Attributes:
        kind: "convolution" (padded by half its size), "max_pool" and "avg_pool" (2x2), "batch_norm"
            (with the statistics of the batch), "softmax" (of the last axis), "cross_entropy" (of
            that and class numbers, added up), "chain" (``relu(x * a + b) * x`` on arrays of one
            shape), "momentum" (an update of ``x``, by 0.9 of the last one too), "copy" (into an
            array that is there) or one of :data:`FUNCTIONS`, the logarithm of magnitudes.
        direction: "forward"; "input_gradient"; "weight_gradient", which updates the weight;
            "input_update", which computes the input's gradient and updates the input; "update"; or
            "both": forward, backward, and an update of the input and of what else is learned.
        shape: of the input.
        filters: number of output channels of a convolution.
        size: edge of its kernel.
        groups: into how many parts its channels fall.
        dtype: of the arrays; "float64" is for softmax and functions.
        digest: what :func:`digest` must find in the result, computed in float64.
    """

    name: str
    kind: str
    shape: Shape
    direction: str = "forward"
    filters: int = 0
    size: int = 0
    groups: int = 1
    dtype: str = "float32"
    digest: tuple[float, float] | None = None

    @classmethod
    def parse(cls, table: dict[str, Any]) -> Operation:
        """Makes an operation of its table in a case's file."""
        table = table | {"shape": tuple(table["shape"])}
        if "digest" in table:
            table["digest"] = tuple(table["digest"])
        return cls(**table)

    @property
    def result_shape(self) -> Shape:
        """Shape of the result of the forward pass."""
        if self.kind == "convolution":
            return (self.shape[0], self.filters, *self.shape[2:])
        if self.kind in ("max_pool", "avg_pool"):
            return (*self.shape[:2], self.shape[2] // 2, self.shape[3] // 2)
        return self.shape

    @property
    def weight_shape(self) -> Shape:
        """Shape of the weight of a convolution."""
        return (self.filters, self.shape[1] // self.groups, self.size, self.size)

    @property
    def flop(self) -> int:
        """Floating-point operations of a convolution's sum, two per multiply-add; else 0."""
        if self.kind != "convolution":
            return 0
        return 2 * math.prod(self.weight_shape) * math.prod(self.shape[2:]) * self.shape[0]

    @property
    def bytes(self) -> int:
        """Bytes that an operation reads and writes at least, where it does little else; else 0."""
        if self.kind in ("max_pool", "avg_pool") and self.direction == "forward":
            return 4 * (math.prod(self.shape) + math.prod(self.result_shape))
        size = np.dtype(self.dtype).itemsize
        return size * _STREAMS.get(self.kind, 0) * math.prod(self.shape)

    def arrays(self) -> dict[str, Array]:
        """The inputs, always the same: ``x`` and what the kind needs besides."""
        rng = np.random.default_rng(1)

        def draw(shape: Shape) -> Array:
            return rng.standard_normal(shape, dtype=np.float32).astype(self.dtype)

        arrays = {"x": draw(self.shape)}
        if self.kind == "log":
            arrays["x"] = np.abs(arrays["x"])
        if self.kind == "convolution":
            arrays["weight"] = draw(self.weight_shape) / np.float32(self.size)
        if self.kind == "batch_norm":
            arrays["gamma"] = np.ones(self.shape[1], np.float32)
            arrays["beta"] = np.zeros(self.shape[1], np.float32)
        if self.kind == "chain":
            arrays["a"], arrays["b"] = draw(self.shape), draw(self.shape)
        if self.kind == "cross_entropy":
            # As small as the gradients, which are found as the difference of two.
            arrays["x"] *= np.float32(RATE)
            arrays["labels"] = rng.integers(0, self.shape[1], self.shape[0], dtype=np.int32)
        elif self.direction != "forward":
            arrays["dy"] = draw(self.result_shape)
        return arrays


def digest(result: Array) -> tuple[float, float]:
    """Two numbers that tell a wrong result from a right one.

    Returns:
        The sum of the elements times fixed weights over the sum of their magnitudes, and the mean
        magnitude.
    """
    flat = result.astype(np.float64).ravel()
    magnitude = np.abs(flat).sum()
    weights = np.cos(np.arange(flat.size) * 0.7)
    return float(flat @ weights / magnitude), float(magnitude / flat.size)


def compare_digests(expected: tuple[float, float] | None, found: tuple[float, float]) -> str | None:
    """Says what is wrong with a result; None where nothing is."""
    if expected is None:
        return "the case has no digest to compare with: run.py --losses prints it"
    projection, magnitude = abs(found[0] - expected[0]), abs(found[1] / expected[1] - 1)
    if projection <= 1e-6 and magnitude <= 1e-4:
        return None
    return f"the digest of the result is {found} and must be {expected}"
