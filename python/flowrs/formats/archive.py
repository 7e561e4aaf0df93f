"""Zip archives that are not trusted, with members that are mapped where they lie."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from flowrs.errors import CheckpointError
from flowrs.formats.tensors import Array, MappedFile, spilled

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_PIECE = 1 << 20

#: What Python's zip reader raises at damaged archives.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
    OSError,
)


class Archive:
    """A zip archive.

    Args:
        path: the file.

    Raises:
        CheckpointError: the archive is damaged, encrypted, or has two members of one name.
        CheckpointIOError: the operating system refused.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = MappedFile(path)
        with self._reports_damage():
            self._zip = zipfile.ZipFile(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if info.filename in self._members:
                raise CheckpointError(f"{path}: the archive has {info.filename!r:.80} twice")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise CheckpointError(
                    f"{path}: {info.filename!r:.80} is compressed by method {info.compress_type}, "
                    "which is not read"
                )
            self._members[info.filename] = info

    def names(self) -> list[str]:
        """The names of all members that are no folders."""
        return [name for name in self._members if not name.endswith("/")]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        """The bytes of a member when it is unpacked."""
        return self._members[name].file_size

    def read(self, name: str, most: int) -> bytes:
        """A member's bytes, which must not be more than ``most``."""
        size = self.size(name)
        if size > most:
            raise CheckpointError(
                f"{self.path}: {name!r:.80} has {size} bytes, at most {most} are read"
            )
        with self.open(name) as file:
            content: bytes = file.read(most + 1)[:size]
            return content

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A member as a file; damage that shows inside the context becomes an error of ours."""
        with self._reports_damage(name), self._zip.open(self._members[name]) as file:
            yield file

    def array(self, name: str, check: bool = True) -> Array:
        """A member's bytes: mapped where they lie, or unpacked into a temporary file.

        Args:
            name: the member.
            check: whether to compare what is not compressed with its checksum; what is compressed
                always is.

        Returns:
            An array of bytes.
        """
        info = self._members[name]
        what = f"{self.path}: {name!r:.80}"
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            with self.open(name) as file:
                return spilled(iter(lambda: file.read(_PIECE), b""), info.file_size, what)
        offset = self._offset(info, what)
        array = self._file.array(offset, (info.file_size,), np.dtype("u1"))
        if check:
            checksum = 0
            for start in range(0, len(array), _PIECE):
                checksum = zlib.crc32(array[start : start + _PIECE].data, checksum)
            if checksum != info.CRC:
                raise CheckpointError(f"{what}: the bytes have not the checksum of the archive")
        return array

    def _offset(self, info: zipfile.ZipInfo, what: str) -> int:
        """Where in the file a member's bytes begin; all of them are there."""
        header = self._file.read(info.header_offset, _LOCAL_HEADER.size)
        if info.header_offset < 0 or len(header) < _LOCAL_HEADER.size:
            raise CheckpointError(f"{what}: the archive is damaged")
        signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        offset = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if (
            signature != b"PK\x03\x04"
            or info.compress_size != info.file_size
            or offset + info.file_size > self._file.size
        ):
            raise CheckpointError(f"{what}: the archive is damaged or cut off")
        return int(offset)

    @contextlib.contextmanager
    def _reports_damage(self, name: str | None = None) -> Iterator[Any]:
        try:
            yield
        except CheckpointError:
            raise
        except _DAMAGED as error:
            where = self.path if name is None else f"{self.path}: {name!r:.80}"
            if isinstance(error, OSError) and error.errno is not None and error.filename:
                raise CheckpointError(f"cannot read {where}: {os.strerror(error.errno)}") from error
            # The reader of the standard library quotes whatever stands in the place of a name.
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{where}: the zip archive is damaged: {reason:.120}") from None
