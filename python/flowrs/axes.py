"""Axes as users name them."""

from __future__ import annotations

from flowrs.errors import ArgumentError, ArgumentTypeError


def axis_of(function: str, axis: int, rank: int) -> int:
    """The axis that a number means, counted from the front.

    Raises:
        ArgumentError: there is no such axis.
    """
    if type(axis) is not int:
        raise ArgumentTypeError(f"{function}: the axis must be an int, not {axis!r}")
    if not -rank <= axis < rank:
        raise ArgumentError(f"{function}: axis {axis} is out of range for {rank} dimensions")
    return axis % rank


def axes_of(function: str, axes: object, rank: int) -> list[int]:
    """Several axes, in the order given, none of them twice.

    Raises:
        ArgumentError: an axis is not there, or is named twice.
    """
    if not isinstance(axes, (list, tuple)):
        raise ArgumentTypeError(f"{function}: axes must be a list of ints, not {axes!r}")
    normal = [axis_of(function, axis, rank) for axis in axes]
    if len(set(normal)) != len(normal):
        raise ArgumentError(f"{function}: {axes!r} names an axis twice")
    return normal
