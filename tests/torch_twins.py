"""Rows of the op table and PyTorch's functions for them: what test_against_torch.py compares.

A twin is a row and a function of tensors. Rows without arguments find theirs by the first word of
their name; convolutions and pools by the geometry of the row; what else takes arguments has rows of
its own here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from op_rows.draws import distribution, labels
from op_rows.nn import POOLS, Convolution, Pool
from op_table import FLOATS, TABLE, Array, Draw, Input, Row, Shape, normal

import flowrs as flow

Tensor = Any
Function = Callable[..., Tensor]
Twin = tuple[Row, Function]

BY_NAME: dict[str, Function] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "squared_difference": lambda x, y: (x - y) ** 2,
    "atan2": torch.atan2,
    "xlogy": torch.xlogy,
    "relu": torch.relu,
    "math.relu": torch.relu,
    "negative": torch.neg,
    "gelu": F.gelu,
    "relu6": F.relu6,
    "mish": F.mish,
    "softplus": F.softplus,
    "log_sigmoid": F.logsigmoid,
    "sigmoid": torch.sigmoid,
    "sigmoid_v2": torch.sigmoid,
    "tanh_v2": torch.tanh,
    "rint": torch.round,
    "erfc": torch.erfc,
    "prelu": lambda x, alpha: torch.where(x > 0, x, alpha * x),
    **{
        name: getattr(torch, name)
        for name in """
            abs acos acosh asin asinh atan atanh ceil cos cosh erf exp expm1 floor lgamma log log1p
            reciprocal rsqrt sign sin sinh sqrt square tan tanh
        """.split()
    },
}


# --- Rows of the op table ----------------------------------------------------------------------


def spatial_padding(pads: list[tuple[int, int]]) -> list[int]:
    """The form in which PyTorch wants padding: the last axis first."""
    return [size for pair in reversed(pads) for size in pair]


def convolution_twin(case: Convolution) -> Function:
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[case.spatial]

    def function(x: Tensor, w: Tensor) -> Tensor:
        x = F.pad(channels_first(x, case), spatial_padding(case.pads))
        w = channels_first(w, case)
        y = convolve(x, w, None, case.strides, 0, case.dilations, case.groups)
        return channels_behind(y, case)

    return function


def pool_twin(case: Pool, average: bool) -> Function:
    """A pool without padding over an input that was padded, as far as the windows reach."""
    maximum = {2: F.max_pool2d, 3: F.max_pool3d}[case.spatial]
    mean = {2: F.avg_pool2d, 3: F.avg_pool3d}[case.spatial]

    def function(x: Tensor) -> Tensor:
        x = channels_first(x, case)
        reach = [
            (before, (outputs - 1) * stride + window - size - before)
            for (before, _), outputs, stride, window, size in zip(
                case.pads, case.outputs, case.strides, case.window, x.shape[2:], strict=True
            )
        ]
        pads = spatial_padding(reach)
        if not average:
            y = maximum(F.pad(x, pads, value=-torch.inf), case.window, case.strides)
        else:
            inside = mean(F.pad(torch.ones_like(x), pads), case.window, case.strides)
            y = mean(F.pad(x, pads), case.window, case.strides) / inside
        return channels_behind(y, case)

    return function


def channels_first(x: Tensor, case: Convolution | Pool) -> Tensor:
    return x.movedim(-1, 1) if case.channels_last else x


def channels_behind(x: Tensor, case: Convolution | Pool) -> Tensor:
    return x.movedim(1, -1) if case.channels_last else x


#: Rows at places without a gradient, or that call an operation otherwise than others do.
SPECIAL = ("extreme", "at-kinks", "at-zero", "by-itself", "in-the-gradient")


def rows_of_the_table() -> Iterator[Twin]:
    pools = {pool_label(case): case for case in POOLS}
    for row in TABLE:
        word, _, rest = row.name.partition("-")
        if row.dtypes != FLOATS or rest in SPECIAL:
            continue
        if word in BY_NAME:
            yield row, BY_NAME[word]
        elif isinstance(row.reference, Convolution):
            yield row, convolution_twin(row.reference)
        elif word in ("max_pool", "avg_pool"):
            yield row, pool_twin(pools[rest.removeprefix("ties-")], word == "avg_pool")


def pool_label(case: Pool) -> str:
    """What the name of a pool's row ends with."""
    shape = "x".join(map(str, case.x))
    window, strides, padding, data_format, ceil_mode = case.arguments
    return f"{data_format}-{shape}-k{window}-s{strides}-{padding}-{ceil_mode}".replace(" ", "")


