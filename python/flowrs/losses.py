"""``flow.losses``: training without an optimizer object, as older programs do it."""

from __future__ import annotations

from flowrs.blob import Blob
from flowrs.errors import ArgumentTypeError, GraphError
from flowrs.trace import current_trace

__all__ = ["add_loss"]


def add_loss(loss: Blob) -> None:
    """Adds a loss to those that the job is trained on.

    Where ``minimize`` was called before, its optimizer trains on this loss too; the losses are
    added up. Otherwise the job's ``FunctionConfig`` says how: ``train.primary_lr`` and
    ``train.model_update_conf``; all trainable variables of the job are trained.

    Args:
        loss: float32 or float64, of the shape and dtype of the job's other losses.

    Raises:
        GraphError: the job is a predict job, or the losses do not fit together.
        ArgumentTypeError: the loss is no blob.

    Example:
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> config = flow.FunctionConfig()
        >>> config.train.primary_lr(0.5)
        >>> config.train.model_update_conf({"naive_conf": {}})
        >>> @flow.global_function(type="train", function_config=config)
        ... def job() -> tp.Numpy:
        ...     weight = flow.get_variable("w", (1,), initializer=flow.ones_initializer())
        ...     flow.losses.add_loss(weight * weight)
        ...     return weight
        >>> job(), job()
        (array([1.], dtype=float32), array([0.], dtype=float32))
    """
    trace = current_trace("losses.add_loss")
    if not trace.is_train_job:
        raise GraphError(
            f"job {trace.job_name} is a predict job and cannot add a loss: "
            'define it with @flow.global_function(type="train")'
        )
    if not isinstance(loss, Blob):
        raise ArgumentTypeError(f"losses.add_loss: expected a blob, found {loss!r:.80}")
    losses = trace.added_losses if trace.training is None else trace.training.losses
    for other in losses:
        if (other.shape, other.dtype) != (loss.shape, loss.dtype):
            raise GraphError(
                "losses.add_loss: all losses must have one shape and dtype, found "
                f"{other!r} and {loss!r}"
            )
    losses.append(loss)
