"""``flow.optimizer``: update rules, and schedules of their rates."""

from __future__ import annotations

from flowrs.optimizer import loss_scale, warmup
from flowrs.optimizer.base import Optimizer
from flowrs.optimizer.rules import SGD, Adam
from flowrs.optimizer.schedules import (
    CosineScheduler,
    LearningRateScheduler,
    PiecewiseConstantScheduler,
)

__all__ = [
    "SGD",
    "Adam",
    "CosineScheduler",
    "LearningRateScheduler",
    "Optimizer",
    "PiecewiseConstantScheduler",
    "loss_scale",
    "warmup",
]
