"""Checkpoint directories as tensors."""

from __future__ import annotations

import os
import re
from functools import partial

import numpy as np

from flowrs import checkpoint
from flowrs._leftovers import MARKER
from flowrs.checkpoint import FileBackendVariableBlob
from flowrs.errors import CheckpointError, CheckpointIOError
from flowrs.formats.tensors import BY_KIND, UNKNOWN, Array, Tensor, TensorFile


def read(path: str) -> TensorFile:
    """Opens a checkpoint, or one variable of one.

    Args:
        path: the directory.

    Returns:
        What it holds; a variable without ``meta`` has the type ``UNKNOWN`` and the shape of its
        bytes.

    Raises:
        CheckpointError: it is no checkpoint, or damaged.
    """
    try:
        opened = checkpoint.get(path)
    except CheckpointError as error:
        inside = checkpoints_in(path)
        if not inside:
            raise
        raise CheckpointError(
            f"{path} is no checkpoint but a folder of {len(inside)}; choose one, such as "
            f"{os.path.join(path, inside[-1])}"
        ) from error
    if isinstance(opened, FileBackendVariableBlob):
        return TensorFile(path, "variable", [_tensor(opened)])
    left_out = list(opened.ignored)
    try:
        metadata = opened.metadata
    except CheckpointError:
        metadata = {}
        left_out.append(os.path.join(path, "flowrs.json"))
    return TensorFile(path, "checkpoint", [*map(_tensor, opened.values())], left_out, metadata)


def checkpoints_in(folder: str) -> list[str]:
    """The names of the finished checkpoints in a folder that is none itself.

    Args:
        folder: the folder.

    Returns:
        Their names in the natural order, in which step_9 comes before step_10.
    """
    try:
        if not os.path.isdir(folder) or _is_one(folder):
            return []
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        raise CheckpointIOError(f"cannot list {folder}: {error.strerror}") from error
    return sorted(
        (name for name in names if os.path.isfile(os.path.join(folder, name, MARKER))), key=_natural
    )


def _is_one(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in (MARKER, "out"))


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _tensor(blob: FileBackendVariableBlob) -> Tensor:
    if blob.shape is None or blob.kind not in BY_KIND:
        shape = (blob.size_in_bytes,)
        load = partial(blob.values, shape, UNKNOWN.stored)
        return Tensor(blob.name, UNKNOWN, shape, load, blob)
    element_type = BY_KIND[blob.kind]
    load = partial(_mapped, blob, element_type.stored)
    return Tensor(blob.name, element_type, blob.shape, load, blob)


def _mapped(blob: FileBackendVariableBlob, stored: np.dtype[np.generic]) -> Array:
    """Mapped also where reading is quicker, since that would need memory for all of it."""
    return blob.memmap().view(np.ndarray).view(stored)
