"""``flow.optimizer.loss_scale``: factors of the loss during the backward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flowrs.errors import ArgumentError


@dataclass(frozen=True)
class StaticLossScale:
    """A fixed factor, which the gradients are divided by again."""

    factor: float


def static_loss_scale(loss_scale_factor: float) -> StaticLossScale:
    """A fixed factor: without effect on results in float32, where nothing underflows.

    Raises:
        ArgumentError: the factor is not a positive finite number.

    Example:
        >>> import flowrs as flow
        >>> policy = flow.optimizer.loss_scale.static_loss_scale(1024.0)
        >>> schedule = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
        >>> optimizer = flow.optimizer.SGD(schedule, loss_scale_policy=policy)
    """
    factor = float(loss_scale_factor)
    if not (math.isfinite(factor) and factor > 0):
        raise ArgumentError(f"static_loss_scale: must be positive and finite, not {factor}")
    return StaticLossScale(factor)
