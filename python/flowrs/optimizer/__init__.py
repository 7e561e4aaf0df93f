"""``flow.optimizer``: update rules, and schedules of their rates."""

from __future__ import annotations

from flowrs.optimizer import grad_clipping, loss_scale, warmup
from flowrs.optimizer.base import Optimizer
from flowrs.optimizer.rules import SGD, SGDW, Adam, AdamW
from flowrs.optimizer.schedules import (
    CosineScheduler,
    LearningRateScheduler,
    PiecewiseConstantScheduler,
)

__all__ = [
    "SGD",
    "SGDW",
    "Adam",
    "AdamW",
    "CosineScheduler",
    "LearningRateScheduler",
    "Optimizer",
    "PiecewiseConstantScheduler",
    "grad_clipping",
    "loss_scale",
    "warmup",
]
