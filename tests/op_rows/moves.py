"""What rows of operations that move elements share."""

from __future__ import annotations

from collections.abc import Callable

from flowrs.blob import Blob
from op_rows.draws import Array, Shape, labels
from op_rows.row import INTEGERS, Input, Row

Function = Callable[..., Blob]
Reference = Callable[..., Array]


def integers(inputs: tuple[Input, ...]) -> tuple[str, ...]:
    """The integer dtypes; what is empty comes as a variable, which cannot be uint8."""
    return INTEGERS[:3] if any(0 in item.shape for item in inputs) else INTEGERS


def moves(
    name: str,
    function: Function,
    inputs: tuple[Input, ...],
    reference: Reference,
    op: str,
    gradient: tuple[str, ...] = (),
    gradient_units: float = 8,
) -> list[Row]:
    """A row with floats, which are differentiated, and one with integers."""
    covers = (op, *gradient)
    return [
        Row(name, function, inputs, reference, covers, gradient_units=gradient_units),
        Row(f"{name}-integers", function, inputs, reference, (op,), integers(inputs)),
    ]


def index_input(shape: Shape, limit: int, dtype: str = "int32") -> Input:
    return Input(shape, labels(limit), dtype, differentiable=False)
