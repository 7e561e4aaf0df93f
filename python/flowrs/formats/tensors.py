"""Named arrays in files of any format, looked at piece by piece.

A format's reader makes a list of ``Tensor``; nothing is read before a tensor's ``load`` is called,
and then the file is mapped, so that memory does not grow with the size of the file.
"""

from __future__ import annotations

import math
import mmap
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from flowrs.checkpoint import FileBackendVariableBlob
from flowrs.errors import CheckpointError, CheckpointIOError, CheckpointNotFoundError

Array = npt.NDArray[Any]

#: The most dimensions that a tensor may have.
MOST_DIMENSIONS = 32

#: The most bytes that one tensor may have: more do not fit into an address space.
_MOST_BYTES = 2**48

_ELEMENTS_IN_A_PIECE = 1 << 17


@dataclass(frozen=True)
class ElementType:
    """An element type that some format has.

    Attributes:
        name: the name that people read, such as ``"float32"``.
        stored: the NumPy type of the bytes in a file, little-endian; that of bfloat16 is uint16.
        kind: the name in a checkpoint's ``meta``, or None if a checkpoint cannot hold it.
        safetensors: the name in safetensors files, or None.
    """

    name: str
    stored: np.dtype[Any]
    kind: str | None
    safetensors: str | None


def _type(name: str, stored: str, kind: str | None, safetensors: str | None) -> ElementType:
    return ElementType(name, np.dtype(stored), kind, safetensors)


BFLOAT16 = _type("bfloat16", "<u2", "kBFloat16", "BF16")
FLOAT32 = _type("float32", "<f4", "kFloat", "F32")

#: The bytes of a variable without ``meta``.
UNKNOWN = _type("?", "u1", None, None)

TYPES = (
    FLOAT32,
    _type("float64", "<f8", "kDouble", "F64"),
    _type("float16", "<f2", "kFloat16", "F16"),
    BFLOAT16,
    _type("int8", "i1", "kInt8", "I8"),
    _type("int16", "<i2", None, "I16"),
    _type("int32", "<i4", "kInt32", "I32"),
    _type("int64", "<i8", "kInt64", "I64"),
    _type("uint8", "u1", "kUInt8", "U8"),
    _type("uint16", "<u2", None, "U16"),
    _type("uint32", "<u4", None, "U32"),
    _type("uint64", "<u8", None, "U64"),
    _type("bool", "?", "kBool", "BOOL"),
    _type("complex64", "<c8", None, "C64"),
    _type("complex128", "<c16", None, None),
    _type("char", "i1", "kChar", "I8"),
)
BY_NAME = {one.name: one for one in TYPES}
BY_KIND = {one.kind: one for one in TYPES if one.kind is not None}
#: The first of the same name counts: I8 is int8, not char.
BY_SAFETENSORS = {one.safetensors: one for one in reversed(TYPES) if one.safetensors is not None}


@dataclass(frozen=True)
class Tensor:
    """A named array in a file.

    Attributes:
        name: its name.
        type: its element type.
        shape: extent of each dimension.
        load: maps the elements, as ``type.stored`` in any byte order and with any strides.
        blob: the variable of a checkpoint that it is, or None.
    """

    name: str
    type: ElementType
    shape: tuple[int, ...]
    load: Callable[[], Array] = field(repr=False, compare=False)
    blob: FileBackendVariableBlob | None = field(default=None, repr=False, compare=False)

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def size_in_bytes(self) -> int:
        """The bytes of all elements."""
        return self.elements * self.type.stored.itemsize


@dataclass(frozen=True)
class TensorFile:
    """What a file holds.

    Attributes:
        path: the file, or the directory of a checkpoint.
        format: the name of its format.
        tensors: sorted by name.
        left_out: what it holds besides, that is no tensor.
        metadata: what the user stored beside the tensors.
    """

    path: str
    format: str
    tensors: list[Tensor]
    left_out: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def size_in_bytes(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.size_in_bytes for tensor in self.tensors)


def pieces(array: Array, element_type: ElementType) -> Iterator[Array]:
    """The elements in row-major order, a few at a time.

    Args:
        array: as a tensor's ``load`` returns it.
        element_type: the tensor's type.

    Yields:
        Arrays of one dimension of the type ``element_type.stored``. Each is valid until the next.
    """
    if array.size:
        yield from _in_step([array], [element_type])


