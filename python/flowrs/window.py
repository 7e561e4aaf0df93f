"""Windows that move over spatial axes: strides and paddings of convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowrs.errors import ArgumentError, ArgumentTypeError, ShapeError
from flowrs.trace import Attribute

#: A size for all spatial axes, or one for each.
Sizes = int | Sequence[int]
#: ``"VALID"``, ``"SAME"``..., or one entry per dimension: an int or a pair.
Padding = str | Sequence[int | Sequence[int]]

_FIRST = {1: "NCW", 2: "NCHW", 3: "NCDHW"}
_LAST = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


@dataclass(frozen=True)
class Layout:
    """The order of a blob's axes."""

    spatial: int
    channels_last: bool

    @staticmethod
    def parse(function: str, data_format: str, spatial: int) -> Layout:
        """The layout that a data format such as ``"NCHW"`` names."""
        if data_format == _FIRST[spatial]:
            return Layout(spatial, channels_last=False)
        if data_format == _LAST[spatial]:
            return Layout(spatial, channels_last=True)
        raise ArgumentError(
            f'{function}: data_format must be "{_FIRST[spatial]}" or "{_LAST[spatial]}", '
            f"not {data_format!r}"
        )

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return self.spatial + 1 if self.channels_last else 1

    @property
    def name(self) -> str:
        """What the graph calls it."""
        return "channels_last" if self.channels_last else "channels_first"

    def spatial_sizes(self, shape: Sequence[int]) -> list[int]:
        """The spatial sizes in a blob's or weight's shape."""
        return list(shape[1:-1] if self.channels_last else shape[2:])

    def spatial_entries(self, entries: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The entries of the spatial axes among one for each dimension."""
        return list(entries[1:-1] if self.channels_last else entries[2:])


def sizes(function: str, what: str, value: Sizes | None, spatial: int) -> list[int]:
    """One size for each spatial axis; None means 1.

    Raises:
        ArgumentError: the number of sizes is wrong, or one is not above 0.
    """
    if value is None:
        return [1] * spatial
    values = [value] if isinstance(value, int) else value
    if not isinstance(values, (list, tuple)) or any(type(size) is not int for size in values):
        raise ArgumentTypeError(
            f"{function}: {what} must be an int or a list of ints, not {value!r}"
        )
    listed = list(values) * spatial if len(values) == 1 else list(values)
    if len(listed) != spatial or any(size <= 0 for size in listed):
        raise ArgumentError(
            f"{function}: {what} must be {spatial} sizes above 0 (or one for all), not {value!r}"
        )
    return listed


@dataclass(frozen=True)
class Window:
    """A window of given size that moves over a blob's spatial axes."""

    layout: Layout
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]

    def attributes(self) -> dict[str, Attribute]:
        """What the graph is told, but for the dilations."""
        return {
            "strides": self.strides,
            "padding_before": self.before,
            "padding_after": self.after,
            "layout": self.layout.name,
        }

    def output(self, input_sizes: Sequence[int], window: Sequence[int]) -> list[int]:
        """The spatial sizes of the output."""
        extents = [(k - 1) * d + 1 for k, d in zip(window, self.dilations, strict=True)]
        return [
            (size + before + after - extent) // stride + 1
            for size, before, after, extent, stride in zip(
                input_sizes, self.before, self.after, extents, self.strides, strict=True
            )
        ]


def place(
    function: str,
    layout: Layout,
    input_sizes: Sequence[int],
    window: Sequence[int],
    strides: list[int],
    dilations: list[int],
    padding: Padding,
    ceil_mode: bool = False,
) -> Window:
    """Works out the padding of a window over spatial sizes.

    ``"SAME"`` (as ``"SAME_LOWER"``) puts the odd element in front, ``"SAME_UPPER"`` behind.

    Raises:
        ArgumentError: the padding is of no known form.
        ShapeError: the window does not fit.
    """
    extents = [(k - 1) * d + 1 for k, d in zip(window, dilations, strict=True)]
    if isinstance(padding, str):
        pairs = _named(function, padding, input_sizes, extents, strides)
    elif isinstance(padding, (list, tuple)):
        pairs = layout.spatial_entries(_listed(function, padding, layout))
    else:
        raise ArgumentError(f"{function}: padding must be str or a list, not {padding!r}")
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for axis, (size, extent, stride) in enumerate(zip(input_sizes, extents, strides, strict=True)):
        room = size + before[axis] + after[axis] - extent
        if room < 0:
            raise ShapeError(
                f"{function}: a window of {extent} does not fit into {size} with padding "
                f"{before[axis]} and {after[axis]} along spatial axis {axis}"
            )
        if ceil_mode and not isinstance(padding, str):
            after[axis] += -room % stride
    return Window(layout, strides, dilations, before, after)


def _named(
    function: str,
    padding: str,
    input_sizes: Sequence[int],
    extents: Sequence[int],
    strides: Sequence[int],
) -> list[tuple[int, int]]:
    name = padding.upper()
    if name == "VALID":
        return [(0, 0)] * len(extents)
    if name not in ("SAME", "SAME_LOWER", "SAME_UPPER"):
        raise ArgumentError(
            f'{function}: padding must be "VALID", "SAME", "SAME_LOWER", "SAME_UPPER" or a list, '
            f"not {padding!r}"
        )
    pairs = []
    for size, extent, stride in zip(input_sizes, extents, strides, strict=True):
        need = max(0, (-(-size // stride) - 1) * stride + extent - size)
        less, more = need // 2, need - need // 2
        pairs.append((less, more) if name == "SAME_UPPER" else (more, less))
    return pairs


def _listed(
    function: str, padding: Sequence[int | Sequence[int]], layout: Layout
) -> list[tuple[int, int]]:
    dimensions = layout.spatial + 2
    pairs = []
    for entry in padding:
        pair = (entry, entry) if isinstance(entry, int) else tuple(entry)
        if len(pair) != 2 or any(type(size) is not int or size < 0 for size in pair):
            raise ArgumentError(
                f"{function}: an entry of padding must be an int or a pair of ints from 0 on, "
                f"not {entry!r}"
            )
        pairs.append(pair)
    channel = layout.channel_axis
    if len(pairs) != dimensions or pairs[0] != (0, 0) or pairs[channel] != (0, 0):
        raise ArgumentError(
            f"{function}: padding must have {dimensions} entries, those of batch and channels 0, "
            f"found {padding!r}"
        )
    return pairs
