"""flowrs: a train job, as a user writes it."""

# Annotations stay objects here (no `from __future__ import annotations`): a job's are read when it
# is defined, and these name local variables.

import flowrs as flow
import flowrs.typing as tp

from . import Array, Step, Task


def setup(task: Task) -> Step:
    """Defines the job and loads the first weights."""
    case = task.case
    flow.config.cpu_threads(task.threads)
    images_type = tp.Numpy.Placeholder((case.batch, 1, 28, 28), dtype=flow.float)
    labels_type = tp.Numpy.Placeholder((case.batch,), dtype=flow.int32)

    @flow.global_function(type="train")
    def train_job(images: images_type, labels: labels_type) -> tp.Numpy:
        x = flow.reshape(images, [case.batch, -1])
        for layer in case.layers:
            activation = flow.nn.relu if layer.relu else None
            x = flow.layers.dense(x, layer.outputs, activation=activation, name=layer.name)
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, x)
        schedule = flow.optimizer.PiecewiseConstantScheduler([], [case.rate])
        flow.optimizer.SGD(schedule, momentum=0).minimize(loss)
        return loss

    flow.load_variables(task.weights, ignore_mismatch=False)

    def step(images: Array, labels: Array) -> float:
        return float(train_job(images, labels).mean())

    return step
