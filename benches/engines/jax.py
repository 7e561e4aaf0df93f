"""JAX: functions of the weights, compiled, channels last; training donates the weights' buffers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from harness.case import Case
from harness.model import Placed

from . import Array, Step, Task
from .channels_last import channels_last_weights

Weights = dict[str, jax.Array]


def setup(task: Task) -> Step:
    """Compiles the step; dense weights lie as (inputs, outputs), as is usual with JAX."""
    case = task.case
    if case.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    weights = {name: jnp.asarray(w) for name, w in channels_last_weights(case, task.weights)}

    def loss_of(weights: Weights, images: jax.Array, labels: jax.Array) -> jax.Array:
        log_probability = jax.nn.log_softmax(_network(case, weights, images))
        return -jnp.take_along_axis(log_probability, labels[:, None], axis=1).mean()

    @jax.jit(donate_argnums=0)
    def train(weights: Weights, images: jax.Array, labels: jax.Array) -> tuple[Weights, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(weights, images, labels)
        return jax.tree.map(lambda w, g: w - case.rate * g, weights, gradient), loss

    @jax.jit
    def infer(weights: Weights, images: jax.Array) -> jax.Array:
        return _network(case, weights, images)

    def step(images: Array, labels: Array) -> float:
        nonlocal weights
        weights, loss = train(weights, images, labels)
        return float(loss)

    if case.kind == "infer":
        return lambda images, labels: np.asarray(infer(weights, images))
    return step


def _network(case: Case, weights: Weights, images: jax.Array) -> jax.Array:
    x, named = jnp.moveaxis(images, 1, -1), {}
    for placed in case.placed:
        layer = placed.layer
        x = _layer(placed, named.get(layer.input, x), named, weights)
        named[layer.name] = x = jax.nn.relu(x) if layer.relu else x
    return x


def _layer(placed: Placed, x: jax.Array, named: Weights, weights: Weights) -> jax.Array:
    layer = placed.layer
    if layer.kind == "add":
        return x + named[layer.other]
    if layer.kind == "mean":
        return x.mean(axis=tuple(range(1, x.ndim - 1)))
    if layer.kind == "max_pool":
        # As a maximum over a reshaped array; reduce_window's gradient is far slower.
        n, h, w, c = x.shape
        s = layer.size
        return x.reshape(n, h // s, s, w // s, s, c).max(axis=(2, 4))
    if layer.kind == "batch_norm":
        axes = tuple(range(x.ndim - 1))
        x = (x - x.mean(axes)) * jax.lax.rsqrt(x.var(axes) + 1e-5)
        return x * weights[f"{layer.name}-gamma"] + weights[f"{layer.name}-beta"]
    weight = weights[f"{layer.name}-weight"]
    if layer.kind == "dense":
        x = x.reshape(x.shape[0], -1) @ weight
    else:
        spatial = x.ndim - 2
        x = jax.lax.conv_general_dilated(
            x,
            weight,
            [layer.stride] * spatial,
            [(layer.size // 2, layer.size // 2)] * spatial,
            dimension_numbers={1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}[spatial],
        )
    return x + weights[f"{layer.name}-bias"] if layer.bias else x
