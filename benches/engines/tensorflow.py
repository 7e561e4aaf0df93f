"""TensorFlow: ``tf.function`` graphs, channels last, with oneDNN where TensorFlow uses it."""

from __future__ import annotations

import tensorflow as tf
from harness.case import Case
from harness.model import Placed

from . import Array, Step, Task
from .channels_last import channels_last_weights

Variables = dict[str, tf.Variable]


def setup(task: Task) -> Step:
    """Makes the variables and the graph; dense weights lie as (inputs, outputs)."""
    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    case = task.case
    variables = {name: tf.Variable(w) for name, w in channels_last_weights(case, task.weights)}
    trained = list(variables.values())
    images_spec = tf.TensorSpec((case.batch, *case.sample), getattr(tf, case.dtype))
    labels_spec = tf.TensorSpec((case.batch,), tf.int32)

    @tf.function(input_signature=[images_spec, labels_spec])
    def train(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = _network(case, variables, images)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        for variable, gradient in zip(trained, tape.gradient(loss, trained), strict=True):
            variable.assign_sub(case.rate * gradient)
        return loss

    @tf.function(input_signature=[images_spec])
    def infer(images: tf.Tensor) -> tf.Tensor:
        return _network(case, variables, images)

    def step(images: Array, labels: Array) -> float:
        return float(train(images, labels))

    if case.kind == "infer":
        return lambda images, labels: infer(images).numpy()
    return step


def _network(case: Case, variables: Variables, images: tf.Tensor) -> tf.Tensor:
    rank = len(case.sample) + 1
    x, named = tf.transpose(images, [0, *range(2, rank), 1]), {}
    if case.sample[0] == 1:
        x = tf.reshape(images, (case.batch, *case.sample[1:], 1))
    for placed in case.placed:
        layer = placed.layer
        x = _layer(placed, named.get(layer.input, x), named, variables)
        named[layer.name] = x = tf.nn.relu(x) if layer.relu else x
    return x


def _layer(
    placed: Placed, x: tf.Tensor, named: dict[str, tf.Tensor], variables: Variables
) -> tf.Tensor:
    layer, spatial = placed.layer, len(placed.before) - 1
    if layer.kind == "add":
        return x + named[layer.other]
    if layer.kind == "mean":
        return tf.reduce_mean(x, axis=list(range(1, spatial + 1)))
    if layer.kind == "max_pool":
        return tf.nn.max_pool2d(x, layer.size, layer.size, "VALID")
    if layer.kind == "batch_norm":
        gamma, beta = variables[f"{layer.name}-gamma"], variables[f"{layer.name}-beta"]
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-5)[0]
    weight = variables[f"{layer.name}-weight"]
    if layer.kind == "dense":
        x = tf.matmul(tf.reshape(x, (x.shape[0], -1)), weight)
    else:
        padding = "SAME"
        if layer.stride > 1:  # "SAME" would put all of the padding behind.
            edge, padding = layer.size // 2, "VALID"
            x = tf.pad(x, [[0, 0], *[[edge, edge]] * spatial, [0, 0]])
        convolve = {1: tf.nn.conv1d, 2: tf.nn.conv2d}[spatial]
        x = convolve(x, weight, layer.stride, padding)
    return tf.nn.bias_add(x, variables[f"{layer.name}-bias"]) if layer.bias else x
