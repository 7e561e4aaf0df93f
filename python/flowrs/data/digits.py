"""The handwritten digits that come with the package."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowrs.data._batches import Batches, Images, Labels, batch, check_batch_size
from flowrs.data._files import Pixels, read_npz
from flowrs.errors import ArgumentError, DataError

_FILE = Path(__file__).with_name("digits.npz")
_TRAIN_COUNT = 1500
_DRAWN = 20
_BORDER = 4


def load_digits(
    train_batch_size: int = 100,
    test_batch_size: int = 100,
    data_format: str = "NCHW",
) -> Batches:
    """Loads the 1,797 digits of the package, in the form of :func:`load_mnist`.

    They are real handwriting, from the UCI set "Optical Recognition of Handwritten Digits"
    (CC BY 4.0, see ``DIGITS.md`` beside this module), in the order of that set: the first
    1,500 are for training and the last 297, from other writers, for testing. A batch is always
    full: what is left over after the last full batch is left out, and a line on standard error
    says how many. 99 uses all of the test digits.

    The original images are 8 x 8 with values from 0 to 16. They are brought to 20 x 20 by
    bilinear interpolation between the centres of the pixels (beyond the outermost centres their
    values go on) and set into the middle of 28 x 28, as MNIST does; 16 becomes 1.0.

    Args:
        train_batch_size: B for training, at most 1,500.
        test_batch_size: B for testing, at most 297.
        data_format: "NCHW" for images of (1, 28, 28), anything else for (28, 28, 1).

    Returns:
        ``((train_images, train_labels), (test_images, test_labels))``. Images are float32 in
        [0, 1], shape (batches, B, 1, 28, 28); labels are int32, shape (batches, B).

    Raises:
        ArgumentError: a batch size is less than 1, or there are not as many digits.
        ArgumentTypeError: a batch size is no integer.
        DataError: the package's file is damaged.

    Example:
        >>> import flowrs as flow
        >>> (train_images, train_labels), (test_images, _) = flow.data.load_digits(100, 99)
        >>> train_images.shape, train_labels.shape, test_images.shape
        ((15, 100, 1, 28, 28), (15, 100), (3, 99, 1, 28, 28))
    """
    train_batch_size = check_batch_size("train_batch_size", train_batch_size)
    test_batch_size = check_batch_size("test_batch_size", test_batch_size)
    pixels, labels = _read()
    images = _enlarged(pixels)
    return (
        _full_batches(
            images[:_TRAIN_COUNT],
            labels[:_TRAIN_COUNT],
            train_batch_size,
            data_format,
            "training",
        ),
        _full_batches(
            images[_TRAIN_COUNT:], labels[_TRAIN_COUNT:], test_batch_size, data_format, "test"
        ),
    )


def _read() -> tuple[Pixels, Pixels]:
    try:
        content = _FILE.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {_FILE}: {error}; install flowrs again") from error
    images, labels = read_npz(content, _FILE, ("images", "labels"))
    if images.shape != (1797, 8, 8) or labels.shape != (1797,):
        raise DataError(
            f"{_FILE} holds {images.shape} images and {labels.shape} labels, "
            "expected (1797, 8, 8) and (1797,); install flowrs again"
        )
    return images, labels


def _full_batches(
    images: Images, labels: npt.NDArray[np.generic], batch_size: int, data_format: str, what: str
) -> tuple[Images, Labels]:
    count = len(images)
    used = count - count % batch_size
    if used == 0:
        raise ArgumentError(f"a batch of {batch_size} is more than the {count} {what} digits")
    if used < count:
        print(
            f"load_digits: {count - used} of the {count} {what} digits are left out, "
            f"since batches of {batch_size} are always full",
            file=sys.stderr,
        )
    return batch(images[:used], labels[:used], batch_size, data_format)


def _enlarged(pixels: Pixels) -> Images:
    # All in whole numbers, divided once at the end: the same bits on every machine.
    weights = _interpolation_weights(pixels.shape[-1])
    sums = weights @ pixels.astype(np.int64) @ weights.T
    images = np.zeros((len(pixels), _DRAWN + 2 * _BORDER, _DRAWN + 2 * _BORDER), dtype=np.float32)
    inside = slice(_BORDER, _BORDER + _DRAWN)
    images[:, inside, inside] = sums.astype(np.float32) / np.float32(16 * 10 * 10)
    return images


def _interpolation_weights(size: int) -> npt.NDArray[np.int64]:
    """Tenths of each of `size` old pixels in each of the 20 new ones, shape (20, size)."""
    weights = np.zeros((_DRAWN, size), dtype=np.int64)
    for new in range(_DRAWN):
        # The centre (new + 0.5) * 8 / 20 - 0.5 of the new pixel, in tenths of an old one.
        centre = min(max(4 * new - 3, 0), 10 * (size - 1))
        old = min(centre // 10, size - 2)
        weights[new, old] = 10 * (old + 1) - centre
        weights[new, old + 1] = centre - 10 * old
    return weights