# --- Rows of operations with arguments ---------------------------------------------------------

TwoFunctions = tuple[str, Function, Function]

UNARY: list[TwoFunctions] = [
    ("leaky_relu", lambda x: flow.nn.leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0.2)),
    ("elu", lambda x: flow.nn.elu(x, 1.5), lambda x: F.elu(x, 1.5)),
    ("hardtanh", flow.nn.hardtanh, F.hardtanh),
    # F.hardsigmoid multiplies by a sixth in float32.
    ("hardsigmoid", flow.nn.hardsigmoid, lambda x: F.relu6(x + 3) / 6),
    ("hardswish", flow.nn.hardswish, F.hardswish),
    ("swish", flow.nn.swish, F.silu),
    ("softmax", lambda x: flow.nn.softmax(x, 1), lambda x: torch.softmax(x, 1)),
    ("logsoftmax", lambda x: flow.nn.logsoftmax(x, -1), lambda x: torch.log_softmax(x, -1)),
    ("sum", lambda x: flow.math.reduce_sum(x, [0, 2]), lambda x: x.sum((0, 2))),
    ("mean", lambda x: flow.math.reduce_mean(x, 1, True), lambda x: x.mean(1, keepdim=True)),
    ("max", lambda x: flow.math.reduce_max(x, [1, 3]), lambda x: x.amax((1, 3))),
    ("min", lambda x: flow.math.reduce_min(x, 2), lambda x: x.amin(2)),
    ("prod", lambda x: flow.math.reduce_prod(x, 1), lambda x: x.prod(1)),
    ("std", lambda x: flow.math.reduce_std(x, 1), lambda x: x.std(1, correction=0)),
    ("variance", lambda x: flow.math.reduce_variance(x, 1), lambda x: x.var(1, correction=0)),
    ("norm", lambda x: flow.math.reduce_euclidean_norm(x, [1, 2]), lambda x: x.norm(dim=(1, 2))),
    (
        "logsumexp",
        lambda x: flow.math.reduce_logsumexp(x, [1, 2]),
        lambda x: x.logsumexp((1, 2)),
    ),
    (
        "l2_normalize",
        lambda x: flow.math.l2_normalize(x, axis=1, epsilon=1e-10),
        lambda x: F.normalize(x, dim=1),
    ),
    ("transpose", lambda x: flow.transpose(x, [2, 0, 3, 1]), lambda x: x.permute(2, 0, 3, 1)),
    ("reverse", lambda x: flow.reverse(x, [0, -1]), lambda x: x.flip((0, -1))),
    ("clip", lambda x: flow.clip(x, -0.5, 0.7), lambda x: x.clamp(-0.5, 0.7)),
    ("tril", lambda x: flow.math.tril(x, 1), lambda x: x.tril(1)),
    (
        "layer_norm",
        lambda x: flow.nn.layer_norm(x, begin_norm_axis=2),
        lambda x: F.layer_norm(x, x.shape[2:]),
    ),
    (
        "GroupNorm",
        lambda x: flow.nn.GroupNorm(x, 2, affine=False),
        lambda x: F.group_norm(x, 2),
    ),
    (
        "InstanceNorm2d",
        lambda x: flow.nn.InstanceNorm2d(x, affine=False),
        F.instance_norm,
    ),
    (
        "reflection_pad2d",
        lambda x: flow.reflection_pad2d(x, [1, 2, 2, 1]),
        lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"),
    ),
    (
        "replication_pad2d",
        lambda x: flow.replication_pad2d(x, [1, 2, 0, 3]),
        lambda x: F.pad(x, (1, 2, 0, 3), mode="replicate"),
    ),
    (
        "upsample_bilinear",
        lambda x: flow.layers.upsample_2d(x, (2, 3), interpolation="bilinear"),
        lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear"),
    ),
    (
        "upsample_nearest",
        lambda x: flow.layers.upsample_2d(x, (3, 2)),
        lambda x: F.interpolate(x, scale_factor=(3, 2), mode="nearest"),
    ),
    (
        "PixelShuffle",
        lambda x: flow.nn.PixelShuffle(x, 2),
        lambda x: F.pixel_shuffle(x, 2),
    ),
]


