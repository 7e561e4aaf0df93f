"""JAX: the step as a function of the weights, compiled, with the weights' buffers donated."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from . import Array, Step, Task

Weights = dict[str, jax.Array]


def setup(task: Task) -> Step:
    """Compiles the step; weights lie as (inputs, outputs), as is usual with JAX."""
    layers, rate = task.case.layers, task.case.rate
    weights: Weights = {}
    for layer in layers:
        weights[f"{layer.name}-weight"] = jnp.asarray(task.weights[f"{layer.name}-weight"].T)
        weights[f"{layer.name}-bias"] = jnp.asarray(task.weights[f"{layer.name}-bias"])

    def loss_of(weights: Weights, images: jax.Array, labels: jax.Array) -> jax.Array:
        x = images.reshape(images.shape[0], -1)
        for layer in layers:
            x = x @ weights[f"{layer.name}-weight"] + weights[f"{layer.name}-bias"]
            x = jax.nn.relu(x) if layer.relu else x
        log_probability = jax.nn.log_softmax(x)
        return -jnp.take_along_axis(log_probability, labels[:, None], axis=1).mean()

    @jax.jit(donate_argnums=0)
    def train(weights: Weights, images: jax.Array, labels: jax.Array) -> tuple[Weights, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(weights, images, labels)
        return jax.tree.map(lambda w, g: w - rate * g, weights, gradient), loss

    def step(images: Array, labels: Array) -> float:
        nonlocal weights
        weights, loss = train(weights, images, labels)
        return float(loss)

    return step
