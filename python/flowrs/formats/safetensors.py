"""The safetensors format: a length, a header in JSON, and the elements of all tensors.

What a file says is checked before it is believed: every byte after the header belongs to exactly
one tensor, no name is given twice, and each tensor has the bytes that its shape and type need.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, BinaryIO

from flowrs.errors import CheckpointError
from flowrs.formats.tensors import (
    BY_SAFETENSORS,
    MappedFile,
    Tensor,
    TensorFile,
    checked_size,
    pieces,
    preallocate,
)

_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 8
_METADATA = "__metadata__"

#: The longest header that is read: some hundred thousand tensors.
MOST_HEADER_BYTES = 32 << 20


def read(path: str) -> TensorFile:
    """Opens a safetensors file; its header is read and nothing else.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        CheckpointError: the file is damaged, or no safetensors file.
        CheckpointIOError: the operating system refused.
    """
    file = MappedFile(path)
    header, start = _header(file)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise CheckpointError(f"{path}: {_METADATA} must map text to text")
    placed = [_placed(path, name, entry) for name, entry in header.items()]
    placed.sort(key=lambda one: (one[1], one[2]))
    end = 0
    tensors = []
    for tensor, begin, stop in placed:
        if begin != end:
            how = "overlaps the one before it" if begin < end else "leaves a hole before it"
            raise CheckpointError(f"{path}: the data of {tensor.name!r:.80} {how}")
        end = stop
        load = partial(file.array, start + begin, tensor.shape, tensor.type.stored)
        tensors.append(Tensor(tensor.name, tensor.type, tensor.shape, load))
    if start + end != file.size:
        raise CheckpointError(
            f"{path}: the header speaks of {start + end} bytes, the file has {file.size}"
        )
    tensors.sort(key=lambda tensor: tensor.name)
    return TensorFile(path, "safetensors", tensors, metadata=metadata)


def _header(file: MappedFile) -> tuple[dict[str, Any], int]:
    """The header, and where the elements begin."""
    prefix = file.read(0, _LENGTH.size)
    if len(prefix) < _LENGTH.size:
        raise CheckpointError(f"{file.path}: {file.size} bytes are no safetensors file")
    (length,) = _LENGTH.unpack(prefix)
    if length > file.size - _LENGTH.size:
        raise CheckpointError(
            f"{file.path} is no safetensors file, or cut off: the header should have {length} "
            f"bytes, the file has {file.size}"
        )
    if length > MOST_HEADER_BYTES:
        raise CheckpointError(
            f"{file.path}: the header has {length} bytes, at most {MOST_HEADER_BYTES} are read"
        )
    try:
        text = file.read(_LENGTH.size, length).decode("utf-8")
        if not text.startswith("{"):
            raise ValueError("it does not begin with {")
        header = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_refused_constant
        )
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file.path}: the header is damaged: {error!s:.200}") from None
    return header, _LENGTH.size + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r:.80} is given twice")
    return result


def _refused_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _placed(path: str, name: str, entry: object) -> tuple[Tensor, int, int]:
    """A tensor whose elements have yet to be found, and where they begin and end."""
    what = f"{path}: tensor {name!r:.80}"
    if not isinstance(entry, dict) or not entry.keys() >= {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{what}: expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    element_type = BY_SAFETENSORS.get(dtype) if isinstance(dtype, str) else None
    if element_type is None:
        raise CheckpointError(
            f"{what}: the type {dtype!r:.40} is unknown; known are {', '.join(BY_SAFETENSORS)}"
        )
    if not isinstance(shape, list):
        raise CheckpointError(f"{what}: {shape!r:.40} is no shape")
    size = checked_size(shape, element_type.stored.itemsize, what)
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(offset) is int for offset in offsets)
    ):
        raise CheckpointError(f"{what}: {offsets!r:.40} are not two offsets")
    begin, end = offsets
    if begin < 0 or end - begin != size:
        raise CheckpointError(
            f"{what}: offsets {begin} to {end} do not hold the {size} bytes of {dtype} {shape}"
        )
    return Tensor(name, element_type, tuple(shape), _nothing), begin, end


def _nothing() -> Any:
    raise AssertionError("this tensor has not been placed yet")


def write(
    file: BinaryIO,
    tensors: Iterable[Tensor],
    metadata: Mapping[str, str],
    progress: Callable[[int], None],
) -> None:
    """Writes a safetensors file, piece by piece.

    Args:
        file: a new file.
        tensors: what to write; those with the widest elements are stored first, so that all lie
            at multiples of their size.
        metadata: text by name, stored in the header.
        progress: told the bytes of each piece that was written.

    Raises:
        CheckpointError: a tensor has a type or name that the format lacks.
    """
    ordered = sorted(tensors, key=lambda one: (-one.type.stored.itemsize, one.name))
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    end = 0
    for tensor in ordered:
        if tensor.type.safetensors is None or tensor.name == _METADATA:
            raise CheckpointError(
                f"variable {tensor.name!r:.80}: safetensors has no such "
                f"{'name' if tensor.name == _METADATA else f'type as {tensor.type.name}'}"
            )
        header[tensor.name] = {
            "dtype": tensor.type.safetensors,
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.size_in_bytes],
        }
        end += tensor.size_in_bytes
    try:
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise CheckpointError(f"safetensors stores names in UTF-8 alone: {error}") from None
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > MOST_HEADER_BYTES:
        raise CheckpointError(
            f"{len(ordered)} tensors need a header of {len(text)} bytes, and no more than "
            f"{MOST_HEADER_BYTES} are read again"
        )
    preallocate(file, _LENGTH.size + len(text) + end)
    file.write(_LENGTH.pack(len(text)) + text)
    for tensor in ordered:
        for piece in pieces(tensor.load(), tensor.type):
            file.write(piece.data)
            progress(piece.nbytes)
