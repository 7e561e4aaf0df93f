"""TensorFlow: the step as one ``tf.function`` graph, with oneDNN where TensorFlow uses it."""

from __future__ import annotations

import tensorflow as tf

from . import Array, Step, Task


def setup(task: Task) -> Step:
    """Makes the variables and the graph; weights lie as (inputs, outputs)."""
    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    case = task.case
    weights = [tf.Variable(task.weights[f"{layer.name}-weight"].T) for layer in case.layers]
    biases = [tf.Variable(task.weights[f"{layer.name}-bias"]) for layer in case.layers]
    trained = weights + biases

    @tf.function(
        input_signature=[
            tf.TensorSpec((case.batch, 1, 28, 28), tf.float32),
            tf.TensorSpec((case.batch,), tf.int32),
        ]
    )
    def train(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            x = tf.reshape(images, (case.batch, -1))
            for layer, weight, bias in zip(case.layers, weights, biases, strict=True):
                x = tf.nn.bias_add(tf.matmul(x, weight), bias)
                x = tf.nn.relu(x) if layer.relu else x
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x)
            loss = tf.reduce_mean(losses)
        for variable, gradient in zip(trained, tape.gradient(loss, trained), strict=True):
            variable.assign_sub(case.rate * gradient)
        return loss

    def step(images: Array, labels: Array) -> float:
        return float(train(images, labels))

    return step
