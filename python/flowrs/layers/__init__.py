"""``flow.layers``: operations that bring their variables along."""

from __future__ import annotations

from flowrs.images import upsample_2d
from flowrs.layers.convolution import conv1d, conv2d, conv3d
from flowrs.layers.dense import dense
from flowrs.layers.normalization import (
    batch_normalization,
    batch_normalization_add_relu,
    batch_normalization_relu,
    layer_norm,
)
from flowrs.layers.prelu import prelu

__all__ = [
    "batch_normalization",
    "batch_normalization_add_relu",
    "batch_normalization_relu",
    "conv1d",
    "conv2d",
    "conv3d",
    "dense",
    "layer_norm",
    "prelu",
    "upsample_2d",
]
