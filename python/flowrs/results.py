"""Results of jobs: what the body returned, and how the caller receives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flowrs.blob import Blob
from flowrs.errors import GraphError, SessionError
from flowrs.typing import Annotation

Array = npt.NDArray[Any]
Builder = Callable[[list[Array]], Any]


@dataclass(frozen=True)
class Form:
    """The blobs that a job's body returned, and the function that gives arrays their structure."""

    blobs: list[Blob]
    build: Builder


class LocalBlob:
    """A result without annotation: an array that also answers to the original's names.

    Attributes:
        is_dynamic: whether the shape may differ from call to call.
    """

    def __init__(self, array: Array, is_dynamic: bool) -> None:
        self._array = array
        self.is_dynamic = is_dynamic

    def numpy(self, parallel_id: int | None = None) -> Array:
        """The array."""
        return self._array

    def numpy_list(self) -> list[Array]:
        """The array of each device: a list of one."""
        return [self._array]

    #: The same under the older names.
    ndarray = numpy
    ndarray_list = numpy_list

    def parallel_num(self) -> int:
        """Number of devices: one."""
        return 1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._array, dtype, copy=copy)

    def __int__(self) -> int:
        return int(self._array.item())

    def __float__(self) -> float:
        return float(self._array.item())

    def __complex__(self) -> complex:
        return complex(self._array.item())

    def __getattr__(self, name: str) -> Any:
        if name == "_array":  # While it is unpickled or copied there is none yet.
            raise AttributeError(name)
        return getattr(self._array, name)


def _forward(name: str) -> Callable[..., Any]:
    def method(self: LocalBlob, *arguments: Any) -> Any:
        plain = [value._array if isinstance(value, LocalBlob) else value for value in arguments]
        return getattr(self._array, name)(*plain)

    method.__name__ = name
    return method


for _name in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow "
    "rpow matmul rmatmul and rand or ror xor rxor lshift rlshift rshift rrshift neg pos abs invert "
    "lt le gt ge eq ne getitem setitem delitem len iter contains bool index repr str format"
).split():
    setattr(LocalBlob, f"__{_name}__", _forward(f"__{_name}__"))
LocalBlob.__hash__ = None  # type: ignore[assignment]


class Future:
    """The result of a job without annotation; it may be taken once."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._taken = False

    def get(self) -> Any:
        """The result: a LocalBlob, or lists, tuples and dicts of them.

        Raises:
            SessionError: it was taken before.
        """
        if self._taken:
            raise SessionError("the result of this call was taken already: keep what get returns")
        self._taken = True
        return self._value

    def async_get(self, callback: Callable[[Any], Any]) -> None:
        """Calls ``callback`` with the result."""
        callback(self.get())


def describe(returned: Any, annotation: Annotation | None, where: str) -> Form:
    """Checks what a body returned against the annotation.

    Raises:
        GraphError: the two do not fit.
    """
    blobs: list[Blob] = []
    if annotation is None:
        build = _free(returned, blobs, where, _local)
        return Form(blobs, lambda arrays: Future(build(arrays)))
    if annotation.kind == "Callback":
        build = _annotated(returned, annotation.items[0], blobs, where)
        return Form(blobs, lambda arrays: lambda callback: _call(callback, build(arrays)))
    if annotation.kind == "Bundle":
        leaf = _leaf_builder(annotation.items[0].kind)
        return Form(blobs, _free(returned, blobs, where, leaf))
    return Form(blobs, _annotated(returned, annotation, blobs, where))


def _call(callback: Callable[[Any], Any], value: Any) -> None:
    callback(value)


def _mismatch(where: str, expected: str, found: Any) -> GraphError:
    shown = found if isinstance(found, Blob) or found is None else type(found).__name__
    return GraphError(f"{where}: the return annotation says {expected}, the body returns {shown}")


def _annotated(returned: Any, annotation: Annotation, blobs: list[Blob], where: str) -> Builder:
    kind = annotation.kind
    if kind == "None":
        if returned is not None:
            raise _mismatch(where, "None", returned)
        return lambda arrays: None
    if kind in ("Numpy", "ListNumpy"):
        if not isinstance(returned, Blob):
            raise _mismatch(where, f"tp.{kind}", returned)
        if kind == "Numpy" and returned.is_dynamic:
            raise GraphError(
                f"{where}: {returned.op_name} has a dynamic shape: annotate it as tp.ListNumpy"
            )
        return _take(returned, blobs, lambda blob: _leaf_builder(kind))
    if kind == "Tuple":
        if type(returned) is not tuple or len(returned) != len(annotation.items):
            raise _mismatch(where, f"a tuple of {len(annotation.items)}", returned)
        parts = zip(returned, annotation.items, strict=True)
        return _sequence(tuple, [_annotated(value, item, blobs, where) for value, item in parts])
    if kind == "List":
        if type(returned) is not list:
            raise _mismatch(where, "a list", returned)
        item = annotation.items[0]
        return _sequence(list, [_annotated(value, item, blobs, where) for value in returned])
    if type(returned) is not dict or any(type(key) is not annotation.key for key in returned):
        name = getattr(annotation.key, "__name__", annotation.key)
        raise _mismatch(where, f"a dict with keys of type {name}", returned)
    item = annotation.items[0]
    builders = {key: _annotated(value, item, blobs, where) for key, value in returned.items()}
    return _mapping(builders)


def _free(
    returned: Any,
    blobs: list[Blob],
    where: str,
    leaf: Callable[..., Any],
) -> Builder:
    """Any structure of lists, tuples and dicts."""
    if isinstance(returned, Blob):
        return _take(returned, blobs, lambda blob: leaf)
    if returned is None:
        return lambda arrays: None
    if type(returned) in (list, tuple):
        builders = [_free(value, blobs, where, leaf) for value in returned]
        return _sequence(type(returned), builders)
    if type(returned) is dict:
        return _mapping({key: _free(v, blobs, where, leaf) for key, v in returned.items()})
    raise GraphError(
        f"{where}: a job returns blobs, or lists, tuples and dicts of them, "
        f"not {type(returned).__name__}"
    )


def _take(blob: Blob, blobs: list[Blob], leaf: Callable[[Blob], Callable[..., Any]]) -> Builder:
    number, convert, dynamic = len(blobs), leaf(blob), blob.is_dynamic
    blobs.append(blob)
    return lambda arrays: convert(arrays[number], dynamic)


def _leaf_builder(kind: str) -> Callable[[Array, bool], Any]:
    return _one if kind == "Numpy" else _list


def _one(array: Array, dynamic: bool) -> Array:
    return array


def _list(array: Array, dynamic: bool) -> list[Array]:
    return [array]


def _local(array: Array, dynamic: bool) -> LocalBlob:
    return LocalBlob(array, dynamic)


def _sequence(kind: type, builders: Sequence[Builder]) -> Builder:
    return lambda arrays: kind(build(arrays) for build in builders)


def _mapping(builders: dict[Any, Builder]) -> Builder:
    return lambda arrays: {key: build(arrays) for key, build in builders.items()}
