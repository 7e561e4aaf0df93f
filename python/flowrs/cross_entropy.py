"""Softmax and the cross-entropies of classification. Labels come first, as in the original."""

from __future__ import annotations

from flowrs.array import cast, reshape
from flowrs.blob import Blob
from flowrs.errors import ArgumentTypeError, ShapeError
from flowrs.reductions import axes_of
from flowrs.trace import current_trace


def softmax(logits: Blob, axis: int | None = None, name: str | None = None) -> Blob:
    """``exp(logits) / sum(exp(logits))`` along an axis, the last one by default.

    Raises:
        ShapeError: the rank is below 2.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.nn.softmax(x)
        >>> job(np.zeros((1, 2), np.float32))
        array([[0.5, 0.5]], dtype=float32)
    """
    return _along_axis("softmax", "softmax", "Softmax", logits, axis, name)


def logsoftmax(logits: Blob, axis: int | None = None, name: str | None = None) -> Blob:
    """The logarithm of :func:`softmax`, finite where the softmax is too small for its dtype.

    It is ``-inf`` only where a logit is; arguments as for :func:`softmax`.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.nn.logsoftmax(x)
        >>> job(np.array([[0, 1]], np.float32)).round(4)
        array([[-1.3133, -0.3133]], dtype=float32)
    """
    return _along_axis("logsoftmax", "log_softmax", "LogSoftmax", logits, axis, name)


def _along_axis(
    function: str, op: str, prefix: str, logits: Blob, axis: int | None, name: str | None
) -> Blob:
    trace = current_trace(f"nn.{function}")
    if len(logits.shape) < 2:
        raise ShapeError(f"nn.{function}: needs rank 2 or more, found shape {logits.shape}")
    number = axes_of(f"nn.{function}", -1 if axis is None else axis, len(logits.shape))[0]
    return trace.apply(op, [logits], {"axis": number}, name=name, prefix=prefix)[0]


def sparse_softmax_cross_entropy_with_logits(
    labels: Blob, logits: Blob, name: str | None = None
) -> Blob:
    """``-log(max(softmax(logits)[label], 1e-20))`` for each row. Labels come first.

    Args:
        labels: integers, of the shape of the logits without the last axis, or with a last axis
            of 1, which is dropped. A label that is no class is a RangeError when the job runs,
            and no variable is changed.
        logits: float32 or float64, shape ``(..., classes)``.
        name: name of the operation.

    Returns:
        The losses, of the labels' shape and the logits' dtype.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are no integers, or the logits no floats.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     labels: tp.Numpy.Placeholder((1,), dtype=flow.int32),
        ...     logits: tp.Numpy.Placeholder((1, 2)),
        ... ) -> tp.Numpy:
        ...     return flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        >>> job(np.array([1], np.int32), np.zeros((1, 2), np.float32)).round(4)
        array([0.6931], dtype=float32)
    """
    op, prefix = "sparse_softmax_cross_entropy", "SparseSoftmaxCrossEntropy"
    return _sparse(f"{op}_with_logits", op, prefix, labels, logits, name)


def sparse_cross_entropy(labels: Blob, prediction: Blob, name: str | None = None) -> Blob:
    """``-log(max(prediction[label], 1e-20))`` for each row; the gradient is ``-1 / max(..)`` there.

    Args:
        labels: integers, as for :func:`sparse_softmax_cross_entropy_with_logits`.
        prediction: probabilities, float32 or float64, shape ``(..., classes)``.
        name: name of the operation.

    Returns:
        The losses, of the labels' shape and the prediction's dtype.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: the labels are no integers, or the prediction no floats.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     labels: tp.Numpy.Placeholder((1,), dtype=flow.int32),
        ...     prediction: tp.Numpy.Placeholder((1, 2)),
        ... ) -> tp.Numpy:
        ...     return flow.nn.sparse_cross_entropy(labels, prediction)
        >>> job(np.array([1], np.int32), np.array([[0.5, 0.5]], np.float32)).round(4)
        array([0.6931], dtype=float32)
    """
    op, prefix = "sparse_cross_entropy", "SparseCrossEntropy"
    return _sparse(op, op, prefix, labels, prediction, name)


def _sparse(
    function: str, op: str, prefix: str, labels: Blob, scores: Blob, name: str | None
) -> Blob:
    trace = current_trace(f"nn.{function}")
    if not isinstance(labels, Blob) or not isinstance(scores, Blob):
        raise ArgumentTypeError(f"nn.{function}: both arguments must be blobs")
    if len(labels.shape) == len(scores.shape) and labels.shape[-1] == 1:
        labels = reshape(labels, list(labels.shape[:-1]))
    return trace.apply(op, [labels, scores], name=name, prefix=prefix)[0]


def softmax_cross_entropy_with_logits(labels: Blob, logits: Blob, name: str | None = None) -> Blob:
    """``-sum(label * log(max(softmax(logits), 1e-20)))`` for each row.

    Args:
        labels: a distribution over the classes for each row; no gradient flows to it.
        logits: of the same shape and dtype, ``(..., classes)``.
        name: name of the operation.

    Returns:
        The losses, of the shape without the last axis.

    Raises:
        ShapeError: the shapes differ.
        DTypeError: the dtypes differ or are no floats.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(y: tp.Numpy.Placeholder((1, 2)), x: tp.Numpy.Placeholder((1, 2))) -> tp.Numpy:
        ...     return flow.nn.softmax_cross_entropy_with_logits(y, x)
        >>> job(np.array([[0, 1]], np.float32), np.array([[0, 1]], np.float32)).round(4)
        array([0.3133], dtype=float32)
    """
    trace = current_trace("nn.softmax_cross_entropy_with_logits")
    prefix = "SoftmaxCrossEntropy"
    return trace.apply("softmax_cross_entropy", [labels, logits], name=name, prefix=prefix)[0]


def sigmoid_cross_entropy_with_logits(labels: Blob, logits: Blob, name: str | None = None) -> Blob:
    """``-label * log(p) - (1 - label) * log(1 - p)`` of each element, ``p = sigmoid(logits)``.

    It is computed without overflow, and is 0 in the limit of an infinite logit of the right sign.

    Args:
        labels: of the logits' shape and any numeric dtype, from 0 to 1; no gradient flows to it.
        logits: float32 or float64.
        name: name of the operation.

    Returns:
        The losses, of the logits' shape and dtype.

    Raises:
        ShapeError: the shapes differ.
        DTypeError: the logits are no floats.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(
        ...     labels: tp.Numpy.Placeholder((2,), dtype=flow.int32),
        ...     logits: tp.Numpy.Placeholder((2,)),
        ... ) -> tp.Numpy:
        ...     return flow.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        >>> job(np.array([1, 0], np.int32), np.array([1e4, 1e4], np.float32))
        array([    0., 10000.], dtype=float32)
    """
    trace = current_trace("nn.sigmoid_cross_entropy_with_logits")
    if labels.shape != logits.shape:
        raise ShapeError(
            "nn.sigmoid_cross_entropy_with_logits: labels and logits must have one shape, "
            f"found {labels.shape} and {logits.shape}"
        )
    inputs = [logits, cast(labels, logits.dtype)]
    return trace.apply("sigmoid_cross_entropy", inputs, name=name, prefix="SigmoidCrossEntropy")[0]
