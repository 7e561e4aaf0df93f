"""Finds, fetches and reads the MNIST handwritten digits."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from flowrs.data._batches import Batches, batch, check_batch_size, check_divides
from flowrs.data._download import download
from flowrs.data._files import Pixels, read_idx, read_npz
from flowrs.errors import DataError, DownloadError

_NPZ = "mnist.npz"
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# The same four files are in circulation with a hyphen or a dot before "idx".
_IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_IDX_RANKS = (3, 1, 3, 1)

Arrays: TypeAlias = tuple[Pixels, Pixels, Pixels, Pixels]


@dataclass(frozen=True)
class _Place:
    """A folder where MNIST may lie, and why it is looked at."""

    folder: Path | None
    reason: str


def load_mnist(
    train_batch_size: int = 100,
    test_batch_size: int = 100,
    data_format: str = "NCHW",
    url: str = "https://oneflow-public.oss-cn-beijing.aliyuncs.com/datasets/mnist.npz",
    hash_check: str = "63d4344077849053dc3036b247fa012b2b381de53fd055a66b539dffd76cf08e",
    out_dir: str | os.PathLike[str] = ".",
) -> Batches:
    """Loads MNIST, cut into batches in the order of its files: nothing is shuffled.

    The files are looked for in ``out_dir``, then in the folder that the environment variable
    ``FLOWRS_DATA_DIR`` names, then in the folder ``flowrs/mnist`` of the user's cache. Each of
    them may hold ``mnist.npz``, or the four idx files of the original set (plain or ``.gz``,
    of any length). Where none of them does, ``mnist.npz`` is downloaded into ``out_dir``.

    Args:
        train_batch_size: B for training; it must divide the number of samples (60,000).
        test_batch_size: B for testing; it must divide the number of samples (10,000).
        data_format: "NCHW" for images of (1, 28, 28), anything else for (28, 28, 1).
        url: where ``mnist.npz`` is downloaded from.
        hash_check: the sha256 that ``mnist.npz`` must have; idx files are not compared to it.
        out_dir: the folder that is searched first and downloaded into.

    Returns:
        ``((train_images, train_labels), (test_images, test_labels))``. Images are float32 in
        [0, 1], shape (batches, B, 1, 28, 28); labels are int32, shape (batches, B).

    Raises:
        ArgumentError: a batch size does not divide the number of samples.
        ArgumentTypeError: a batch size is no integer.
        DataError: a file is damaged or is not MNIST.
        DownloadError: MNIST is nowhere on this computer and could not be downloaded.

    Example:
        >>> import os
        >>> import flowrs as flow
        >>> if "FLOWRS_DATA_DIR" in os.environ:
        ...     (train_images, train_labels), _ = flow.data.load_mnist(100, 100)
        ...     for images, labels in zip(train_images, train_labels):
        ...         assert images.shape == (100, 1, 28, 28) and labels.shape == (100,)
    """
    train_batch_size = check_batch_size("train_batch_size", train_batch_size)
    test_batch_size = check_batch_size("test_batch_size", test_batch_size)
    places = [_Place(Path(out_dir), "out_dir"), *_shared_places()]
    arrays = _load_local(places, hash_check)
    if arrays is None:
        arrays = _load_remote(url, hash_check, Path(out_dir), places)
    x_train, y_train, x_test, y_test = arrays
    check_divides("train_batch_size", train_batch_size, len(x_train), "training")
    check_divides("test_batch_size", test_batch_size, len(x_test), "test")
    return (
        batch(_scaled(x_train), y_train, train_batch_size, data_format),
        batch(_scaled(x_test), y_test, test_batch_size, data_format),
    )


def mnist_is_local(out_dir: str | os.PathLike[str] = ".") -> bool:
    """Tells whether :func:`load_mnist` would find the files without a download.

    Args:
        out_dir: as for :func:`load_mnist`.

    Returns:
        True when one of the places holds ``mnist.npz`` or all four idx files.
    """
    places = [_Place(Path(out_dir), "out_dir"), *_shared_places()]
    return any(_has_mnist(place.folder) for place in places if place.folder is not None)


def user_cache_folder() -> Path:
    """The folder in which this user's programs keep files that they can fetch again.

    Returns:
        ``XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on macOS; ``%LOCALAPPDATA%``
        on Windows.
    """
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return chosen if chosen.is_absolute() else home / ".cache"


def _shared_places() -> list[_Place]:
    chosen = os.environ.get("FLOWRS_DATA_DIR")
    cache = user_cache_folder() / "flowrs" / "mnist"
    return [
        _Place(Path(chosen) if chosen else None, "FLOWRS_DATA_DIR"),
        _Place(cache, "the user's cache"),
    ]


def _load_local(places: Iterable[_Place], hash_check: str) -> Arrays | None:
    for place in places:
        if place.folder is None:
            continue
        if (place.folder / _NPZ).is_file():
            return _read_npz(place.folder / _NPZ, hash_check)
        paths = _idx_paths(place.folder)
        if None not in paths:
            return _read_idx_files([path for path in paths if path is not None])
    return None


def _load_remote(url: str, hash_check: str, out_dir: Path, places: list[_Place]) -> Arrays:
    try:
        download(url, out_dir / _NPZ, hash_check)
    except DownloadError as error:
        raise DownloadError(f"{error}\n{_what_would_do(places, hash_check)}") from error
    return _read_npz(out_dir / _NPZ, hash_check)


def _has_mnist(folder: Path) -> bool:
    return (folder / _NPZ).is_file() or None not in _idx_paths(folder)


def _idx_paths(folder: Path) -> list[Path | None]:
    """The four idx files of a folder, None for each that is not there."""
    found: list[Path | None] = []
    for name in _IDX_NAMES:
        spellings = (name, name.replace("-idx", ".idx"))
        candidates = [folder / f"{spelling}{end}" for end in ("", ".gz") for spelling in spellings]
        found.append(next((path for path in candidates if path.is_file()), None))
    return found


def _read_npz(path: Path, hash_check: str) -> Arrays:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != hash_check:
        raise DataError(
            f"sha256 verification of {path} failed: expected {hash_check}, found {found}; remove "
            "the file and try again, or give its own sha256 as hash_check if you trust it"
        )
    x_train, y_train, x_test, y_test = read_npz(content, path, _ARRAYS)
    _check_pair(x_train, y_train, f"x_train and y_train of {path}")
    _check_pair(x_test, y_test, f"x_test and y_test of {path}")
    return x_train, y_train, x_test, y_test


def _read_idx_files(paths: list[Path]) -> Arrays:
    arrays = [read_idx(path, rank) for path, rank in zip(paths, _IDX_RANKS, strict=True)]
    x_train, y_train, x_test, y_test = arrays
    _check_pair(x_train, y_train, f"{paths[0]} and {paths[1].name}")
    _check_pair(x_test, y_test, f"{paths[2]} and {paths[3].name}")
    return x_train, y_train, x_test, y_test


def _check_pair(images: Pixels, labels: Pixels, what: str) -> None:
    if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.ndim != 1:
        raise DataError(
            f"{what} have the shapes {images.shape} and {labels.shape}, "
            "expected (N, 28, 28) and (N,)"
        )
    if len(images) != len(labels):
        raise DataError(f"{what} disagree: {len(images)} images and {len(labels)} labels")


def _scaled(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return pixels.astype(np.float32) / np.float32(255)


def _what_would_do(places: list[_Place], hash_check: str) -> str:
    lines = ["MNIST was looked for in:"]
    for place in places:
        if place.folder is None:
            lines.append(f"  {place.reason}: not set")
        else:
            lines.append(f"  {place.folder.absolute()} ({place.reason}): {_found_in(place.folder)}")
    lines.append("one of these, put into one of those folders, would do:")
    lines.append(f"  {_NPZ} with the sha256 {hash_check}")
    lines.append(f"  the files {', '.join(_IDX_NAMES)} (plain or .gz)")
    return "\n".join(lines)


def _found_in(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder"
    missing = [n for n, path in zip(_IDX_NAMES, _idx_paths(folder), strict=True) if path is None]
    if len(missing) == len(_IDX_NAMES):
        return "no MNIST files"
    return f"incomplete, without {', '.join(missing)}"
