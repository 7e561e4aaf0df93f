"""Cuts images and labels into batches, in the form that OneFlow's loaders return."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from flowrs.errors import ArgumentError, ArgumentTypeError, DataError

Images: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int32]
Batches: TypeAlias = tuple[tuple[Images, Labels], tuple[Images, Labels]]


def check_batch_size(name: str, batch_size: object) -> int:
    """Returns a batch size that is known to be a positive integer.

    Args:
        name: the argument's name, for the message.
        batch_size: what the caller gave.

    Returns:
        The batch size as an int.

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentError: it is less than 1.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise ArgumentTypeError(
            f"{name} must be an int, not {batch_size!r} ({type(batch_size).__name__})"
        )
    if batch_size < 1:
        raise ArgumentError(f"{name} must be at least 1, not {batch_size}")
    return int(batch_size)


def check_divides(name: str, batch_size: int, count: int, what: str) -> None:
    """Makes sure that a batch size leaves no sample over.

    Args:
        name: the argument's name, for the message.
        batch_size: a positive batch size.
        count: the number of samples.
        what: which samples, for the message.

    Raises:
        DataError: there are no samples.
        ArgumentError: the last batch would not be full.
    """
    if count == 0:
        raise DataError(f"there are no {what} samples")
    if count % batch_size:
        nearest = " and ".join(str(size) for size in _nearest_divisors(count, batch_size))
        raise ArgumentError(
            f"{name}={batch_size} does not divide the {count} {what} samples; "
            f"the nearest batch sizes that do: {nearest}"
        )


def batch(
    images: npt.NDArray[np.float32],
    labels: npt.NDArray[np.generic],
    batch_size: int,
    data_format: str,
) -> tuple[Images, Labels]:
    """Gives images and labels a leading axis of batches.

    Args:
        images: float32, shape (N, height, width).
        labels: integers, shape (N,).
        batch_size: a divisor of N.
        data_format: "NCHW" puts the channel axis before height and width, any other after.

    Returns:
        Images of shape (N / B, B, 1, height, width) or (N / B, B, height, width, 1), and
        int32 labels of shape (N / B, B).
    """
    count, height, width = images.shape
    size = (1, height, width) if data_format == "NCHW" else (height, width, 1)
    return (
        images.reshape(count // batch_size, batch_size, *size),
        labels.astype(np.int32).reshape(count // batch_size, batch_size),
    )


def _nearest_divisors(count: int, wanted: int) -> list[int]:
    small = [size for size in range(1, math.isqrt(count) + 1) if count % size == 0]
    divisors = sorted({*small, *(count // size for size in small)})
    below = [size for size in divisors if size < wanted][-1:]
    above = [size for size in divisors if size > wanted][:1]
    return below + above
