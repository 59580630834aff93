"""Just enough SVG for a plot: a panel with axes, and labels that keep out of each other's way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, product
from math import ceil, dist, floor, log10

Place = tuple[float, float]
"""In pixels, from the upper left."""
FONT = "font-family='DejaVu Sans, Verdana, Helvetica, Arial, sans-serif'"
GLYPH = 0.6
"""Mean width of a letter, in font sizes."""
INK, GREY, PALE = "#222222", "#666666", "#e6e6e6"
REACH = (8, 16, 28, 42, 58)
"""How far from its point a label may stand."""


def text(place: Place, words: str, *, size: float = 11, colour: str = INK, anchor: str = "start", turn: int = 0) -> str:
    x, y = place
    turned = f" transform='rotate({turn} {x:.1f} {y:.1f})'" if turn else ""
    style = f"x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}'{turned}"
    # The halo is a text of its own below: renderers that do not know paint-order would draw it above the letters.
    halo = f"<text aria-hidden='true' {style} fill='white' stroke='white' stroke-width='3'>{escape(words)}</text>"
    return f"<g>{halo}<text {style} fill='{colour}'>{escape(words)}</text></g>"


def line(places: Iterable[Place], *, colour: str, width: float = 1.5, dash: str = "") -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashed = f" stroke-dasharray='{dash}'" if dash else ""
    return f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='{width}'{dashed}/>"


def area(places: Iterable[Place], *, colour: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f"<polygon points='{points}' fill='{colour}' fill-opacity='0.15'/>"


MARKS: Sequence[Sequence[Place]] = (
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.3), (1.2, 1), (-1.2, 1)),
    ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
    ((0, 1.3), (1.2, -1), (-1.2, -1)),
)
"""Square, triangle, diamond, triangle upside down."""


def mark(place: Place, *, shape: int, colour: str, size: float = 4.0, edge: str = "white") -> str:
    """Shape 0 is a circle, the next ones are MARKS."""
    x, y = place
    style = f"fill='{colour}' stroke='{edge}' stroke-width='1'"
    if shape % (len(MARKS) + 1) == 0:
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{size}' {style}/>"
    corners = MARKS[shape % (len(MARKS) + 1) - 1]
    points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
    return f"<polygon points='{points}' {style}/>"


# ------------------------------------------------------------------ panels


@dataclass(frozen=True, slots=True)
class Panel:
    """A rectangle of pixels that stands for a range of x and y."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False
    """The axis of x."""

    def at(self, x: float, y: float) -> Place:
        low, high, x = (log10(v) for v in (*self.x, x)) if self.log else (*self.x, x)
        across = (x - low) / (high - low)
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * self.width, self.top + (1 - up) * self.height

    def through(self, points: Iterable[Place]) -> list[Place]:
        return [self.at(x, y) for x, y in points]

    def axes(self, title: str, *, x: str, y: str) -> list[str]:
        """Title, grid, ticks and names."""
        bottom, middle = self.top + self.height, self.left + self.width / 2
        parts = [text((self.left, self.top - 12), title, size=13)]
        for tick in decades(*self.x) if self.log else steps(*self.x):
            across = self.at(tick, self.y[0])[0]
            parts.append(line([(across, self.top), (across, bottom)], colour=PALE, width=1))
            parts.append(text((across, bottom + 16), f"{tick:,.10g}", anchor="middle", colour=GREY))
        for tick in steps(*self.y):
            up = self.at(self.x[0], tick)[1]
            parts.append(line([(self.left, up), (self.left + self.width, up)], colour=PALE, width=1))
            parts.append(text((self.left - 7, up + 4), f"{tick:,.10g}", anchor="end", colour=GREY))
        frame = [(self.left, self.top), (self.left, bottom), (self.left + self.width, bottom)]
        parts.append(line(frame, colour=GREY, width=1))
        parts.append(text((middle, bottom + 36), x, anchor="middle"))
        parts.append(text((self.left - 48, self.top + self.height / 2), y, anchor="middle", turn=-90))
        return parts


def steps(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers in a range, at equal distances of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return [round(i * step, 12) + 0.0 for i in range(ceil(low / step), floor(high / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Round numbers in a range, at distances that look alike on a logarithmic axis."""
    if high < 5 * low:
        return steps(low, high)
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for multiples in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**p for p in powers for m in multiples if low <= m * 10.0**p <= high]
        if len(found) <= 9:
            return found
    return found[:: ceil(len(found) / 9)]


# ------------------------------------------------------------------ labels


@dataclass(frozen=True, slots=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """In square pixels."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(across, 0.0) * max(down, 0.0)

    def nearest(self, place: Place) -> Place:
        return min(max(place[0], self.left), self.right), min(max(place[1], self.top), self.bottom)


def labels(panel: Panel, named: Sequence[tuple[str, Place]], *, full: Iterable[Box], size: float = 10) -> list[str]:
    """A label beside each place, where it covers least: no other label if it can be, and little of what is `full`."""
    frame = Box(panel.left + 2, panel.top - 4, panel.left + panel.width + 4, panel.top + panel.height - 2)
    crowd = [*full, *(around(place, 6) for _, place in named)]
    taken: list[Box] = []
    parts: list[str] = []
    for words, place in sorted(named, key=lambda item: item[1]):
        others = [other for _, other in named if other != place]
        choices = list(_around(place, words, size))
        costs = [_cost(box, far, frame, taken, crowd) + _misleading(place, box, others) for far, box in choices]
        far, box = choices[costs.index(min(costs))]
        taken.append(box)
        if far > REACH[0]:
            parts.append(line([place, box.nearest(place)], colour="#aaaaaa", width=0.8))
        parts.append(text((box.left, box.bottom - size * 0.25), words, size=size))
    return parts


def along(places: Sequence[Place]) -> Iterable[Box]:
    """What a line through these places covers."""
    for (x0, y0), (x1, y1) in pairwise(places):
        count = ceil(dist((x0, y0), (x1, y1)) / 4) or 1
        yield from (around((x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count), 2) for i in range(count))


def around(place: Place, reach: float) -> Box:
    return Box(place[0] - reach, place[1] - reach, place[0] + reach, place[1] + reach)


def _around(place: Place, words: str, size: float) -> Iterable[tuple[int, Box]]:
    width, height = GLYPH * size * len(words), size * 1.2
    for far, (across, down) in product(REACH, ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))):
        left = place[0] + far * across - width * (1 - across) / 2
        top = place[1] + far * down - height * (1 - down) / 2
        yield far, Box(left, top, left + width, top + height)


def _cost(box: Box, far: int, frame: Box, taken: Iterable[Box], crowd: Iterable[Box]) -> float:
    outside = (box.right - box.left) * (box.bottom - box.top) - box.overlap(frame)
    return 100 * (outside + sum(map(box.overlap, taken))) + sum(map(box.overlap, crowd)) + 8 * far


def _misleading(place: Place, box: Box, others: Iterable[Place]) -> float:
    """A label must be nearer to its own place than to any other."""
    own = dist(place, box.nearest(place))
    return sum(2000.0 for other in others if dist(other, box.nearest(other)) <= own + 2)
