"""Rows: one call of a function of the API each.

Errors are counted in units of the dtype's epsilon, relative to ``magnitude``: the size of what was
added up, which for a sum of large terms that cancel is more than the size of the result.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flowrs.blob import Blob
from op_rows.draws import Array, Draw, Shape, contiguous, normal

FLOATS = ("float32", "float64")
INTEGERS = ("int8", "int32", "int64", "uint8")


@dataclass(frozen=True)
class Input:
    """One input of a call.

    Attributes:
        shape: its shape; with an empty dimension it is passed as a variable, since placeholders
            have none.
        draw: what it holds.
        dtype: its dtype; None: the one under test.
        differentiable: whether a gradient flows to it.
        layout: how it lies in memory.
    """

    shape: Shape
    draw: Draw = normal
    dtype: str | None = None
    differentiable: bool = True
    layout: Callable[[Array], Array] = contiguous


@dataclass(frozen=True)
class Row:
    """One call of a function of the API.

    Attributes:
        name: unique.
        function: takes blobs, returns a blob.
        inputs: what it is called with.
        reference: the same on NumPy arrays: float64 for floats, integers as they are.
        covers: the engine's operations that the call and its gradient need.
        dtypes: the dtypes under test.
        output: dtype of the result; None: the one under test.
        units: bound of the error in units of epsilon; 0: the correctly rounded result.
        magnitude: what errors are relative to, from the inputs; None: the result.
        gradient: the gradients, from the inputs and the result's gradient, where differences
            cannot give them.
        gradient_units: bound of a gradient's error in units of epsilon, relative to the largest
            element of the gradient.
    """

    name: str
    function: Callable[..., Blob]
    inputs: tuple[Input, ...]
    reference: Callable[..., Array]
    covers: tuple[str, ...]
    dtypes: tuple[str, ...] = FLOATS
    output: str | None = None
    units: float = 0
    magnitude: Callable[..., Array] | None = None
    gradient: Callable[..., Sequence[Array]] | None = None
    gradient_units: float = 8

    def arrays(self, dtype: str) -> list[Array]:
        """The inputs for a dtype under test; always the same."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [
            item.layout(item.draw(rng, item.shape, np.dtype(item.dtype or dtype)))
            for item in self.inputs
        ]

    @property
    def differentiable(self) -> list[int]:
        """Numbers of the inputs that a gradient flows to."""
        if self.output is not None or self.dtypes[-1] not in FLOATS:
            return []
        return [i for i, item in enumerate(self.inputs) if item.differentiable and not item.dtype]


def label_of(*shapes: Shape) -> str:
    return ",".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
