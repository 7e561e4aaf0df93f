"""Draws the roofline as SVG: two logarithmic axes, numbered points, and a list of what they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from harness.roofline import Roof, Track

WIDTH, HEIGHT = 1180, 780
LEFT, RIGHT, TOP, BOTTOM = 70, 290, 56, 60

#: Height of a number, and the width of a digit, which is rather too wide than too narrow.
LINE, DIGIT = 14, 7.0

#: What the kinds of tracks are called in the list, in its order.
KINDS = {"infer": "inference", "train": "training steps", "operation": "single operations"}

#: Radius of a point.
DOT = 4.5

_STYLE = """
svg { --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --grid: #e3e7eb; --roof: #1f2328;
      --operation: #0b6bcb; --train: #c2410c; --infer: #1a7f37; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --ink: #e6edf3; --soft: #9da7b3; --grid: #262c36; --roof: #e6edf3;
        --operation: #58a6ff; --train: #f0883e; --infer: #3fb950; } }
text { font-size: 11.5px; fill: var(--ink);
       font-family: "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
.title { font-size: 17px; font-weight: 600; } .kind { font-weight: 600; }
.soft { fill: var(--soft); }
.paper { fill: var(--paper); } .grid { stroke: var(--grid); }
.roof { stroke: var(--roof); stroke-width: 2; fill: none; }
.leader { stroke: var(--soft); stroke-width: .7; }
.operation { fill: var(--operation); stroke: var(--operation); }
.train { fill: var(--train); stroke: var(--train); }
.infer { fill: var(--infer); stroke: var(--infer); }
.path { fill: none; stroke-width: 1.5; opacity: .6; }
.dot { stroke: var(--paper); stroke-width: 1; }
"""


Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle that something covers."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a point in common."""
        apart_x = self.right <= other.left or other.right <= self.left
        return not (apart_x or self.bottom <= other.top or other.bottom <= self.top)

    def nearest(self, point: Point) -> Point:
        """The place in it that is nearest to a point."""
        x, y = point
        return (min(max(x, self.left), self.right), min(max(y, self.top), self.bottom))

    def lies_inside(self) -> bool:
        """Whether it lies between the axes."""
        across = self.left > LEFT + 4 and self.right < WIDTH - RIGHT
        return across and self.top > TOP and self.bottom < HEIGHT - BOTTOM - 2


class Axes:
    """From FLOPs a byte and FLOP/s to places in the picture."""

    def __init__(self, points: list[Point], roof: Roof) -> None:
        ridge = roof.flops / roof.bandwidth
        xs = [x for x, _ in points] + [ridge / 30, ridge * 10]
        ys = [y for _, y in points] + [roof.flops * 2.2]
        # Room for labels at both ends.
        self.x = (math.log10(min(xs) / 1.3), math.log10(max(xs) * 2.5))
        self.y = (math.log10(min(ys) / 1.6), math.log10(max(ys) * 1.15))

    def place(self, x: float, y: float) -> Point:
        """Where a point lies."""
        (left, right), (low, high) = self.x, self.y
        across = (math.log10(x) - left) / (right - left)
        up = (math.log10(y) - low) / (high - low)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )


def draw(roof: Roof, tracks: list[Track], processor: str) -> str:
    """The picture as a document of its own."""
    tracks = [track for kind in KINDS for track in tracks if track.kind == kind]
    axes = Axes([point for track in tracks for point in track.points], roof)
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    title = "flowrs: what operations and models reach, and what the machine could do"
    shown = (
        f"{processor}, {roof.threads} threads; the roof is a copy's {roof.bandwidth / 1e9:.0f} "
        f"GB/s and {roof.flops / 1e9:,.0f} GFLOP/s of multiply-adds in registers"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="26">{title}</text>',
        f'<text class="soft" x="{LEFT}" y="44">{escape(shown)}</text>',
        *_grid(axes),
        _roof(axes, roof),
        *_points(axes, tracks),
        *_numbers(axes, roof, tracks),
        *_list(tracks),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _list(tracks: list[Track]) -> list[str]:
    """What the numbers stand for, kind by kind, beside the axes."""
    lines, x, y = [], WIDTH - RIGHT + 26, TOP + 6.0
    step = min(18.0, (HEIGHT - TOP - 20) / (len(tracks) + 2 * len(KINDS)))
    for number, track in enumerate(tracks, 1):
        if number == 1 or track.kind != tracks[number - 2].kind:
            y += step if number > 1 else 0
            lines.append(f'<circle class="{track.kind} dot" cx="{x - 4}" cy="{y:.1f}" r="{DOT}"/>')
            lines.append(
                f'<text class="kind" x="{x + 6}" y="{y + 4:.1f}">{KINDS[track.kind]}</text>'
            )
            y += step
        lines.append(f'<text x="{x + 12}" y="{y + 4:.1f}" text-anchor="end">{number}</text>')
        lines.append(f'<text x="{x + 20}" y="{y + 4:.1f}">{escape(track.label)}</text>')
        y += step
    return lines


def _grid(axes: Axes) -> list[str]:
    lines = []
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in _ticks(*axes.x):
        x, _ = axes.place(tick, 10 ** axes.y[0])
        lines.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>')
        lines.append(
            f'<text class="soft" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        )
    for tick in _ticks(*axes.y):
        _, y = axes.place(10 ** axes.x[0], tick)
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        lines.append(
            f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{tick / 1e9:g}</text>"
        )
    middle = (LEFT + right) / 2
    lines.append(
        f'<text x="{middle}" y="{HEIGHT - 16}" text-anchor="middle">'
        "FLOPs of the plain formula for each byte that must be read or written</text>"
    )
    lines.append(
        f'<text transform="translate(20 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        "GFLOP/s of the plain formula</text>"
    )
    return lines


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two exponents; only those where there are many."""
    steps = (1, 2, 5) if high - low < 3.2 else (1,)
    exponents = range(math.floor(low), math.ceil(high) + 1)
    ticks = [step * 10.0**exponent for exponent in exponents for step in steps]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _roof_corners(axes: Axes, roof: Roof) -> list[Point]:
    """Where the roof begins, bends and ends."""
    left = max(10 ** axes.x[0], 10 ** axes.y[0] / roof.bandwidth)
    xs = (left, roof.flops / roof.bandwidth, 10 ** axes.x[1])
    return [axes.place(x, roof.at(x)) for x in xs]


def _roof(axes: Axes, roof: Roof) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in _roof_corners(axes, roof))
    return f'<path class="roof" d="M{path}"/>'


def _points(axes: Axes, tracks: list[Track]) -> list[str]:
    lines = []
    for track in tracks:
        places = [axes.place(*point) for point in track.points]
        if len(places) > 1:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            lines.append(f'<path class="{track.kind} path" d="M{path}"/>')
        lines += [
            f'<circle class="{track.kind} dot" cx="{x:.1f}" cy="{y:.1f}" r="{DOT}"/>'
            for x, y in places
        ]
    return lines


def _numbers(axes: Axes, roof: Roof, tracks: list[Track]) -> list[str]:
    """Each track's number in the nearest free place around the last of its points."""
    points = [axes.place(*point) for track in tracks for point in track.points]
    taken = [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points]
    taken += _along(_roof_corners(axes, roof))
    for track in tracks:
        taken += _along([axes.place(*point) for point in track.points])
    lines = []
    for number, track in enumerate(tracks, 1):
        point = axes.place(*track.points[-1])
        box = _free_place(point, len(str(number)) * DIGIT, taken)
        taken.append(box)
        x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        if math.dist(point, (x, y)) > 2.5 * LINE:
            leader = [point, box.nearest(point)]
            taken += _along(leader)
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in leader)
            lines.append(f'<path class="leader" d="M{path}"/>')
        lines.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{number}</text>')
    return lines


def _free_place(point: Point, width: float, taken: list[Box]) -> Box:
    """The nearest place around a point that meets nothing; at worst the one to its right."""
    x, y = point
    for distance in range(0, 300, 3):
        for turn in range(24):
            # To the right first, then away from there on both sides.
            angle = (turn + 1) // 2 * (1 if turn % 2 else -1) * math.tau / 24
            across, down = math.cos(angle), math.sin(angle)
            left = x + across * (DOT + 3 + distance) - width * (1 - across) / 2
            top = y + down * (DOT + 1 + distance) - LINE * (1 - down) / 2
            box = Box(left, top, left + width, top + LINE)
            if box.lies_inside() and not any(box.meets(other) for other in taken):
                return box
    return Box(x + DOT + 2, y - LINE / 2, x + DOT + 2 + width, y + LINE / 2)


def _along(corners: list[Point]) -> list[Box]:
    """Small boxes that cover a line."""
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        count = max(int(math.dist((x0, y0), (x1, y1)) / 4), 1)
        for step in range(count + 1):
            x, y = x0 + (x1 - x0) * step / count, y0 + (y1 - y0) * step / count
            boxes.append(Box(x - 2, y - 2, x + 2, y + 2))
    return boxes