def paired_pieces(first: Tensor, second: Tensor) -> Iterator[tuple[Array, Array]]:
    """The elements of two tensors of one shape, a few of each at a time, as ``pieces`` does."""
    if first.elements:
        yield from _in_step([first.load(), second.load()], [first.type, second.type])


def _in_step(arrays: list[Array], types: list[ElementType]) -> Iterator[Any]:
    return np.nditer(
        arrays,
        ["external_loop", "buffered"],
        [["readonly"] for _ in arrays],
        [one.stored for one in types],
        order="C",
        casting="equiv",
        buffersize=_ELEMENTS_IN_A_PIECE,
    )


def numbers(piece: Array, element_type: ElementType) -> Array:
    """A piece as numbers: those of bfloat16 become float32, which holds each of them exactly."""
    if element_type is BFLOAT16:
        return (piece.astype(np.uint32) << 16).view(np.float32)
    return piece


def checked_size(shape: Iterable[int], itemsize: int, what: str) -> int:
    """The bytes of an array of a shape that a file says.

    Raises:
        CheckpointError: there is no such array.
    """
    extents = list(shape)
    if len(extents) > MOST_DIMENSIONS:
        raise CheckpointError(
            f"{what}: {len(extents)} dimensions, at most {MOST_DIMENSIONS} are possible"
        )
    size = itemsize
    for extent in extents:
        # bool is an int of Python, but no extent.
        if type(extent) is not int or extent < 0:
            raise CheckpointError(f"{what}: {extent!r:.40} is no extent of a dimension")
        size *= max(extent, 1)
        if size > _MOST_BYTES:
            raise CheckpointError(f"{what}: a shape of more than {_MOST_BYTES} bytes")
    return 0 if 0 in extents else size


class MappedFile:
    """A regular file in memory; its arrays keep it there.

    Args:
        path: the file.

    Raises:
        CheckpointNotFoundError: there is none.
        CheckpointError: it is no regular file.
        CheckpointIOError: the operating system refused.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # Non-blocking, since opening a pipe would wait for its other end.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise CheckpointNotFoundError(f"there is nothing at {path}") from None
        except OSError as error:
            raise CheckpointIOError(f"cannot open {path}: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CheckpointError(f"{path} is no regular file")
            self.size = status.st_size
            self._bytes: mmap.mmap | bytes = b""
            if self.size:
                try:
                    self._bytes = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
                except (OSError, ValueError) as error:
                    raise CheckpointIOError(f"cannot map {path}: {error}") from error

    def read(self, offset: int, count: int) -> bytes:
        """A copy of some bytes, fewer where the file ends before."""
        return self._bytes[offset : offset + count]

    def array(self, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array over the bytes from an offset on, which the caller has checked to be there."""
        count = math.prod(shape)
        if count == 0:
            return np.empty(shape, dtype)
        return np.frombuffer(self._bytes, dtype, count, offset).reshape(shape)


def spilled(parts: Iterable[bytes | memoryview], size: int, what: str) -> Array:
    """Bytes that no file holds as they are, in a nameless temporary file that is mapped.

    Args:
        parts: the bytes, in order.
        size: how many there must be.
        what: what they are, for the error.

    Returns:
        The bytes as an array; the file is gone with it.

    Raises:
        CheckpointError: there are more or fewer bytes.
        CheckpointIOError: there is no room for them.
    """
    if size == 0:
        return np.empty(0, np.uint8)
    try:
        with tempfile.TemporaryFile(dir=_room_for_much()) as file:
            preallocate(file, size)
            written = 0
            for part in parts:
                written += len(part)
                if written > size:
                    break
                file.write(part)
            file.flush()
            if written != size:
                raise CheckpointError(f"{what}: the file holds other than the {size} bytes it says")
            mapping = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointIOError(
            f"{what}: cannot unpack {size} bytes into a temporary file: {error.strerror}; TMPDIR "
            "in the environment names another folder"
        ) from error
    return np.frombuffer(mapping, np.uint8)


def preallocate(file: BinaryIO | Any, size: int) -> None:
    """Takes the room for a file before anything is written, where the file system can."""
    import errno

    allocate = getattr(os, "posix_fallocate", None)
    if allocate is None or size == 0:
        return
    try:
        allocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _room_for_much() -> str | None:
    """A folder on a disk: what is usual for temporary files may lie in memory."""
    if any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")):
        return None
    return "/var/tmp" if os.access("/var/tmp", os.W_OK | os.X_OK) else None
