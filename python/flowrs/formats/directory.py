"""Checkpoint directories as tensors."""

from __future__ import annotations

from functools import partial

import numpy as np

from flowrs import checkpoint
from flowrs.checkpoint import FileBackendVariableBlob
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
    single = isinstance(opened, FileBackendVariableBlob)
    blobs = [opened] if isinstance(opened, FileBackendVariableBlob) else list(opened.values())
    tensors = [_tensor(blob) for blob in sorted(blobs, key=lambda blob: blob.name)]
    return TensorFile(path, "variable" if single else "checkpoint", tensors)


def _tensor(blob: FileBackendVariableBlob) -> Tensor:
    if blob.shape is None or blob.kind not in BY_KIND:
        shape = (blob.size_in_bytes,)
        return Tensor(blob.name, UNKNOWN, shape, partial(_bytes, blob.file_path, shape))
    element_type = BY_KIND[blob.kind]
    return Tensor(blob.name, element_type, blob.shape, partial(_load, blob, element_type.stored))


def _load(blob: FileBackendVariableBlob, stored: np.dtype[np.generic]) -> Array:
    return blob.memmap().view(np.ndarray).view(stored)


def _bytes(file_path: str, shape: tuple[int, ...]) -> Array:
    return np.memmap(file_path, np.uint8, "r", shape=shape) if shape[0] else np.empty(0, np.uint8)
