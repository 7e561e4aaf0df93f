"""NumPy's npz format: a zip archive of npy files."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from flowrs.errors import CheckpointError
from flowrs.formats.archive import Archive
from flowrs.formats.tensors import (
    BFLOAT16,
    FLOAT32,
    TYPES,
    Array,
    ElementType,
    Tensor,
    TensorFile,
    checked_size,
    numbers,
    pieces,
)

_SUFFIX = ".npy"
_MOST_HEADER_BYTES = 1 << 16


def read(archive: Archive) -> TensorFile:
    """Reads the headers of an npz file's arrays.

    Args:
        archive: the opened file.

    Returns:
        What it holds.

    Raises:
        CheckpointError: the file is damaged, or an array has objects or fields in it.
    """
    tensors, left_out = [], []
    for name in sorted(archive.names()):
        if name.endswith(_SUFFIX):
            tensors.append(_tensor(archive, name))
        else:
            left_out.append(name)
    return TensorFile(archive.path, "npz", tensors, left_out)


def _tensor(archive: Archive, member: str) -> Tensor:
    what = f"{archive.path}: {member!r:.80}"
    shape, fortran, dtype, start = _header(archive, member, what)
    native = dtype.newbyteorder("<")
    element_type = next((one for one in TYPES if one.stored == native), None)
    if dtype == np.dtype("u2"):
        # The same bytes as bfloat16, which comes first in the table.
        element_type = next(one for one in TYPES if one.name == "uint16")
    if element_type is None:
        raise CheckpointError(
            f"{what}: NumPy's type {dtype.str!r:.40} is no element type; expected numbers"
        )
    size = checked_size(shape, dtype.itemsize, what)
    if archive.size(member) - start != size:
        raise CheckpointError(
            f"{what}: {archive.size(member) - start} bytes, {dtype} of shape {shape} needs {size}"
        )
    load = partial(_load, archive, member, start, shape, fortran, dtype)
    return Tensor(member.removesuffix(_SUFFIX), element_type, shape, load)


def _header(
    archive: Archive, member: str, what: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in column-major order, type, and where the elements begin."""
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            if version not in read:
                raise ValueError(f"version {version} of the npy format")
            shape, fortran, dtype = read[version](file, max_header_size=_MOST_HEADER_BYTES)
            start = file.tell()
        except zipfile.BadZipFile:
            raise
        except Exception as error:
            # NumPy evaluates the header as a literal, whose errors are of many classes.
            reason = str(error).partition("\n")[0]
            raise CheckpointError(f"{what}: no npy file: {reason:.120}") from None
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
        raise CheckpointError(f"{what}: objects and records are not read, only arrays of numbers")
    return shape, fortran, dtype, start


def _load(
    archive: Archive,
    member: str,
    start: int,
    shape: tuple[int, ...],
    fortran: bool,
    dtype: np.dtype[Any],
) -> Array:
    elements = archive.array(member)[start:]
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    return elements.view(dtype).reshape(shape, order="F" if fortran else "C")


def stored_type(element_type: ElementType) -> ElementType:
    """The type that an npz file has for another: bfloat16, which NumPy lacks, becomes float32."""
    return FLOAT32 if element_type is BFLOAT16 else element_type


def write(file: BinaryIO, tensors: Iterable[Tensor], progress: Callable[[int], None]) -> None:
    """Writes an npz file, piece by piece, without compression as ``numpy.savez`` does.

    Args:
        file: a new file.
        tensors: what to write.
        progress: told the bytes of each piece that was read.

    Raises:
        CheckpointError: a tensor has a name that the format lacks.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for tensor in tensors:
            info = zipfile.ZipInfo(tensor.name + _SUFFIX)
            info.external_attr = 0o644 << 16
            if info.filename != tensor.name + _SUFFIX:
                raise CheckpointError(f"variable {tensor.name!r:.80}: npz cannot store this name")
            dtype = stored_type(tensor.type).stored
            header = {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": tensor.shape,
            }
            try:
                member = archive.open(info, "w", force_zip64=True)
            except (UnicodeEncodeError, ValueError) as error:
                raise CheckpointError(
                    f"variable {tensor.name!r:.80}: npz cannot store this name: {error}"
                ) from None
            with member:
                np.lib.format.write_array_header_1_0(member, header)
                for piece in pieces(tensor.load(), tensor.type):
                    member.write(np.ascontiguousarray(numbers(piece, tensor.type)).data)
                    progress(piece.nbytes)
