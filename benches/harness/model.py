"""Models as data: a list of layers, what shapes flow between them, and their weights.

Layers follow each other, except where one names its ``input``; ``add`` adds the output of another
layer. Shapes are those of one sample, channels first: ``(784,)``, ``(64, 512)`` or ``(3, 32, 32)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One layer; all but ``dense``, ``conv`` and ``batch_norm`` have no weights.

    Attributes:
        kind: "dense" (flattens what comes in), "conv" (padded by half its size), "batch_norm"
            (over the batch, epsilon 1e-5), "max_pool" (windows that do not overlap), "mean" (over
            all positions) or "add".
        inputs: features or channels that come in.
        outputs: features or channels that go out.
        size: edge of the kernel or window.
        bias: whether the layer has a bias.
        relu: whether a relu follows.
        input: name of the layer whose output is the input; the layer before where there is none.
        other: for "add", name of the layer whose output is added.
    """

    kind: str
    name: str
    inputs: int = 0
    outputs: int = 0
    size: int = 0
    stride: int = 1
    bias: bool = True
    relu: bool = False
    input: str = ""
    other: str = ""


@dataclass(frozen=True)
class Placed:
    """A layer in its model: the shapes of a sample before and behind it."""

    layer: Layer
    before: Shape
    behind: Shape

    @property
    def weights(self) -> dict[str, Shape]:
        """The shapes of the variables, by the names that flowrs gives them."""
        layer = self.layer
        if layer.kind == "batch_norm":
            return {f"{layer.name}-gamma": self.before[:1], f"{layer.name}-beta": self.before[:1]}
        if layer.kind == "dense":
            weight: Shape = (layer.outputs, math.prod(self.before))
        elif layer.kind == "conv":
            weight = (layer.outputs, self.before[0], *[layer.size] * (len(self.before) - 1))
        else:
            return {}
        bias = {f"{layer.name}-bias": (layer.outputs,)} if layer.bias else {}
        return {f"{layer.name}-weight": weight, **bias}

    @property
    def product(self) -> int:
        """Floating-point operations of the matrix product of one sample, two per multiply-add."""
        weight = self.weights.get(f"{self.layer.name}-weight")
        if weight is None:
            return 0
        return 2 * math.prod(weight) * math.prod(self.behind[1:])


class ModelError(ValueError):
    """A layer does not fit where it stands."""


def place(layers: tuple[Layer, ...], sample: Shape) -> Iterator[Placed]:
    """Follows the shape of a sample through the layers.

    Raises:
        ModelError: a layer says that something else comes in than what does.
    """
    shapes: dict[str, Shape] = {}
    behind = sample
    for layer in layers:
        before = shapes[layer.input] if layer.input else behind
        found = math.prod(before) if layer.kind == "dense" else before[0]
        if layer.inputs not in (0, found):
            raise ModelError(f"{layer.name} takes {layer.inputs} inputs, and {found} come in")
        behind = shapes[layer.name] = _behind(layer, before)
        yield Placed(layer, before, behind)


def _behind(layer: Layer, before: Shape) -> Shape:
    if layer.kind == "dense":
        return (layer.outputs,)
    if layer.kind == "conv":
        return (layer.outputs, *(-(-size // layer.stride) for size in before[1:]))
    if layer.kind == "max_pool":
        return (before[0], *(size // layer.size for size in before[1:]))
    if layer.kind == "mean":
        return before[:1]
    if layer.kind in ("add", "batch_norm"):
        return before
    raise ModelError(f"{layer.name}: there is no layer of kind {layer.kind!r}")
