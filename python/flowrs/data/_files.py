"""Reads the two forms in which MNIST is handed out: idx files and ``mnist.npz``.

Nothing in a file is trusted: sizes are compared with what is there before anything is made of
them, and no reader here can run code (pickles are never looked at).
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from flowrs.errors import DataError

Pixels: TypeAlias = npt.NDArray[np.uint8]

_CHUNK = 1 << 20
_IDX_MAGIC = {1: 0x00000801, 3: 0x00000803}
_READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError)


def read_idx(path: Path, rank: int) -> Pixels:
    """Reads an idx file of unsigned bytes, plain or gzip-compressed.

    Args:
        path: the file; the ending ``.gz`` tells that it is compressed.
        rank: the number of axes that it must have: 1 for labels, 3 for images.

    Returns:
        A uint8 array with the shape of the file's header.

    Raises:
        DataError: the file cannot be read, is not of this kind, or is too short or too long.
    """
    try:
        with _open(path) as file:
            header = file.read(4 + 4 * rank)
            if len(header) < 4 + 4 * rank:
                raise DataError(f"{path} is too short for the header of an idx file")
            magic, *shape = struct.unpack(f">{1 + rank}I", header)
            if magic != _IDX_MAGIC[rank]:
                raise DataError(
                    f"{path} is no idx file of {rank}-d unsigned bytes: its magic number is "
                    f"0x{magic:08x}, expected 0x{_IDX_MAGIC[rank]:08x}"
                )
            expected = math.prod(shape)
            content = _read_at_most(file, expected + 1)
    except _READ_ERRORS as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(content) != expected:
        found = f"{len(content)}" if len(content) < expected else "more"
        raise DataError(
            f"{path} announces {' x '.join(map(str, shape))} = {expected} bytes after its header "
            f"and holds {found}"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def read_npz(
    content: bytes, source: str | os.PathLike[str], names: tuple[str, ...]
) -> list[Pixels]:
    """Reads arrays of unsigned bytes from the content of an npz file.

    Args:
        content: the whole file.
        source: where it comes from, for messages.
        names: the arrays that are wanted; others in the file are not looked at.

    Returns:
        The uint8 arrays, in the order of the names.

    Raises:
        DataError: the file is no npz file, or an array is missing, damaged, or not of uint8.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [_read_npz_member(archive, name, source) for name in names]
    except _READ_ERRORS as error:
        raise DataError(f"cannot read {source} as an npz file: {error}") from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _read_npz_member(archive: zipfile.ZipFile, name: str, source: str | os.PathLike[str]) -> Pixels:
    if f"{name}.npy" not in archive.namelist():
        found = ", ".join(member.removesuffix(".npy") for member in archive.namelist()[:10])
        raise DataError(f"{source} holds no array {name!r}; it holds: {found or 'nothing'}")
    try:
        with archive.open(f"{name}.npy") as member:
            shape, fortran_order, dtype = _read_npy_header(member)
            if dtype != np.uint8:
                raise DataError(f"array {name!r} of {source} is of {dtype}, expected uint8")
            expected = math.prod(shape)
            values = _read_at_most(member, expected + 1)
    except DataError:
        raise
    except Exception as error:
        # numpy's parser and the decompressors let many kinds escape when bytes are damaged.
        raise DataError(f"array {name!r} of {source} is damaged: {error}") from error
    if len(values) != expected:
        raise DataError(
            f"array {name!r} of {source} announces the shape {shape} = {expected} bytes "
            f"and holds {len(values) if len(values) < expected else 'more'}"
        )
    array = np.frombuffer(values, dtype=np.uint8)
    return array.reshape(shape, order="F" if fortran_order else "C")


def _read_npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    # The header is a literal, which numpy parses without running it.
    if version == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise ValueError(f"version {version} of the npy format is unknown")
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    return shape, fortran_order, dtype


def _read_at_most(file: IO[bytes], limit: int) -> bytes:
    # In pieces: one read of a size that only the file's header vouches for would allocate it.
    pieces = bytearray()
    while len(pieces) < limit:
        piece = file.read(min(_CHUNK, limit - len(pieces)))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)
