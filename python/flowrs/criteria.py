"""Losses that are reduced to one number unless asked not to: ``flow.nn.MSELoss`` and its like."""

from __future__ import annotations

from flowrs import math
from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ShapeError, UnsupportedError
from flowrs.trace import Attribute, current_trace


def _reduced(function: str, loss: Blob, reduction: str, name: str | None) -> Blob:
    if reduction == "mean":
        return math.reduce_mean(loss, name=name)
    if reduction == "sum":
        return math.reduce_sum(loss, name=name)
    if reduction == "none":
        return loss
    raise ArgumentError(
        f'nn.{function}: reduction must be "none", "mean" or "sum", not {reduction!r}'
    )


def _elements_name(reduction: str, name: str | None) -> str | None:
    """The user's name is that of the result: of the elements only where they are not reduced."""
    return name if reduction == "none" else None


def _same_shape(function: str, *blobs: Blob) -> None:
    current_trace(f"nn.{function}")
    first = blobs[0]
    for other in blobs[1:]:
        if other.shape != first.shape:
            raise ShapeError(
                f"nn.{function}: all shapes must be the same, found {first.shape} and {other.shape}"
            )


def _elementwise(
    function: str,
    op: str,
    inputs: list[Blob],
    name: str | None,
    attributes: dict[str, Attribute] | None = None,
) -> Blob:
    trace = current_trace(f"nn.{function}")
    return trace.apply(op, inputs, attributes, name=name, prefix=function)[0]


def _weighted(
    function: str, loss: Blob, weight: Blob | None, reduction: str, name: str | None
) -> Blob:
    if weight is None:
        return loss
    result = math.multiply(loss, weight, _elements_name(reduction, name))
    if result.shape != loss.shape:
        raise ShapeError(
            f"nn.{function}: a weight of shape {weight.shape} does not fit a loss of {loss.shape}"
        )
    return result


def MSELoss(  # noqa: N802 - the name is OneFlow's
    input: Blob,  # noqa: A002
    target: Blob,
    reduction: str = "mean",
    name: str | None = None,
) -> Blob:
    """``(input - target)²``.

    Args:
        input: float32 or float64.
        target: of the same shape and dtype.
        reduction: ``"mean"`` or ``"sum"`` of all elements, shape ``(1,)``; ``"none"``: all of them.
        name: name of the last operation.

    Raises:
        ShapeError: the shapes differ.
        ArgumentError: the reduction is none of the three.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), t: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.MSELoss(x, t)
        >>> job(np.array([1, 2], np.float32), np.array([1, 4], np.float32))
        array([2.], dtype=float32)
    """
    _same_shape("MSELoss", input, target)
    loss = math.squared_difference(input, target, _elements_name(reduction, name))
    return _reduced("MSELoss", loss, reduction, name)


def L1Loss(  # noqa: N802 - the name is OneFlow's
    input: Blob,  # noqa: A002
    target: Blob,
    reduction: str = "mean",
    name: str | None = None,
) -> Blob:
    """``|input - target|``; arguments as for :func:`MSELoss`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.L1Loss(x, y)
        >>> job(np.array([1, 4], np.float32), np.array([2, 2], np.float32))
        array([1.5], dtype=float32)
    """
    _same_shape("L1Loss", input, target)
    loss = math.abs(math.subtract(input, target), _elements_name(reduction, name))
    return _reduced("L1Loss", loss, reduction, name)


