"""``flow.random``: random values drawn anew at each call of a job.

They follow from a seed, the operation's full name and a count: the step of a train job, the number
of the call of a predict job. So they are the same for any number of threads, and a train job that
is resumed from a checkpoint draws what it would have drawn.
"""

from __future__ import annotations

import random

from flowrs import datatype
from flowrs import math as flow_math
from flowrs.array import cast
from flowrs.blob import Blob
from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentError
from flowrs.session import seed_of_name
from flowrs.trace import Attribute, Trace, current_trace

__all__ = ["CoinFlip", "bernoulli", "coin_flip"]


def default_seed(trace: Trace, full_name: str, seed: int | None) -> int:
    """The seed of an operation: as given, from ``flow.config.random_seed``, or from ``random``.

    Where it comes from Python's ``random`` module, ``random.seed`` fixes it, as in the original.
    A trace for other shapes uses the seed that the operation got first.
    """
    if seed is not None:
        return int(seed)
    seeds = trace.default_seeds
    if full_name not in seeds:
        derived = seed_of_name(full_name)
        seeds[full_name] = random.getrandbits(31) if derived is None else derived
    return seeds[full_name]


def draw(
    op: str,
    shape: tuple[int, ...],
    seed: int | None,
    name: str | None,
    prefix: str,
    attributes: dict[str, Attribute] | None = None,
) -> Blob:
    """Adds an operation that draws values of the given shape."""
    trace = current_trace(f"random.{op}")
    full = trace.full_name(name, prefix)
    import hashlib  # takes a while to load, and not every program needs it

    digest = hashlib.blake2b(full.encode(), digest_size=4).digest()
    described: dict[str, Attribute] = {
        "seed": default_seed(trace, full, seed),
        "name_hash": int.from_bytes(digest, "little"),
        "shape": list(shape),
        **(attributes or {}),
    }
    return trace.apply_named(op, [trace.count()], described, full)[0]


def bernoulli(
    x: Blob, seed: int | None = None, dtype: DType | None = None, name: str | None = None
) -> Blob:
    """1 with the probability that ``x`` gives for each element, else 0.

    Args:
        x: probabilities, float32 or float64.
        seed: of the sequence; None: from ``flow.config.random_seed`` or Python's ``random``.
        dtype: of the result; None: that of ``x``.
        name: name of the operation.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(p: tp.Numpy.Placeholder((4,))) -> tp.Numpy:
        ...     return flow.random.bernoulli(p, seed=1)
        >>> job(np.array([0, 0, 1, 1], np.float32))
        array([0., 0., 1., 1.], dtype=float32)
    """
    drawn = cast(draw("random_uniform", x.shape, seed, name, "Bernoulli"), x.dtype)
    return cast(flow_math.less(drawn, x), x.dtype if dtype is None else dtype)


def CoinFlip(  # noqa: N802 - the name is OneFlow's
    batch_size: int = 1,
    seed: int | None = None,
    probability: float = 0.5,
    name: str | None = "CoinFlip",
) -> Blob:
    """int8 of shape ``(batch_size,)``: 1 with the given probability, else 0.

    Raises:
        ArgumentError: the probability is not from 0 to 1, or the size not above 0.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> tp.Numpy:
        ...     return flow.cast(flow.random.CoinFlip(4, probability=1.0), flow.float32)
        >>> job()
        array([1., 1., 1., 1.], dtype=float32)
    """
    if not 0 <= probability <= 1:
        raise ArgumentError(f"CoinFlip: probability must be from 0 to 1, not {probability!r}")
    if type(batch_size) is not int or batch_size <= 0:
        raise ArgumentError(f"CoinFlip: batch_size must be an int above 0, not {batch_size!r}")
    drawn = draw("random_uniform", (batch_size,), seed, name, "CoinFlip")
    threshold = drawn.trace.constant(probability, datatype.float32, (1,))
    return flow_math.less(drawn, threshold)


coin_flip = CoinFlip


def random_mask_like(
    like: Blob,
    rate: float,
    seed: int | None = None,
    noise_shape: None = None,
    name: str | None = None,
) -> Blob:
    """int8 of the shape of ``like``: 0 with probability ``rate``, else 1.

    Raises:
        ArgumentError: ``rate`` is not from 0 to below 1, or ``noise_shape`` is given.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((4,))) -> tp.Numpy:
        ...     return flow.nn.random_mask_like(x, 0.5, seed=1)
        >>> job(np.zeros(4, np.float32)).dtype
        dtype('int8')
    """
    if not 0 <= rate < 1:
        raise ArgumentError(f"random_mask_like: rate must be from 0 to below 1, not {rate!r}")
    if noise_shape is not None:
        raise ArgumentError("random_mask_like: noise_shape is not supported")
    return draw("random_mask", like.shape, seed, name, "RandomMaskLike", {"rate": float(rate)})


def dropout(
    x: Blob,
    rate: float,
    noise_shape: None = None,
    seed: int | None = None,
    name: str | None = None,
) -> Blob:
    """Sets elements to 0 with probability ``rate`` and divides the others by ``1 - rate``.

    In a predict job, and for a rate of 0, the result is ``x`` itself.

    Args:
        x: float32 or float64.
        rate: probability that an element is dropped, from 0 to below 1.
        noise_shape: must be None.
        seed: of the sequence; needs a name. None: from ``flow.config.random_seed`` or Python's
            ``random``.
        name: name of the operation.

    Raises:
        ArgumentError: an argument cannot be used.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return flow.nn.dropout(x, 0.5)
        >>> job(np.ones(2, np.float32))
        array([1., 1.], dtype=float32)
    """
    if not 0 <= rate < 1:
        raise ArgumentError(f"nn.dropout: rate must be from 0 to below 1, not {rate!r}")
    if noise_shape is not None:
        raise ArgumentError("nn.dropout: noise_shape is not supported")
    if seed is not None and name is None:
        raise ArgumentError("nn.dropout: a seed needs a name")
    trace = current_trace("nn.dropout")
    if not trace.is_train_job or rate == 0:
        return x
    if name is None:
        name = trace.short_name("Dropout")
    mask = random_mask_like(x, rate, seed, name=f"{name}-dropout_random_mask_like")
    attributes: dict[str, Attribute] = {"scale": 1.0 / (1.0 - rate)}
    return trace.apply("dropout", [x, mask], attributes, name=name, prefix="Dropout")[0]
