"""The digits inside the package: what they are, where they come from, how they are batched."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from flowrs.data import digits, load_digits
from flowrs.data._files import read_npz
from flowrs.errors import ArgumentError, ArgumentTypeError, DataError

SHA256 = "b3b9c8cc11d765ce4264d8748bf3edbafa5038d91c93cf713ddbd6ae8652b410"
SCRIPT = Path(__file__).parents[1] / "tools" / "make_digits.py"


def make_digits_script():
    spec = importlib.util.spec_from_file_location("make_digits", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_file_is_small_and_known():
    content = digits._FILE.read_bytes()
    assert len(content) < 100_000
    assert hashlib.sha256(content).hexdigest() == SHA256


def test_the_attribution_lies_beside_the_file():
    text = digits._FILE.with_name("DIGITS.md").read_text()
    assert "CC BY 4.0" in text and "10.24432/C50P49" in text


def test_the_file_is_what_the_script_makes():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    script = make_digits_script()
    arrays = script.digits_arrays()
    # The arrays, not the bytes: another zlib compresses the same arrays otherwise.
    kept = read_npz(digits._FILE.read_bytes(), "digits.npz", ("images", "labels"))
    again = read_npz(script.npz_bytes(arrays), "made", ("images", "labels"))
    for name, before, after in zip(("images", "labels"), kept, again, strict=True):
        np.testing.assert_array_equal(before, arrays[name])
        np.testing.assert_array_equal(after, arrays[name])


def test_the_default_batches(capsys):
    (train_images, train_labels), (test_images, test_labels) = load_digits()
    assert train_images.shape == (15, 100, 1, 28, 28) and train_labels.shape == (15, 100)
    assert test_images.shape == (2, 100, 1, 28, 28) and test_labels.shape == (2, 100)
    assert train_images.dtype == test_images.dtype == np.float32
    assert train_labels.dtype == test_labels.dtype == np.int32
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "load_digits: 97 of the 297 test digits are left out, "
        "since batches of 100 are always full\n"
    )


def test_whole_batches_say_nothing(capsys):
    (train_images, _), (_, test_labels) = load_digits(1500, 99)
    assert len(train_images) == 1 and test_labels.shape == (3, 99)
    assert capsys.readouterr() == ("", "")


def test_the_other_data_format_moves_the_channel_axis():
    (channels_first, _), _ = load_digits(100, 99)
    (channels_last, _), _ = load_digits(100, 99, "NHWC")
    assert channels_last.shape == (15, 100, 28, 28, 1)
    np.testing.assert_array_equal(channels_last[..., 0], channels_first[:, :, 0])


def test_images_have_the_form_of_mnist():
    (images, labels), (test_images, test_labels) = load_digits(1500, 297)
    every = np.concatenate([images[0], test_images[0]])[:, 0]
    assert every.min() == 0.0 and every.max() == 1.0
    border = np.ones((28, 28), dtype=bool)
    border[4:24, 4:24] = False
    assert not every[:, border].any()
    assert every[:, ~border].any(axis=1).all()
    assert np.bincount(labels[0], minlength=10).min() > 130
    assert np.bincount(test_labels[0], minlength=10).min() > 20


def test_enlarging_is_bilinear_between_the_centres():
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) // 4
    new_centres = (np.arange(20) + 0.5) * 8 / 20 - 0.5
    rows = np.stack([np.interp(new_centres, np.arange(8), column) for column in pixels[0].T])
    expected = np.stack([np.interp(new_centres, np.arange(8), row) for row in rows.T])
    enlarged = digits._enlarged(pixels)[0, 4:24, 4:24]
    np.testing.assert_allclose(enlarged, expected / 16, rtol=0, atol=1e-7)


def test_the_bits_of_the_images_are_fixed():
    (images, labels), _ = load_digits(1500, 99)
    assert hashlib.sha256(images.astype("<f4").tobytes()).hexdigest() == (
        "bd49ef92f9d27bbe0ab3ab541cc49de3c20f76ba76caaec711912da5ebb37863"
    )
    assert labels[0, :10].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_must_be_positive(size):
    with pytest.raises(ArgumentError, match=f"test_batch_size must be at least 1, not {size}"):
        load_digits(100, size)


def test_a_batch_must_not_be_larger_than_the_set():
    with pytest.raises(ArgumentError, match="a batch of 298 is more than the 297 test digits"):
        load_digits(100, 298)


@pytest.mark.parametrize("size", [10.0, "10", None, True])
def test_a_batch_size_must_be_an_integer(size):
    with pytest.raises(ArgumentTypeError, match="train_batch_size must be an int"):
        load_digits(size)


def test_numpy_integers_are_batch_sizes():
    (images, _), _ = load_digits(np.int64(50), 99)
    assert images.shape[:2] == (30, 50)


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    damaged = tmp_path / "digits.npz"
    damaged.write_bytes(digits._FILE.read_bytes()[:20_000])
    monkeypatch.setattr(digits, "_FILE", damaged)
    with pytest.raises(DataError, match=r"digits\.npz"):
        load_digits()
    damaged.unlink()
    with pytest.raises(DataError, match="install flowrs again"):
        load_digits()
