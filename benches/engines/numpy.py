"""NumPy: forward, gradient and update written out, with its BLAS for the products."""

from __future__ import annotations

import numpy as np
from harness.operation import Operation

from . import Action, Array, Step, Task


def setup_operation(operation: Operation, threads: int) -> Action:
    """A plain copy, which other operations are compared with; it uses one thread."""
    if operation.kind != "copy":
        raise NotImplementedError("only the copy is of interest here")
    source = operation.arrays()["x"]
    target = np.empty_like(source)

    def copy() -> Array:
        np.copyto(target, source)
        return target

    return Action(copy, copy)


def setup(task: Task) -> Step:
    """Copies the weights and makes room for the layers' values, so that a step allocates little."""
    case = task.case
    if case.kind != "train" or any(layer.kind != "dense" for layer in case.layers):
        raise NotImplementedError("only training of dense layers is written out")
    layers, rate, batch = case.layers, np.float32(case.rate), case.batch
    weights = [task.weights[f"{layer.name}-weight"].copy() for layer in layers]
    biases = [task.weights[f"{layer.name}-bias"].copy() for layer in layers]
    values = [np.empty((batch, layer.outputs), np.float32) for layer in layers]
    gradients = [np.empty_like(value) for value in values]
    weight_gradients = [np.empty_like(weight) for weight in weights]
    rows = np.arange(batch)

    def step(images: Array, labels: Array) -> float:
        inputs = images.reshape(batch, -1)
        x = inputs
        for layer, weight, bias, value in zip(layers, weights, biases, values, strict=True):
            np.matmul(x, weight.T, out=value)
            value += bias
            if layer.relu:
                np.maximum(value, 0, out=value)
            x = value
        loss = _loss_and_gradient(x, labels, rows, gradients[-1])
        for index in reversed(range(len(layers))):
            gradient = gradients[index]
            if layers[index].relu:
                gradient *= values[index] > 0
            below = values[index - 1] if index else inputs
            if index:
                np.matmul(gradient, weights[index], out=gradients[index - 1])
            np.matmul(gradient.T, below, out=weight_gradients[index])
            weight_gradients[index] *= rate
            weights[index] -= weight_gradients[index]
            biases[index] -= rate * gradient.sum(axis=0)
        return float(loss)

    return step


def _loss_and_gradient(logits: Array, labels: Array, rows: Array, gradient: Array) -> np.float32:
    """The mean cross-entropy; writes its gradient to the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    np.exp(shifted, out=gradient)
    sums = gradient.sum(axis=1, keepdims=True)
    gradient /= sums
    gradient[rows, labels] -= 1
    gradient /= len(labels)
    return np.mean(np.log(sums[:, 0]) - shifted[rows, labels])
