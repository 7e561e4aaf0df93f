"""What the inputs of rows hold, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape, np.dtype[Any]], Array]


# --- Content -----------------------------------------------------------------------------------


def normal(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Normal floats, or small integers of both signs where there are such."""
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(-9 if dtype.kind == "i" else 0, 10, size=shape).astype(dtype)


def nonzero(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Numbers that are far enough from zero to be divided by, and to be on one side of a kink."""
    low, high = (0.5, 2.0) if dtype.kind == "f" else (1, 10)
    sign = rng.choice([-1, 1], size=shape) if dtype.kind != "u" else 1
    size = rng.uniform(low, high, size=shape)
    return (sign * (size if dtype.kind == "f" else np.floor(size))).astype(dtype)


def distinct(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Numbers of which no two are close: each maximum is one element's."""
    count = int(np.prod(shape))
    return (rng.permutation(count) / 8.0 - count / 16.0).reshape(shape).astype(dtype)


def tied(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Few different numbers, so that extrema occur more than once."""
    return rng.integers(0, 3, size=shape).astype(dtype)


def extreme(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Zeros, infinities, NaN, and the ends of the type's range."""
    limits = np.finfo(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -2.0]
    special += [limits.max, limits.min, limits.tiny, -limits.smallest_subnormal]
    return rng.choice(np.array(special, dtype), size=shape)


def zeros_among(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Every third number is zero."""
    array = nonzero(rng, shape, dtype)
    array.reshape(-1)[::3] = 0
    return array


def huge_logits(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Logits of +-10,000 whose exponentials leave every range."""
    return rng.choice(np.array([1e4, -1e4, 0.0, 9999.0], dtype), size=shape)


def hidden_logits(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Logits, some of which are minus infinity: classes of probability 0."""
    array = normal(rng, shape, dtype)
    array[..., 1::3] = -np.inf
    return array


def distribution(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Probabilities that add up to 1 along the last axis."""
    array = rng.uniform(0.1, 1.0, size=shape)
    return (array / array.sum(axis=-1, keepdims=True)).astype(dtype)


def labels(classes: int) -> Draw:
    """Class numbers, the first and the last among them."""

    def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
        array = rng.integers(0, classes, size=shape).astype(dtype)
        array.reshape(-1)[:2] = (classes - 1, 0)[: array.size]
        return array

    return draw


# --- Layout ------------------------------------------------------------------------------------


def contiguous(array: Array) -> Array:
    """As jobs read it."""
    return array


def transposed(array: Array) -> Array:
    """First axis innermost."""
    return np.asfortranarray(array)


def every_other(array: Array) -> Array:
    """With gaps between the elements."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def backwards(array: Array) -> Array:
    """With a negative stride."""
    return array[::-1].copy()[::-1]


def repeated(array: Array) -> Array:
    """With a stride of zero: all rows are the first."""
    return np.broadcast_to(array[:1], array.shape)


def big_endian(array: Array) -> Array:
    """With the bytes of each element in the other order."""
    return array.astype(array.dtype.newbyteorder(">"))


def unaligned(array: Array) -> Array:
    """At an odd address."""
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


LAYOUTS = (transposed, every_other, backwards, repeated, big_endian, unaligned)
