"""The CIFAR-10 examples build, train and predict, and read the published file formats."""

from __future__ import annotations

import importlib
import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import flowrs as flow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

#: Trainable parameters: counted by hand from the layers' shapes.
PARAMETERS = {"alexnet": 23_272_266, "vgg11": 9_225_610, "resnet18": 11_173_962}


@pytest.fixture(autouse=True)
def examples_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in ("train_cifar10", "cifar10_models", "cifar10_data"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("model", PARAMETERS)
def test_a_model_trains_predicts_and_has_its_number_of_parameters(model):
    example = importlib.import_module("train_cifar10")
    flow.config.random_seed(1)
    train_job, predict_job = example.jobs(model, batch_size=4, rate=0.001, steps=10)
    random = np.random.default_rng(0)
    images = random.standard_normal((4, 3, 32, 32)).astype(np.float32)
    labels = random.integers(0, 10, 4).astype(np.int32)

    before = {name: v.numpy() for name, v in flow.get_all_variables().items()}
    losses = [train_job(images, labels) for _ in range(2)]
    assert all(loss.shape == (4,) and np.isfinite(loss).all() for loss in losses)
    predicted = predict_job(images)
    assert predicted.dtype == np.int32
    assert ((predicted >= 0) & (predicted < 10)).all()

    variables = flow.get_all_variables()
    trained = [v for v in variables.values() if v.trainable]
    assert sum(math.prod(v.shape) for v in trained) == PARAMETERS[model]
    unchanged = [v.name for v in trained if np.array_equal(v.numpy(), before[v.name])]
    assert unchanged == []


def write_batches(folder, write):
    random = np.random.default_rng(2)
    expected = []
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        pixels = random.integers(0, 256, (3, 3072)).astype(np.uint8)
        labels = random.integers(0, 10, 3).astype(np.uint8)
        write(folder, name, pixels, labels)
        expected.append((pixels, labels))
    return expected


def write_binary(folder, name, pixels, labels):
    records = np.concatenate([labels[:, None], pixels], axis=1)
    (folder / f"{name}.bin").write_bytes(records.tobytes())


def write_python(folder, name, pixels, labels):
    batch = {b"data": pixels, b"labels": [int(label) for label in labels]}
    (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


@pytest.mark.parametrize("write", [write_binary, write_python])
def test_both_published_formats_are_read(tmp_path, write):
    data = importlib.import_module("cifar10_data")
    expected = write_batches(tmp_path, write)
    (images, labels), (test_images, test_labels) = data.load(tmp_path)
    assert images.shape == (15, 3, 32, 32)
    assert images.dtype == np.float32
    assert labels.tolist() == np.concatenate([part[1] for part in expected[:5]]).tolist()
    pixels = expected[5][0].reshape(3, 3, 32, 32)
    np.testing.assert_allclose(
        test_images * data.DEVIATION + data.MEAN, pixels / 255.0, rtol=0, atol=1e-6
    )
    assert test_labels.tolist() == expected[5][1].tolist()


def test_a_pickle_that_is_no_array_file_is_refused(tmp_path):
    data = importlib.import_module("cifar10_data")
    write_batches(tmp_path, write_python)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(pickle.UnpicklingError, match="no place"):
        data.load(tmp_path)
