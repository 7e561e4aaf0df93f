"""Variables in a checkpoint, whose bytes stay on the disk until they are looked at."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from flowrs import datatype
from flowrs._flowrs import CheckpointEntry, open_variable
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentError, CheckpointError

Array = npt.NDArray[Any]

#: What NumPy calls the elements of types that this API has no name for.
_LATER_TYPES = {"kBool": np.dtype(np.bool_), "kBFloat16": np.dtype(np.uint16)}


class FileBackendVariableBlob(CheckpointEntry):
    """A variable in a checkpoint; its bytes stay on the disk until they are looked at.

    ``blob[2:5]`` reads only the bytes of these rows. A blob can be pickled: it is opened again, and
    refused if the checkpoint has another shape or type by then.
    """

    # Without fields of its own, it costs the garbage collector nothing.
    __slots__ = ()

    @property
    def file_path(self) -> str:
        """The file that holds the elements."""
        return self._path

    @property
    def var_dir_(self) -> str:
        """The directory of the variable."""
        return os.path.dirname(self.file_path)

    @property
    def has_meta_info_(self) -> bool:
        """Whether there is a ``meta`` with shape and dtype; the oldest snapshots have none."""
        return self._meta is not None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Extent of each dimension; None where there is no ``meta``."""
        meta = self._meta
        return None if meta is None else tuple(meta[1])

    @property
    def dtype(self) -> DType | None:
        """Element type; None where there is no ``meta``.

        Raises:
            DTypeError: the type is one of later versions that this API has no name for.
        """
        kind = self.kind
        return None if kind is None else datatype.from_kind(kind, self.file_path)

    @property
    def kind(self) -> str | None:
        """Name of the element type in ``meta``, such as ``"kFloat"``; None where there is none."""
        meta = self._meta
        return None if meta is None else meta[0]

    def verify(self) -> bool:
        """Reads the elements and compares them with their checksum.

        Returns:
            True; or False where no checksum is stored.

        Raises:
            CheckpointError: the elements are not those that were saved.
        """
        return self._verify()

    def numpy(self, index: Any = None) -> Array:
        """The value: a read-only array; no byte is read before it is used.

        Where the checkpoint is opened with ``io="read"``, the bytes are read now. bfloat16 is
        widened to float32, which holds every one of its values.

        Args:
            index: which part of the value, as in ``array[index]``; None: all of it. Only the rows
                (indices of the first axis) that the part lies in are read.

        Raises:
            CheckpointError: there is no ``meta``, or the file has changed.
            IndexError: there is no such part.

        Example:
            >>> import tempfile, os
            >>> import numpy as np
            >>> import flowrs as flow
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = os.path.join(folder, "snapshot")
            ...     flow.save({"w": np.arange(3, dtype=np.float32)}, path)
            ...     flow.load(path)["w"].numpy()
            array([0., 1., 2.], dtype=float32)
        """
        shape, stored = self._stored()
        array: Array
        if index is None:
            array = self.values(shape, stored)
        elif self._reads:
            array = self._read_part(shape, stored, index)
        else:
            array = self.values(shape, stored)[index]
        if self.kind != "kBFloat16":
            return array
        wide = (np.asarray(array).astype(np.uint32) << 16).view(np.float32)
        wide.flags.writeable = False
        return wide

    def __getitem__(self, index: Any) -> Array:
        return self.numpy(index)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype, copy=copy)

    def memmap(self, mode: str = "r") -> np.memmap[Any, np.dtype[Any]]:
        """The value as a ``numpy.memmap``, bfloat16 as the bits of each element (uint16).

        Args:
            mode: ``"r"``: read-only; ``"c"``: writes stay in this process and never reach the file.

        Raises:
            ArgumentError: ``mode`` is neither.
            CheckpointError: there is no ``meta``, or the file has changed.
        """
        if mode not in ("r", "c"):
            raise ArgumentError(f'memmap: mode must be "r" or "c", not {mode!r}')
        shape, stored = self._stored()
        mapping = self._map(mode == "c")
        array = np.frombuffer(memoryview(mapping), stored).reshape(shape).view(np.memmap)
        array.filename = os.path.normpath(self._absolute_path)
        array.offset = 0
        array.mode = mode
        return array

    def values(self, shape: tuple[int, ...], stored: np.dtype[Any]) -> Array:
        """The file as a read-only array of the given shape and dtype, which must fit its size."""
        memory = self._read() if self._reads else self._map(False)
        return np.frombuffer(memoryview(memory), stored.newbyteorder("<")).reshape(shape)

    def _stored(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """The shape, and the type that NumPy reads the elements as."""
        meta = self._meta
        if meta is None:
            raise CheckpointError(
                f"{self.file_path}: there is no meta file, so shape and dtype are unknown; "
                "load_variables takes them from the variable of the same name"
            )
        kind, shape = meta
        stored = _LATER_TYPES.get(kind) or datatype.from_kind(kind, self.file_path).numpy
        return tuple(shape), stored.newbyteorder("<")

    def _read_part(self, shape: tuple[int, ...], stored: np.dtype[Any], index: Any) -> Array:
        first, *rest = index if isinstance(index, tuple) else (index,)
        row = stored.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        if shape and isinstance(first, slice):
            rows = range(*first.indices(shape[0]))
        elif shape and isinstance(first, (int, np.integer)) and not isinstance(first, np.bool_):
            position = operator.index(first)
            if not -shape[0] <= position < shape[0]:
                raise IndexError(f"row {position} of {shape[0]} rows in {self.file_path}")
            rows = range(position % shape[0], position % shape[0] + 1)
        else:
            whole: Array = self.values(shape, stored)
            return np.asarray(whole[index])
        low, high = (min(rows), max(rows) + 1) if rows else (0, 0)
        part = np.empty((high - low, *shape[1:]), stored)
        self._read_range(low * row, part)
        part.flags.writeable = False
        place = slice(rows[0] - low if rows else 0, None, rows.step)
        found: Array = part[(place if isinstance(first, slice) else 0, *rest)]
        return found

    def __reduce__(self) -> tuple[object, ...]:
        path, single = self._opened_from
        io = "read" if self._reads else "mmap"
        return _open_again, (os.path.normpath(path), self.name, single, io, self._meta)

    def __repr__(self) -> str:
        if self.shape is None:
            return (
                f"FileBackendVariableBlob({self.file_path!r}, {self.size_in_bytes} bytes, no meta)"
            )
        return f"FileBackendVariableBlob({self.file_path!r}, {self.shape}, {self.kind})"


def _open_again(
    root: str, name: str, single: bool, io: str, meta: tuple[str, list[int]] | None
) -> FileBackendVariableBlob:
    """A blob that was pickled."""
    blob = FileBackendVariableBlob(open_variable(root, name, single, io), 0)
    if blob._meta != meta:
        raise CheckpointError(
            f"{blob.file_path}: expected {meta} as when the variable was pickled, found "
            f"{blob._meta}; the checkpoint has been replaced, open it again"
        )
    return blob