def kl_div(x: Tensor, target: Tensor, reduction: str) -> Tensor:
    """PyTorch's, without the warning of its own mean."""
    loss = F.kl_div(x, target, reduction="none")
    return {"none": lambda: loss, "mean": loss.mean, "sum": loss.sum}[reduction]()


LOSSES: list[tuple[str, Draw, Draw, Function, Function]] = [
    ("MSELoss", normal, normal, flow.nn.MSELoss, F.mse_loss),
    ("L1Loss", normal, normal, flow.nn.L1Loss, F.l1_loss),
    ("BCELoss", distribution, distribution, flow.nn.BCELoss, F.binary_cross_entropy),
    (
        "BCEWithLogitsLoss",
        normal,
        distribution,
        flow.nn.BCEWithLogitsLoss,
        F.binary_cross_entropy_with_logits,
    ),
    ("KLDivLoss", normal, distribution, flow.nn.KLDivLoss, kl_div),
]


def sides(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Which of two is larger: 1 or -1."""
    return rng.choice(np.array([-1, 1], dtype), size=shape)


def own_rows() -> Iterator[Twin]:
    for name, ours, theirs in UNARY:
        yield twin_row(name, (Input((4, 4, 5, 6)),), ours, theirs)
    for name, draw, target, ours, theirs in LOSSES:
        inputs = (Input((6, 9), draw), Input((6, 9), target, differentiable=False))
        for reduction in ("none", "mean", "sum"):
            yield twin_row(
                f"{name}-{reduction}",
                inputs,
                lambda x, y, f=ours, how=reduction: f(x, y, reduction=how),
                lambda x, y, f=theirs, how=reduction: f(x, y, reduction=how),
            )
    pair = (Input((6, 5)), Input((6, 5)))
    yield twin_row(
        "BCEWithLogitsLoss-pos_weight",
        (Input((6, 5)), *[Input((6, 5), distribution, differentiable=False)] * 2),
        lambda x, y, w: flow.nn.BCEWithLogitsLoss(x, y, pos_weight=w),
        lambda x, y, w: F.binary_cross_entropy_with_logits(x, y, pos_weight=w),
    )
    yield twin_row(
        "smooth_l1_loss",
        (Input((6, 5)), Input((6, 5), differentiable=False)),
        lambda x, y: flow.smooth_l1_loss(x, y, beta=0.5),
        lambda x, y: F.smooth_l1_loss(x, y, beta=0.5, reduction="none"),
    )
    yield twin_row(
        "MarginRankingLoss",
        (*pair, Input((6, 5), sides, differentiable=False)),
        lambda a, b, t: flow.nn.MarginRankingLoss(a, b, t, margin=0.3),
        lambda a, b, t: F.margin_ranking_loss(a, b, t, margin=0.3),
    )
    yield twin_row(
        "TripletMarginLoss",
        (*pair, Input((6, 5))),
        lambda a, b, c: flow.nn.TripletMarginLoss(a, b, c, p=3.0),
        lambda a, b, c: F.triplet_margin_loss(a, b, c, p=3.0),
    )
    label = Input((7,), labels(9), dtype="int32")
    yield twin_row(
        "sparse_softmax_cross_entropy",
        (label, Input((7, 9))),
        lambda y, x: flow.nn.sparse_softmax_cross_entropy_with_logits(y, x),
        lambda y, x: F.cross_entropy(x, y.long(), reduction="none"),
    )
    yield twin_row(
        "gather",
        (Input((9, 4)), label),
        flow.gather,
        lambda x, y: F.embedding(y.long(), x),
    )
    yield twin_row("linear", (Input((5, 8)), Input((8, 3))), flow.matmul, torch.matmul)
    yield twin_row(
        "conv2d_transpose",
        (Input((2, 3, 5, 6)), Input((3, 4, 3, 3))),
        lambda x, w: flow.nn.conv2d_transpose(x, w, [2, 4, 9, 11], 2, [0, 0, 1, 1]),
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1),
    )


def twin_row(name: str, inputs: tuple[Input, ...], ours: Function, theirs: Function) -> Twin:
    """A row whose reference is PyTorch."""

    def reference(*arrays: Any) -> Any:
        return theirs(*map(torch.from_numpy, arrays)).numpy()

    return Row(f"{name}-with-arguments", ours, inputs, reference, ()), theirs


TWINS: list[Twin] = [*rows_of_the_table(), *own_rows()]
