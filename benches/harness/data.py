"""Images, first weights and golden losses, without any of the libraries that are compared."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.case import Case, Golden

Array = npt.NDArray[Any]

#: How many batches are drawn where there is no data set.
DRAWN_BATCHES = 8

#: Samples of the training set that each variant of a case goes through; others go through all.
VARIANT_SAMPLES = 8192

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


def batches(case: Case) -> tuple[Array, Array]:
    """The batches of a case: of MNIST where it starts from golden weights, else drawn ones.

    Returns:
        Images of shape (batches, batch, *sample) and labels of shape (batches, batch), int32.
    """
    if case.golden is not None and case.golden.weights:
        images, labels = training_batches(case.batch, VARIANT_SAMPLES if case.variant else None)
        return images.astype(case.dtype, copy=False), labels
    rng = np.random.default_rng(2)
    images = rng.standard_normal((DRAWN_BATCHES, case.batch, *case.sample), dtype=np.float32)
    labels = rng.integers(case.classes, size=(DRAWN_BATCHES, case.batch), dtype=np.int32)
    return images.astype(case.dtype, copy=False), labels


def training_batches(batch: int, samples: int | None = None) -> tuple[Array, Array]:
    """The MNIST training set in file order, or that many samples of it.

    Returns:
        Images of shape (batches, batch, 1, 28, 28), float32 in [0, 1], and labels of shape
        (batches, batch), int32. Samples beyond the last whole batch are left out.
    """
    folder = _folder("DATA", "the MNIST files")
    pixels = _idx(folder, "train-images", 16)
    labels = _idx(folder, "train-labels", 8)[:samples]
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


def first_weights(case: Case) -> dict[str, Array]:
    """The first weights of a case, by name: the golden ones, or drawn ones."""
    if case.golden is None or not case.golden.weights:
        return _drawn_weights(case)
    folder = _folder("GOLDEN", "the first weights") / case.golden.weights
    return {
        name: np.fromfile(folder / name / "out", "<f4").reshape(shape).astype(case.dtype)
        for name, shape in case.weights.items()
    }


def _drawn_weights(case: Case) -> dict[str, Array]:
    """Normal weights that keep the size of what flows; biases of 0 and scales of 1."""
    rng = np.random.default_rng(3)
    weights = {}
    for name, shape in case.weights.items():
        if name.endswith("-weight"):
            scale = np.float32(math.sqrt(2 / math.prod(shape[1:])))
            array = rng.standard_normal(shape, dtype=np.float32) * scale
        else:
            array = np.full(shape, name.endswith("-gamma"), np.float32)
        weights[name] = array.astype(case.dtype)
    return weights


def cross_entropy(logits: Array, labels: Array) -> float:
    """The mean softmax cross-entropy, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    right = shifted[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - right))


def golden_losses(golden: Golden) -> list[float]:
    """The loss of each step: of the golden trace, or as the case's file has them."""
    if not golden.trace:
        return list(golden.losses)
    path = _folder("GOLDEN", "traces.json") / "traces.json"
    for trace in json.loads(path.read_text()):
        if trace["name"] == golden.trace:
            return [float(loss) for loss in trace["losses"]]
    raise MissingData(f"{path} has no trace {golden.trace!r}")
