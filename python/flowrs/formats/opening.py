"""Opens a file of tensors by what is in it, whatever it is called."""

from __future__ import annotations

import os

from flowrs.errors import CheckpointError
from flowrs.formats import directory, npz, safetensors, torch_zip
from flowrs.formats.archive import Archive
from flowrs.formats.tensors import MappedFile, TensorFile

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_GGUF = b"GGUF"
_OLD_PICKLE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"


def open_tensors(path: str | os.PathLike[str]) -> TensorFile:
    """Opens a checkpoint directory, or a file of safetensors, npz or ``torch.save``.

    Only names, types, shapes and sizes are read.

    Args:
        path: the directory or file.

    Returns:
        What it holds.

    Raises:
        CheckpointNotFoundError: there is nothing at the path.
        CheckpointError: it is damaged, or of no format that is known.

    Example:
        >>> import numpy as np
        >>> from flowrs.formats import open_tensors
        >>> np.savez("weights.npz", w=np.zeros((2, 3), np.float32))
        >>> file = open_tensors("weights.npz")
        >>> file.format, file.tensors[0].name, file.tensors[0].shape
        ('npz', 'w', (2, 3))
    """
    text = os.fspath(path)
    if os.path.isdir(text):
        return directory.read(text)
    start = MappedFile(text).read(0, 16)
    if start.startswith(_ZIP):
        archive = Archive(text)
        return torch_zip.read(archive) if torch_zip.is_torch(archive) else npz.read(archive)
    if start.startswith(_OLD_PICKLE):
        raise CheckpointError(
            f"{text} is of torch.save before PyTorch 1.6; load it with PyTorch and save it again"
        )
    if start.startswith((_HDF5, _GGUF)):
        kind = "HDF5" if start.startswith(_HDF5) else "GGUF"
        raise CheckpointError(
            f"{text} is a {kind} file, which is not read; convert it to safetensors or npz first"
        )
    return safetensors.read(text)
