"""What a job's plan says: steps, algorithms, fusions, and the memory they need."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from test_fusion import constant, mlp_job
from test_lenet import train_job_of

import flowrs as flow
import flowrs.typing as tp

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def resnet_job(monkeypatch):
    """The training step of examples/train_cifar10.py with a batch of 32."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("train_cifar10")
    return example.jobs("resnet18", batch_size=32, rate=0.001, steps=10)[0]


def arena_bytes(plan):
    """The bytes of the arena, and those that are alive at once, as the last line says."""
    last = plan.splitlines()[-1]
    found = re.fullmatch(r"\d+ steps, arena (\d+) bytes: ([\d.]+) x the (\d+) alive at once", last)
    arena, ratio, live = int(found[1]), float(found[2]), int(found[3])
    assert ratio == pytest.approx(arena / live, abs=1e-3)
    return arena, live


@pytest.mark.parametrize("model", ["mlp", "lenet", "lenet momentum", "resnet"])
def test_the_arena_is_little_larger_than_what_is_alive_at_once(model, monkeypatch):
    job = {
        "mlp": lambda: mlp_job(lambda: flow.optimizer.SGD(constant(0.1), momentum=0)),
        "lenet": lambda: train_job_of(0.0),
        "lenet momentum": lambda: train_job_of(0.9),
        "resnet": lambda: resnet_job(monkeypatch),
    }[model]()
    arena, live = arena_bytes(job.plan())
    assert 1 <= arena / live <= 1.15


def test_a_plan_names_the_steps_the_algorithms_and_the_fusions():
    text = train_job_of(0.0).plan()
    assert re.search(
        r"^MaxPool2D_1 +convolution\[.*\+bias, \+relu, \+max_pool .*\] by winograd8 ",
        text,
        re.M,
    )
    assert re.search(r"^MaxPool2D_0 +convolution\[.*\+max_pool .*\] by direct ", text, re.M)
    assert "relu into convolution: conv2-activation\n" in text


@pytest.mark.parametrize("follows", ["nothing", "relu", "convolution"])
def test_a_kernel_of_one_pixel_turns_images_only_beside_others_that_are(follows):
    @flow.global_function(type="predict")
    def job(images: tp.Numpy.Placeholder((16, 64, 8, 8))) -> tp.Numpy:
        x = flow.layers.conv2d(images, 32, 1, padding="VALID", name="one")
        if follows == "relu":
            x = flow.nn.relu(x)
        if follows == "convolution":
            x = flow.layers.conv2d(x, 32, 3, padding="SAME", name="three")
        return x

    plan = str(job.plan())
    line = next(line for line in plan.splitlines() if " convolution[" in line)
    assert ("channels last" in line) == (follows == "convolution"), plan
    assert ("transpose" in plan) == (follows == "convolution"), plan
    assert ("im2col" in line) == (follows != "convolution"), plan


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("follows", ["nothing", "relu", "reshape", "convolution"])
def test_a_convolution_by_itself_writes_the_order_that_is_read(follows, size):
    @flow.global_function(type="predict")
    def job(images: tp.Numpy.Placeholder((16, 8, 12, 12))) -> tp.Numpy:
        x = flow.layers.conv2d(images, 16, size, padding="SAME", name="one")
        if follows == "relu":
            x = flow.nn.relu(x)
        if follows == "reshape":
            x = flow.reshape(x, (16, -1))
        if follows == "convolution":
            x = flow.layers.conv2d(x, 32, 3, padding="SAME", name="two")
        return x

    plan = str(job.plan())
    assert ("channels last" in plan) == (follows == "convolution"), plan
    assert ("transpose" in plan) == (follows == "convolution"), plan


def test_a_plan_is_that_of_the_settings_and_of_the_declared_shapes():
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((None, 16, 32, 32))) -> tp.Numpy:
        return flow.layers.conv2d(x, 16, 3, padding="SAME", name="conv")

    assert " by winograd6 (input0:float32x16384" in job.plan()
    flow.config.convolution_algorithm("direct")
    assert " by direct (input0:float32x16384" in job.plan()
    job(np.zeros((2, 16, 32, 32), np.float32))
    assert " by direct (input0:float32x16384" in job.plan()
