"""Annotations for the parameters and results of jobs.

``import flowrs.typing as tp`` gives ``tp.Numpy.Placeholder((100, 10))`` for a parameter and
``tp.Numpy`` for a result; ``tp.ListNumpy`` is a list of arrays, one for each device.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Dict, Generic, List, Tuple, TypeVar, Union

import numpy as np

from flowrs import datatype
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentTypeError, UnsupportedError

T = TypeVar("T")

__all__ = ["Bundle", "Callback", "Dict", "List", "ListNumpy", "Numpy", "Tuple", "Union"]


class Placeholder:
    """The shape and dtype of a parameter; a dimension may be None: then it may differ by call."""

    kind: typing.ClassVar[str]

    def __init__(self, shape: Sequence[int | None], dtype: DType = datatype.float32) -> None:
        if not isinstance(shape, tuple):
            raise ArgumentTypeError(
                f"{self.kind}.Placeholder: shape should be a tuple, {type(shape).__name__} found"
            )
        self.shape: tuple[int | None, ...] = shape
        self.dtype = datatype.check(dtype, f"{self.kind}.Placeholder")

    def __repr__(self) -> str:
        return f"{self.kind}.Placeholder({self.shape}, {self.dtype})"


class NumpyPlaceholder(Placeholder):
    """One array."""

    kind = "Numpy"


class ListNumpyPlaceholder(Placeholder):
    """A list of arrays, one for each device; their sizes may be smaller than the shape says."""

    kind = "ListNumpy"


if typing.TYPE_CHECKING:
    Numpy = np.ndarray[Any, np.dtype[Any]]
    ListNumpy = list[Numpy]
else:

    class Numpy:
        """One array: ``tp.Numpy.Placeholder(shape, dtype)`` in, ``tp.Numpy`` out.

        Example:
            >>> import flowrs as flow
            >>> import flowrs.typing as tp
            >>> tp.Numpy.Placeholder((2, 3), dtype=flow.int32)
            Numpy.Placeholder((2, 3), oneflow.int32)
        """

        Placeholder = NumpyPlaceholder

    class ListNumpy:
        """A list of arrays, one for each device."""

        Placeholder = ListNumpyPlaceholder


class Callback(Generic[T]):
    """A result that is given to a function: ``job(x)(function)``."""


class Bundle(Generic[T]):
    """A result of any structure: a blob, or lists, tuples and dicts of results."""


@dataclass(frozen=True)
class Annotation:
    """An annotation taken apart: its kind, what it holds, and a dict's key type."""

    kind: str
    items: tuple[Annotation, ...] = ()
    placeholder: Placeholder | None = None
    key: type | None = None

    def leaves(self) -> list[Annotation]:
        """The annotations that stand for arrays, from left to right."""
        if not self.items:
            return [self]
        return [leaf for item in self.items for leaf in item.leaves()]


def parse_parameter(annotation: object, where: str) -> Annotation:
    """Takes a parameter's annotation apart; ``where`` is named in errors."""
    if isinstance(annotation, Placeholder):
        _check_dimensions(annotation, where)
        datatype.check_computable(annotation.dtype, where)
        return Annotation(annotation.kind, placeholder=annotation)
    if typing.get_origin(annotation) is tuple:
        items = [parse_parameter(item, where) for item in typing.get_args(annotation)]
        return Annotation("Tuple", tuple(items))
    hint = ""
    if annotation in (Numpy, ListNumpy):
        hint = ": a parameter needs a shape, as in tp.Numpy.Placeholder((100, 10))"
    raise UnsupportedError(f"{where}: invalid parameter annotation {_shown(annotation)}{hint}")


def parse_return(annotation: object, where: str) -> Annotation:
    """Takes a result's annotation apart; ``where`` is named in errors."""
    if annotation is None or annotation is type(None):
        return Annotation("None")
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Callback:
        inner = parse_return(arguments[0], where)
        if inner.kind not in ("Callback", "Bundle"):
            return Annotation("Callback", (inner,))
    elif origin is Bundle:
        if arguments[0] in (Numpy, ListNumpy):
            return Annotation("Bundle", (_parse_result(arguments[0], where),))
    else:
        return _parse_result(annotation, where)
    raise UnsupportedError(f"{where}: invalid return annotation {_shown(annotation)}")


def _parse_result(annotation: object, where: str) -> Annotation:
    if annotation is Numpy:
        return Annotation("Numpy")
    if annotation is ListNumpy:
        return Annotation("ListNumpy")
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple and arguments and Ellipsis not in arguments:
        return Annotation("Tuple", tuple(_parse_result(item, where) for item in arguments))
    if origin is list and arguments:
        return Annotation("List", (_parse_result(arguments[0], where),))
    if origin is dict and arguments and isinstance(arguments[0], type):
        return Annotation("Dict", (_parse_result(arguments[1], where),), key=arguments[0])
    raise UnsupportedError(f"{where}: invalid return annotation {_shown(annotation)}")


def _shown(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else repr(annotation)


def _check_dimensions(placeholder: Placeholder, where: str) -> None:
    for extent in placeholder.shape:
        if extent is not None and not (type(extent) is int and 0 < extent <= sys.maxsize):
            raise ArgumentTypeError(
                f"{where}: each dimension of a placeholder must be an int above 0 (or None) that "
                f"a machine word holds, found {extent!r} in {placeholder.shape}"
            )


#: What a job's ``Callback`` result takes.
CallbackFunction = Callable[[Any], Any]
