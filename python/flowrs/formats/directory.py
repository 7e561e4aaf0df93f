"""Checkpoint directories as tensors."""

from __future__ import annotations

import os
from functools import partial

import numpy as np

from flowrs import checkpoint
from flowrs.checkpoint import FileBackendVariableBlob
from flowrs.errors import CheckpointError
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
    opened = checkpoint.get(path)
    if isinstance(opened, FileBackendVariableBlob):
        return TensorFile(path, "variable", [_tensor(opened)])
    left_out = list(opened.ignored)
    try:
        metadata = opened.metadata
    except CheckpointError:
        metadata = {}
        left_out.append(os.path.join(path, "flowrs.json"))
    return TensorFile(path, "checkpoint", [*map(_tensor, opened.values())], left_out, metadata)


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
