"""Arrays that callers pass: checked, and converted where no value is lost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from flowrs.errors import ArgumentTypeError, DTypeError, ShapeError
from flowrs.typing import Placeholder

Array = npt.NDArray[Any]


def fits_as_it_is(argument: object, placeholder: Placeholder) -> bool:
    """Whether an argument can be read in place: the common case, and so the first question."""
    return (
        type(argument) is np.ndarray
        and argument.shape == placeholder.shape
        and argument.dtype == placeholder.dtype.numpy
        and argument.flags.c_contiguous
        and argument.flags.aligned
    )


def of_shape(argument: object, placeholder: Placeholder, where: str) -> Array:
    """An array of the declared shape, ready to be read.

    Raises:
        ArgumentTypeError: the argument is no array.
        ShapeError: its shape is not the declared one.
        DTypeError: its values cannot be converted.
    """
    array = _array(argument, where)
    declared = placeholder.shape
    if len(array.shape) != len(declared) or any(
        wanted is not None and wanted != found
        for wanted, found in zip(declared, array.shape, strict=True)
    ):
        raise ShapeError(f"{where}: expected shape {declared}, found {array.shape}")
    _check_not_empty(array, where)
    return ready(array, placeholder.dtype.numpy, where)


def up_to_shape(argument: object, placeholder: Placeholder, where: str) -> Array:
    """An array of the declared rank with at most as many elements, ready to be read."""
    array = _array(argument, where)
    most = math.prod(extent for extent in placeholder.shape if extent is not None)
    bounded = None not in placeholder.shape
    if array.ndim != len(placeholder.shape) or (bounded and array.size > most):
        raise ShapeError(
            f"{where}: expected rank {len(placeholder.shape)} and at most the elements of "
            f"{placeholder.shape}, found {array.shape}"
        )
    _check_not_empty(array, where)
    return ready(array, placeholder.dtype.numpy, where)


def _array(argument: object, where: str) -> Array:
    if not isinstance(argument, np.ndarray):
        raise ArgumentTypeError(
            f"{where}: expected a NumPy array, found {type(argument).__name__}; "
            "numpy.asarray makes one"
        )
    return argument


def _check_not_empty(array: Array, where: str) -> None:
    if array.size == 0:
        raise ShapeError(f"{where}: found shape {array.shape}: there is nothing to compute with")


def ready(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    """The array as native, aligned, C-contiguous elements of ``dtype``.

    Floats become other floats and integers become floats; integers become other integers where
    all values fit.

    Raises:
        DTypeError: values would be lost, or are no numbers.
    """
    found = array.dtype
    if found != dtype:
        _check_conversion(array, dtype, where)
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(array, dtype).reshape(array.shape)
    return result if result.flags.aligned else result.copy()


def exported(array: Array) -> Array:
    """The array for native code, which takes the buffers of arrays with one axis or more."""
    return array if array.ndim else array.reshape(1)


def _check_conversion(array: Array, dtype: np.dtype[Any], where: str) -> None:
    found = array.dtype
    if found.kind not in "fiub":
        raise DTypeError(f"{where}: expected {dtype}, found {found}, which is no real number type")
    if dtype.kind == "f" or found.kind == "b":
        return
    if found.kind == "f":
        raise DTypeError(
            f"{where}: expected {dtype}, found {found}: fractions would be lost; "
            "round and convert the array first"
        )
    limits = np.iinfo(dtype)
    if array.size and not (int(array.min()) >= limits.min and int(array.max()) <= limits.max):
        raise DTypeError(
            f"{where}: expected {dtype}, found {found} with values from {array.min()} to "
            f"{array.max()}, which do not fit"
        )
