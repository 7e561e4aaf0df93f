"""What the numbers of a tensor are like, and how two tensors differ, found piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flowrs.formats.tensors import Array, Tensor, numbers, paired_pieces, pieces

#: Told the bytes of each piece.
Advance = Callable[[int], None]


@dataclass
class Statistics:
    """What the numbers of a tensor are like.

    Attributes:
        elements: how many there are.
        finite: how many of them are neither NaN nor infinite; what follows is of these.
        nan: how many are NaN.
        infinite: how many are infinite.
        zeros: how many are zero.
        minimum: the smallest, or None if there is none.
        maximum: the largest, or None.
        mean: their mean, or None.
        deviation: their standard deviation (of all, not of a sample), or None.
    """

    elements: int = 0
    finite: int = 0
    nan: int = 0
    infinite: int = 0
    zeros: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class Histogram:
    """How often numbers fall into each of several intervals of one width.

    Attributes:
        edges: the bounds of the intervals, one more than there are intervals.
        counts: how many numbers lie in each.
    """

    edges: list[float]
    counts: list[int]


def describe(tensor: Tensor, advance: Advance = lambda count: None) -> Statistics:
    """Looks at every number of a tensor once.

    Args:
        tensor: a tensor of real numbers or truth values.
        advance: told the bytes of each piece.

    Returns:
        What they are like.
    """
    result = Statistics(elements=tensor.elements)
    mean, squares = 0.0, 0.0
    for piece in pieces(tensor.load(), tensor.type):
        values = numbers(piece, tensor.type)
        if not _all_finite(values):
            result.nan += int(np.isnan(values).sum())
            result.infinite += int(np.isinf(values).sum())
            values = values[np.isfinite(values)]
        result.zeros += int(np.count_nonzero(values == 0))
        if values.size:
            low, high = values.min().item(), values.max().item()
            result.minimum = low if result.minimum is None else min(low, result.minimum)
            result.maximum = high if result.maximum is None else max(high, result.maximum)
            mean, squares = _merged(result.finite, mean, squares, values)
            result.finite += values.size
        advance(piece.nbytes)
    if result.finite:
        result.mean = mean
        result.deviation = math.sqrt(squares / result.finite)
    return result


def _all_finite(values: Array) -> bool:
    """Whether no number is NaN or infinite; much cheaper than to look for each."""
    if values.dtype.kind != "f":
        return True
    return math.isfinite(values.min()) and math.isfinite(values.max())


def _merged(count: int, mean: float, squares: float, values: Array) -> tuple[float, float]:
    """Mean and sum of squared distances from it, with more values than the ``count`` before.

    The sums of two parts are joined as Chan, Golub and LeVeque do; the mean comes first, so that
    nothing large is taken from something large.
    """
    wide = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        part_mean = float(wide.mean())
        if not math.isfinite(part_mean):  # The sum is too large for a number, the mean is not.
            part_mean = float((wide / wide.size).sum())
        wide -= part_mean
        # No product of vectors: its threads would get into each other's way on a busy machine.
        part_squares = float(np.square(wide, out=wide).sum())
    total = count + values.size
    distance = part_mean - mean
    new_mean = mean + distance * (values.size / total)
    between = distance * distance * (count * values.size / total)
    return new_mean, squares + part_squares + between


def histogram(
    tensor: Tensor, statistics: Statistics, bins: int, advance: Advance = lambda count: None
) -> Histogram:
    """Counts the finite numbers of a tensor in intervals between the smallest and the largest.

    Args:
        tensor: the tensor.
        statistics: what ``describe`` said of it.
        bins: how many intervals; there is one where all numbers are the same.
        advance: told the bytes of each piece.

    Returns:
        The counts; none where there is no finite number.
    """
    if statistics.minimum is None or statistics.maximum is None:
        return Histogram([], [])
    # Half of each, for their distance may be too large for a number.
    low, high = float(statistics.minimum) / 2, float(statistics.maximum) / 2
    if low == high:
        return Histogram([statistics.minimum, statistics.maximum], [statistics.finite])
    edges = [2 * (low + (high - low) * (number / bins)) for number in range(bins)] + [2 * high]
    counts: npt.NDArray[Any] = np.zeros(bins, np.int64)
    for piece in pieces(tensor.load(), tensor.type):
        values = numbers(piece, tensor.type)
        if not _all_finite(values):
            values = values[np.isfinite(values)]
        places = values.astype(np.float64)
        places /= 2
        places -= low
        places /= high - low
        places *= bins
        indices = np.minimum(places.astype(np.int64), bins - 1)
        counts += np.bincount(indices, minlength=bins)
        advance(piece.nbytes)
    return Histogram(edges, counts.tolist())


@dataclass
class Change:
    """How the elements of two tensors of one shape differ.

    Attributes:
        elements: how many there are.
        changed: how many differ by more than the tolerance, with those of ``special``.
        special: how many of them are NaN or infinite in either tensor.
        largest: the largest distance of two finite numbers.
        relative: that distance divided by the largest finite magnitude in the first tensor; None
            where that is zero.
    """

    elements: int = 0
    changed: int = 0
    special: int = 0
    largest: float = 0.0
    relative: float | None = 0.0


def compare(
    first: Tensor, second: Tensor, tolerance: float = 0.0, advance: Advance = lambda count: None
) -> Change:
    """Looks at every pair of elements of two tensors of one shape.

    NaN is the same as NaN. Types may differ; then the values count.

    Args:
        first: the tensor that ``relative`` is about.
        second: the other one.
        tolerance: distances of at most this are no change.
        advance: told the bytes of each pair of pieces.

    Returns:
        How they differ.
    """
    result = Change(elements=first.elements)
    magnitude = 0.0
    for one, other in paired_pieces(first, second):
        left, right = numbers(one, first.type), numbers(other, second.type)
        magnitude = max(magnitude, _largest_magnitude(left))
        differ = left != right
        if differ.any() and left.dtype.kind in "fc" and right.dtype.kind in "fc":
            differ &= ~(np.isnan(left) & np.isnan(right))
        if differ.any():
            distances = _distances(left[differ], right[differ])
            finite = np.isfinite(distances)
            result.changed += int((distances > tolerance).sum())
            result.special += int(distances.size - finite.sum())
            result.largest = max(result.largest, float(distances[finite].max(initial=0.0)))
        advance(one.nbytes + other.nbytes)
    if result.largest:
        result.relative = result.largest / magnitude if magnitude else None
    return result


def _largest_magnitude(values: Array) -> float:
    if values.dtype.kind != "c" and _all_finite(values):
        return max(-float(values.min()), float(values.max()))
    magnitudes = np.abs(values.astype(_wide(values)))
    return float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0))


def _distances(left: Array, right: Array) -> Array:
    """Distances in double precision; infinite where one of the numbers is NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        distances = np.abs(left.astype(_wide(left)) - right.astype(_wide(right)))
        if left.dtype.kind in "iu" and right.dtype.kind in "iu":
            # Double precision may make neighbours of large integers the same.
            distances = np.maximum(distances, 1.0)
    return np.where(np.isnan(distances), math.inf, distances)


def _wide(values: Array) -> npt.DTypeLike:
    return np.complex128 if values.dtype.kind == "c" else np.float64