def BCELoss(  # noqa: N802 - the name is OneFlow's
    input: Blob,  # noqa: A002
    target: Blob,
    weight: Blob | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Blob:
    """``-target * log(input) - (1 - target) * log(1 - input)``.

    The logarithms have no floor: a certain and wrong prediction costs ``inf``, a certain and right
    one 0.

    Args:
        input: probabilities, float32 or float64.
        target: of the same shape and dtype, from 0 to 1.
        weight: factors of the losses, of a shape that can be broadcast to theirs.
        reduction: as for :func:`MSELoss`.
        name: name of the last operation.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: the reduction is none of the three.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.BCELoss(x, y, reduction="none")
        >>> job(np.array([0.25, 0.5], np.float32), np.array([0, 1], np.float32)).round(4)
        array([0.2877, 0.6931], dtype=float32)
    """
    _same_shape("BCELoss", input, target)
    own = _elements_name(reduction, name) if weight is None else None
    loss = _elementwise("BCELoss", "binary_cross_entropy", [input, target], own)
    loss = _weighted("BCELoss", loss, weight, reduction, name)
    return _reduced("BCELoss", loss, reduction, name)


def BCEWithLogitsLoss(  # noqa: N802 - the name is OneFlow's
    input: Blob,  # noqa: A002
    target: Blob,
    weight: Blob | None = None,
    pos_weight: Blob | None = None,
    reduction: str = "mean",
    name: str | None = None,
) -> Blob:
    """:func:`BCELoss` of ``sigmoid(input)``, without overflow.

    Args:
        input: logits, float32 or float64.
        target: of the same shape and dtype, from 0 to 1.
        weight: factors of the losses, of a shape that can be broadcast to theirs.
        pos_weight: factors of the term of the positive examples, usually of shape ``(classes,)``.
        reduction: as for :func:`MSELoss`.
        name: name of the last operation.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: the reduction is none of the three.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), t: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.BCEWithLogitsLoss(x, t, reduction="sum")
        >>> job(np.array([1e4, -1e4], np.float32), np.array([1, 1], np.float32))
        array([10000.], dtype=float32)
    """
    function = "BCEWithLogitsLoss"
    _same_shape(function, input, target)
    own = _elements_name(reduction, name) if weight is None else None
    if pos_weight is None:
        inputs, op = [input, target], "binary_cross_entropy_with_logits"
    else:
        inputs, op = [input, target, pos_weight], "weighted_cross_entropy_with_logits"
    loss = _elementwise(function, op, inputs, own)
    if pos_weight is not None and loss.shape != input.shape:
        raise ShapeError(
            f"nn.{function}: a pos_weight of shape {pos_weight.shape} does not fit logits of "
            f"{input.shape}"
        )
    loss = _weighted(function, loss, weight, reduction, name)
    return _reduced(function, loss, reduction, name)


def KLDivLoss(  # noqa: N802 - the name is OneFlow's
    input: Blob,  # noqa: A002
    target: Blob,
    log_target: bool = False,
    reduction: str = "mean",
    name: str | None = None,
) -> Blob:
    """``target * (log(target) - input)``, 0 where the target is 0; ``"mean"`` is over all elements.

    Args:
        input: logarithms of probabilities, float32 or float64.
        target: probabilities of the same shape and dtype, or their logarithms.
        log_target: whether the target holds logarithms.
        reduction: as for :func:`MSELoss`.
        name: name of the last operation.

    Raises:
        ShapeError: the shapes differ.
        ArgumentError: the reduction is none of the three.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), y: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.KLDivLoss(x, y, reduction="sum")
        >>> x = np.log(np.array([0.25, 0.75], np.float32))
        >>> y = np.array([0.5, 0.5], np.float32)
        >>> job(x, y).round(4)
        array([0.1438], dtype=float32)
    """
    _same_shape("KLDivLoss", input, target)
    op = "log_kl_divergence" if log_target else "kl_divergence"
    loss = _elementwise("KLDivLoss", op, [input, target], _elements_name(reduction, name))
    return _reduced("KLDivLoss", loss, reduction, name)


def MarginRankingLoss(  # noqa: N802 - the name is OneFlow's
    input1: Blob,
    input2: Blob,
    target: Blob,
    margin: float = 0.0,
    reduction: str = "mean",
    name: str | None = None,
) -> Blob:
    """``max(0, margin - target * (input1 - input2))``: target 1 wants the first greater, -1 less.

    Args:
        input1: float32 or float64.
        input2: of the same shape and dtype.
        target: 1 or -1, of the same dtype and a shape that can be broadcast to the inputs'.
        margin: how far apart the inputs must be to cost nothing.
        reduction: as for :func:`MSELoss`.
        name: name of the last operation.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: the reduction is none of the three.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((2,)),
        ...     y: tp.Numpy.Placeholder((2,)),
        ...     order: tp.Numpy.Placeholder((2,)),
        ... ) -> tp.Numpy:
        ...     return flow.nn.MarginRankingLoss(x, y, order, margin=0.5, reduction="none")
        >>> x = np.array([1, 2], np.float32)
        >>> y = np.array([2, 1], np.float32)
        >>> order = np.ones(2, np.float32)
        >>> job(x, y, order)
        array([1.5, 0. ], dtype=float32)
    """
    _same_shape("MarginRankingLoss", input1, input2)
    wrong = math.multiply(math.subtract(input2, input1), target)
    if wrong.shape != input1.shape:
        raise ShapeError(
            f"nn.MarginRankingLoss: a target of shape {target.shape} does not fit inputs of "
            f"{input1.shape}"
        )
    own = _elements_name(reduction, name)
    loss = math.clip_by_value(math.add(wrong, float(margin)), min_value=0.0, name=own)
    return _reduced("MarginRankingLoss", loss, reduction, name)


def TripletMarginLoss(  # noqa: N802 - the name is OneFlow's
    anchor: Blob,
    positive: Blob,
    negative: Blob,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
    name: str | None = None,
) -> Blob:
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` for each vector.

    ``d`` is the p-norm of the difference plus ``eps`` along the last axis.

    Args:
        anchor: float32 or float64, shape ``(..., features)``.
        positive: of the same shape and dtype: what should be near.
        negative: of the same shape and dtype: what should be far.
        margin: how much farther the negative must be to cost nothing.
        p: the norm, from 1 on.
        eps: what is added to each difference, so that norms have slopes.
        swap: must be False, as in the original.
        reduction: as for :func:`MSELoss`.
        name: name of the last operation.

    Raises:
        ShapeError: the shapes differ.
        ArgumentError: ``p`` is no finite number from 1 on, or the reduction none of the three.
        UnsupportedError: ``swap`` is asked for.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     x: tp.Numpy.Placeholder((1, 2)),
        ...     near: tp.Numpy.Placeholder((1, 2)),
        ...     far: tp.Numpy.Placeholder((1, 2)),
        ... ) -> tp.Numpy:
        ...     return flow.nn.TripletMarginLoss(x, near, far)
        >>> x = np.array([[0, 0]], np.float32)
        >>> near = np.array([[0, 1]], np.float32)
        >>> far = np.array([[1.5, 0]], np.float32)
        >>> job(x, near, far).round(3)
        array([0.5], dtype=float32)
    """
    _same_shape("TripletMarginLoss", anchor, positive, negative)
    if swap:
        raise UnsupportedError("nn.TripletMarginLoss: swap is not supported, as in the original")
    if not 1 <= p < float("inf"):
        raise ArgumentError(f"nn.TripletMarginLoss: p must be finite and from 1 on, not {p!r}")
    near = _distance(anchor, positive, float(p), eps)
    far = _distance(anchor, negative, float(p), eps)
    own = _elements_name(reduction, name)
    loss = math.clip_by_value(
        math.add(math.subtract(near, far), float(margin)), min_value=0.0, name=own
    )
    return _reduced("TripletMarginLoss", loss, reduction, name)


def _distance(a: Blob, b: Blob, p: float, eps: float) -> Blob:
    difference = math.add(math.subtract(a, b), eps)
    if p == 2:
        return math.reduce_euclidean_norm(difference, axis=-1)
    size = math.abs(difference)
    if p == 1:
        return math.reduce_sum(size, axis=-1)
    return math.pow(math.reduce_sum(math.pow(size, p), axis=-1), 1 / p)


def smooth_l1_loss(
    prediction: Blob, label: Blob, beta: float = 1.0, name: str | None = None
) -> Blob:
    """``d² / (2 * beta)`` where ``d = |prediction - label| < beta``, else ``d - beta / 2``.

    Args:
        prediction: float32 or float64.
        label: of the same shape and dtype.
        beta: where the parabola becomes a line, from 0 on.
        name: name of the operation.

    Returns:
        The losses, element by element.

    Raises:
        ShapeError: the shapes differ.
        ArgumentError: ``beta`` is negative.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,)), t: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.smooth_l1_loss(x, t)
        >>> job(np.array([0.5, 3], np.float32), np.zeros(2, np.float32))
        array([0.125, 2.5  ], dtype=float32)
    """
    _same_shape("smooth_l1_loss", prediction, label)
    if not beta >= 0:
        raise ArgumentError(f"smooth_l1_loss: beta must not be negative, found {beta!r}")
    trace = current_trace("smooth_l1_loss")
    attributes: dict[str, Attribute] = {"beta": float(beta)}
    inputs = [prediction, label]
    return trace.apply("smooth_l1", inputs, attributes, name=name, prefix="SmoothL1")[0]
