"""Training as a ``FunctionConfig`` describes it: for ``flow.losses.add_loss``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from flowrs.errors import ArgumentError, ArgumentTypeError, UnsupportedError
from flowrs.optimizer.base import Optimizer
from flowrs.optimizer.grad_clipping import by_global_norm
from flowrs.optimizer.loss_scale import static_loss_scale
from flowrs.optimizer.rules import SGDW, AdamW
from flowrs.optimizer.schedules import (
    CosineScheduler,
    LearningRateScheduler,
    PiecewiseConstantScheduler,
)
from flowrs.optimizer.warmup import Warmup, linear

#: A description of something by the names of the original: ``dict(momentum_conf=dict(beta=0.9))``.
Conf = Mapping[str, Any]

_WHERE = "FunctionConfig.train.model_update_conf"
_RULES = ("naive_conf", "momentum_conf", "adam_conf")
_OTHER_RULES = ("rmsprop_conf", "lars_conf", "lazy_adam_conf", "lamb_conf")
_PARTS = ("learning_rate_decay", "warmup_conf", "clip_conf", "weight_decay_conf")


class TrainConfig:
    """``config.train``: how a job is trained whose body calls ``flow.losses.add_loss``."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self.build: Callable[[float], Optimizer] | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything was set."""
        return self.rate is not None or self.build is not None

    def primary_lr(self, value: float) -> None:
        """The learning rate that the schedule begins with."""
        self.rate = _number("FunctionConfig.train.primary_lr", value)

    def model_update_conf(self, value: Conf) -> None:
        """The update rule, and what goes with it, by the names of the original.

        Args:
            value: one of ``naive_conf={}``, ``momentum_conf={"beta": 0.9}`` and
                ``adam_conf={"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "do_bias_correction":
                False}``, whose numbers are the defaults here; and if need be
                ``learning_rate_decay`` (``piecewise_constant_conf`` or ``cosine_conf``),
                ``warmup_conf`` (``linear_conf``), ``clip_conf`` (``clip_by_global_norm``) and
                ``weight_decay_conf``.

        Raises:
            ArgumentError: something is not known, missing or out of range.
            UnsupportedError: the rule is one of the original that is not supported.
        """
        build = _builder(_conf(value, _WHERE))
        build(1.0)
        self.build = build

    def loss_scale_factor(self, value: float) -> None:
        """A fixed factor of the loss during the backward pass: without effect on results."""
        print(
            "WARNING: train.loss_scale_factor is deprecated: use the optimizer's loss_scale_policy",
            file=sys.stderr,
        )
        static_loss_scale(value)

    def optimizer(self, job: str) -> Optimizer:
        """The optimizer of a job.

        Raises:
            ArgumentError: the rate or the rule was not set.
        """
        if self.rate is None or self.build is None:
            missing = "primary_lr" if self.rate is None else "model_update_conf"
            raise ArgumentError(
                f"job {job} adds a loss without calling minimize, and its FunctionConfig has no "
                f"train.{missing}"
            )
        return self.build(self.rate)


def _builder(conf: dict[str, Any]) -> Callable[[float], Optimizer]:
    """Makes an optimizer for a learning rate, as the description says."""
    unsupported = [key for key in conf if key in _OTHER_RULES]
    if unsupported:
        raise UnsupportedError(f"{_WHERE}: {unsupported[0]} is not supported")
    _known(conf, (*_RULES, *_PARTS), _WHERE)
    rules = [key for key in conf if key in _RULES]
    if len(rules) != 1:
        raise ArgumentError(f"{_WHERE}: give one of {', '.join(_RULES)}, found {rules or 'none'}")
    numbers = _conf(conf[rules[0]], rules[0])
    decay = _conf(conf.get("weight_decay_conf", {}), "weight_decay_conf")
    _known(decay, ("weight_decay_rate", "includes", "excludes"), "weight_decay_conf")
    shared = {
        "weight_decay": decay.get("weight_decay_rate"),
        "weight_decay_includes": _patterns(decay, "includes"),
        "weight_decay_excludes": _patterns(decay, "excludes"),
        "grad_clipping": _clipping(_conf(conf.get("clip_conf", {}), "clip_conf")),
    }

    def build(rate: float) -> Optimizer:
        scheduler = _scheduler(conf, rate)
        if rules[0] == "adam_conf":
            _known(numbers, ("beta1", "beta2", "epsilon", "do_bias_correction"), "adam_conf")
            return AdamW(scheduler, **numbers, **shared)
        if rules[0] == "momentum_conf":
            _known(numbers, ("beta",), "momentum_conf")
            return SGDW(scheduler, momentum=numbers.get("beta", 0.9), **shared)
        _known(numbers, (), "naive_conf")
        return SGDW(scheduler, momentum=0.0, **shared)

    return build


def _scheduler(conf: dict[str, Any], rate: float) -> LearningRateScheduler:
    warmup = _warmup(_conf(conf.get("warmup_conf", {}), "warmup_conf"))
    decay = _conf(conf.get("learning_rate_decay", {}), "learning_rate_decay")
    _known(decay, ("piecewise_constant_conf", "cosine_conf"), "learning_rate_decay")
    if "piecewise_constant_conf" in decay:
        pieces = _conf(decay["piecewise_constant_conf"], "piecewise_constant_conf")
        _known(pieces, ("boundaries", "values"), "piecewise_constant_conf")
        return PiecewiseConstantScheduler(
            pieces.get("boundaries", []), pieces.get("values", []), warmup
        )
    if "cosine_conf" in decay:
        cosine = _conf(decay["cosine_conf"], "cosine_conf")
        _known(cosine, ("decay_batches", "alpha"), "cosine_conf")
        steps = _needed(cosine, "decay_batches", "cosine_conf")
        return CosineScheduler(rate, steps, cosine.get("alpha", 0.0), warmup)
    return PiecewiseConstantScheduler([], [rate], warmup)


def _warmup(conf: dict[str, Any]) -> Warmup | None:
    _known(conf, ("linear_conf",), "warmup_conf")
    if not conf:
        return None
    ramp = _conf(conf["linear_conf"], "linear_conf")
    _known(ramp, ("warmup_batches", "start_multiplier"), "linear_conf")
    steps = _needed(ramp, "warmup_batches", "linear_conf")
    return linear(steps, _needed(ramp, "start_multiplier", "linear_conf"))


def _clipping(conf: dict[str, Any]) -> Any:
    _known(conf, ("clip_by_global_norm",), "clip_conf")
    if not conf:
        return None
    norm = _conf(conf["clip_by_global_norm"], "clip_by_global_norm")
    _known(norm, ("clip_norm",), "clip_by_global_norm")
    return by_global_norm(_needed(norm, "clip_norm", "clip_by_global_norm"))


def _patterns(conf: dict[str, Any], key: str) -> Any:
    """The patterns of a filter: a list, or as the original has it ``{"pattern": [...]}``."""
    patterns = conf.get(key)
    return patterns.get("pattern", []) if isinstance(patterns, Mapping) else patterns


def _conf(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"{where}: expected a dict, found {value!r:.80}")
    return dict(value)


def _known(conf: dict[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in conf:
        if key not in names:
            raise ArgumentError(
                f"{where}: {key!r} is not known; known are {', '.join(names) or 'none'}"
            )


def _needed(conf: dict[str, Any], key: str, where: str) -> Any:
    if key not in conf:
        raise ArgumentError(f"{where}: {key} is missing")
    return conf[key]


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{what}: expected a number, found {value!r}")
    return float(value)
