"""Images, first weights and golden losses, read without any of the libraries that are compared."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.case import Golden

Array = npt.NDArray[Any]

_VARIABLES = {"DATA": "FLOWRS_DATA_DIR", "GOLDEN": "FLOWRS_GOLDEN_DIR"}


class MissingData(RuntimeError):
    """Files that the benches need are not there."""


def _folder(which: str, holds: str) -> Path:
    variable = _VARIABLES[which]
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        raise MissingData(f"set {variable} to the folder with {holds}; it is {value or 'not set'}")
    return Path(value)


def check_folders() -> None:
    """Says what is missing before any engine starts.

    Raises:
        MissingData: a folder is not set, or not there.
    """
    _folder("DATA", "the MNIST files")
    _folder("GOLDEN", "traces.json and the first weights")


def training_batches(batch: int) -> tuple[Array, Array]:
    """The MNIST training set in file order.

    Returns:
        Images of shape (batches, batch, 1, 28, 28), float32 in [0, 1], and labels of shape
        (batches, batch), int32. Samples beyond the last whole batch are left out.
    """
    folder = _folder("DATA", "the MNIST files")
    pixels = _idx(folder, "train-images", 16)
    labels = _idx(folder, "train-labels", 8)
    batches = len(labels) // batch
    images = pixels[: batches * batch * 784].astype(np.float32) / np.float32(255)
    return (
        images.reshape(batches, batch, 1, 28, 28),
        labels[: batches * batch].astype(np.int32).reshape(batches, batch),
    )


def _idx(folder: Path, name: str, header: int) -> Array:
    paths = sorted(folder.glob(f"{name}*ubyte*"))
    if not paths:
        raise MissingData(f"{folder} has no {name}*ubyte or {name}*ubyte.gz")
    content = paths[0].read_bytes()
    if paths[0].suffix == ".gz":
        content = gzip.decompress(content)
    return np.frombuffer(content, np.uint8, offset=header)


def first_weights(golden: Golden, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """The golden first weights of these names and shapes."""
    folder = _folder("GOLDEN", "the first weights") / golden.weights
    return {
        name: np.fromfile(folder / name / "out", "<f4").reshape(shape)
        for name, shape in shapes.items()
    }


def golden_losses(golden: Golden) -> list[float]:
    """The loss of each step of the case's golden trace."""
    path = _folder("GOLDEN", "traces.json") / "traces.json"
    for trace in json.loads(path.read_text()):
        if trace["name"] == golden.trace:
            return [float(loss) for loss in trace["losses"]]
    raise MissingData(f"{path} has no trace {golden.trace!r}")
