"""The second opinion: PyTorch computes the same, where it is installed.

A network of ten operations is trained by both, and the rows of the op table that PyTorch has a
function for are compared forward and backward.
"""

from __future__ import annotations

import numpy as np
import pytest
from op_jobs import ForwardJob, GradientJob

import flowrs as flow
import flowrs.typing as tp

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no second opinion")

from torch_twins import TWINS  # noqa: E402 - it needs PyTorch

STEPS = 50
BATCH = 16

#: Allowed relative differences of the losses: of the first ten steps, and of all.
TOLERANCES = {"float32": (2e-5, 1e-2), "float64": (1e-9, 1e-7)}


# --- A network of ten operations, trained for fifty steps --------------------------------------


def first_weights(dtype):
    rng = np.random.default_rng(5)

    def normal(*shape, scale):
        return (rng.standard_normal(shape) * scale).astype(dtype)

    return {
        "conv1-weight": normal(8, 3, 3, 3, scale=0.3),
        "bn1-gamma": np.ones(8, dtype),
        "bn1-beta": np.zeros(8, dtype),
        "conv2-weight": normal(16, 8, 3, 3, scale=0.2),
        "conv2-bias": np.zeros(16, dtype),
        "dense1-weight": normal(32, 144, scale=0.1),
        "dense1-bias": np.zeros(32, dtype),
        "dense2-weight": normal(10, 32, scale=0.2),
        "dense2-bias": np.zeros(10, dtype),
    }


def batches(dtype):
    rng = np.random.default_rng(6)
    images = rng.standard_normal((STEPS, BATCH, 3, 12, 12)).astype(dtype)
    return images, rng.integers(10, size=(STEPS, BATCH), dtype=np.int32)


def losses_of_flowrs(dtype, optimizer, weights, images, labels):
    @flow.global_function(type="train")
    def job(
        x: tp.Numpy.Placeholder(images.shape[1:], getattr(flow, dtype)),
        y: tp.Numpy.Placeholder((BATCH,), flow.int32),
    ) -> tp.Numpy:
        x = flow.layers.conv2d(x, 8, 3, padding="SAME", use_bias=False, name="conv1")
        x = flow.layers.batch_normalization(x, axis=1, epsilon=1e-5, name="bn1")
        x = flow.nn.max_pool2d(flow.nn.relu(x), 2, 2, "VALID")
        x = flow.layers.conv2d(x, 16, 3, padding="SAME", activation=flow.nn.relu, name="conv2")
        x = flow.flatten(flow.nn.avg_pool2d(x, 2, 2, "VALID"), 1)
        x = flow.layers.dense(x, 32, activation=flow.math.tanh, name="dense1")
        logits = flow.layers.dense(x, 10, name="dense2")
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        optimizer().minimize(loss)
        return loss

    flow.load_variables(weights)
    return [job(x, y).mean() for x, y in zip(images, labels, strict=True)]


def losses_of_torch(optimizer, weights, images, labels):
    import torch.nn.functional as F

    parameters = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
    update = optimizer(parameters.values())

    def network(x):
        w = parameters
        x = F.conv2d(x, w["conv1-weight"], padding=1)
        x = F.batch_norm(x, None, None, w["bn1-gamma"], w["bn1-beta"], training=True, eps=1e-5)
        x = F.max_pool2d(F.relu(x), 2)
        x = F.relu(F.conv2d(x, w["conv2-weight"], w["conv2-bias"], padding=1))
        x = F.avg_pool2d(x, 2).flatten(1)
        x = torch.tanh(F.linear(x, w["dense1-weight"], w["dense1-bias"]))
        return F.linear(x, w["dense2-weight"], w["dense2-bias"])

    losses = []
    for x, y in zip(images, labels, strict=True):
        update.zero_grad()
        loss = F.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y).long())
        loss.backward()
        update.step()
        losses.append(loss.item())
    return losses


# Rates are exact in float32, in which flowrs keeps them. Adam's epsilon is nearly 0, since PyTorch
# adds it to the corrected root of the second moment and OneFlow to the plain one.


def sgd():
    rate = flow.optimizer.PiecewiseConstantScheduler([], [2**-5])
    return flow.optimizer.SGD(rate, momentum=0.9)


def adam():
    rate = flow.optimizer.PiecewiseConstantScheduler([], [2**-9])
    return flow.optimizer.Adam(rate, epsilon=1e-16, do_bias_correction=True)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_training_follows_that_of_pytorch(dtype, optimizer):
    theirs = {
        sgd: lambda parameters: torch.optim.SGD(parameters, lr=2**-5, momentum=0.9),
        adam: lambda parameters: torch.optim.Adam(parameters, lr=2**-9, eps=1e-16),
    }[optimizer]
    weights, (images, labels) = first_weights(dtype), batches(dtype)
    found = np.array(losses_of_flowrs(dtype, optimizer, weights, images, labels))
    expected = np.array(losses_of_torch(theirs, weights, images, labels))
    errors = np.abs(found / expected - 1)
    first, all_steps = TOLERANCES[dtype]
    assert errors[:10].max() <= first
    assert errors.max() <= all_steps


# --- Operations, forward and backward ----------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "theirs"), [pytest.param(*twin, id=twin[0].name) for twin in TWINS]
)
def test_operation_is_that_of_pytorch(row, theirs):
    arrays = row.arrays("float64")
    found = ForwardJob(row, arrays)()
    tensors = [torch.from_numpy(a.astype(a.dtype.newbyteorder("="))) for a in arrays]
    for i in row.differentiable:
        tensors[i].requires_grad_()
    expected = theirs(*tensors)
    compare(found, expected.detach().numpy().reshape(found.shape))
    if not row.differentiable or not expected.requires_grad:
        return
    weights = np.random.default_rng(1).normal(size=found.shape)
    (expected.reshape(found.shape) * torch.from_numpy(weights)).sum().backward()
    gradients = GradientJob(row, arrays, weights).gradients()
    for i, gradient in zip(row.differentiable, gradients, strict=True):
        compare(gradient, tensors[i].grad.numpy())


def compare(found, expected):
    """Both are in float64, and add up in different orders."""
    assert found.shape == expected.shape
    scale = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * scale)
