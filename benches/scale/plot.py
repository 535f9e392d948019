"""The plot: calls a second over nodes, a panel for each API, both axes logarithmic."""

import math
from collections.abc import Iterable
from html import escape

import aws
from report import OFFICIAL, Column, Report, number

WIDTH, HEIGHT = 960, 780
PANEL_WIDTH, PANEL_HEIGHT = 390, 270
LEFT, TOP = 66, 92
GAP_ACROSS, GAP_DOWN = 90, 94
LEAST, MOST = 0.01, 100_000
"""Calls a second at the ends of the axis."""

# Colours that stand out from white and from black; the dashes tell the lines apart without them.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.small { font-size: 11px }
.grid { stroke: #8c959f; stroke-opacity: .3 }
.frame { fill: none; stroke: #8c959f }
.quota { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 2 4 }
.quota-text { fill: #cf222e; font-size: 11px }
.line { fill: none; stroke-width: 2.2 }
.c0 { stroke: #d4711c; color: #d4711c }
.c1 { stroke: #2f81f7; color: #2f81f7; stroke-dasharray: 7 3 }
.c2 { stroke: #2da44e; color: #2da44e; stroke-dasharray: 3 3 }
.c3 { stroke: #a371f7; color: #a371f7; stroke-dasharray: 10 3 2 3 }
.dot { stroke: none; fill: currentColor }
.ring { fill: none; stroke: currentColor; stroke-width: 1.4; stroke-dasharray: none }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quota { stroke: #ff7b72 } .quota-text { fill: #ff7b72 } }
"""

Point = tuple[float, float]


def plot(report: Report) -> str:
    panels = [aws.GET_SECRET_VALUE, aws.GET_PARAMETERS, aws.ASSUME_ROLE, aws.BATCH_GET_SECRET_VALUE]
    parts = [legend(report)]
    for place, api in enumerate(panels):
        x = LEFT + place % 2 * (PANEL_WIDTH + GAP_ACROSS)
        y = TOP + place // 2 * (PANEL_HEIGHT + GAP_DOWN)
        parts.append(f'<g transform="translate({x} {y})">\n{Panel(report, api).draw()}\n</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Calls a second by API over the nodes of a fleet, against the quotas of AWS">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


class Panel:
    """One API: lines for the mean of an hour, rings for the highest ten seconds while nodes are replaced."""

    def __init__(self, report: Report, api: aws.Api) -> None:
        self.report = report
        self.api = api
        self.first, self.last = min(report.sizes), max(report.sizes)

    def draw(self) -> str:
        parts = [*self.axes(), *self.quotas()]
        for column in self.report.columns_of(self.api):
            parts += self.line(column)
        return "\n".join(parts)

    def x(self, nodes: float) -> float:
        return PANEL_WIDTH * along(nodes, self.first, self.last)

    def y(self, calls: float) -> float:
        return PANEL_HEIGHT * (1 - along(calls, LEAST, MOST))

    def axes(self) -> Iterable[str]:
        title = self.api.name + (" instead of GetSecretValue" if self.api is aws.BATCH_GET_SECRET_VALUE else "")
        yield text(0, -12, title, "title")
        for exponent in range(round(math.log10(LEAST)), round(math.log10(MOST)) + 1):
            calls = 10.0**exponent
            yield stroke((0, self.y(calls)), (PANEL_WIDTH, self.y(calls)), "grid")
            yield text(-7, self.y(calls) + 4, number(calls), "small", "end")
        for nodes in self.report.sizes:
            yield stroke((self.x(nodes), 0), (self.x(nodes), PANEL_HEIGHT), "grid")
            yield text(self.x(nodes), PANEL_HEIGHT + 16, number(nodes), "small", "middle")
        yield f'<rect class="frame" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}"/>'
        yield text(PANEL_WIDTH / 2, PANEL_HEIGHT + 36, "nodes", "small", "middle")
        label = text(0, 0, "calls a second", "small", "middle")
        yield f'<g transform="translate(-50 {PANEL_HEIGHT / 2:.0f}) rotate(-90)">{label}</g>'

    def quotas(self) -> Iterable[str]:
        quotas = {"quota": self.api.quota}
        if self.api is aws.GET_PARAMETERS:
            quotas["with higher throughput"] = aws.HIGHER_THROUGHPUT
        if self.api is aws.ASSUME_ROLE:
            quotas = {"quota of signed calls": self.api.quota}
        for name, calls in quotas.items():
            yield stroke((0, self.y(calls)), (PANEL_WIDTH, self.y(calls)), "quota")
            yield text(6, self.y(calls) - 5, f"{name}: {number(calls)}", "quota-text")

    def line(self, column: Column) -> Iterable[str]:
        colour = f"c{colour_of(self.report, column)}"
        usual = [(nodes, self.report.in_an_hour(self.api, column, nodes).mean) for nodes in self.report.sizes]
        points = [(self.x(nodes), self.y(calls)) for nodes, calls in usual]
        yield f'<polyline class="line {colour}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
        for x, y in points:
            yield f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        for nodes in self.report.sizes:
            ten = self.report.in_a_wave(self.api, column, nodes).ten
            yield f'<circle class="ring {colour}" cx="{self.x(nodes):.1f}" cy="{self.y(ten):.1f}" r="4.5"/>'


def legend(report: Report) -> str:
    parts = []
    x = LEFT
    for column in report.columns:
        colour = f"c{colour_of(report, column)}"
        parts.append(f'<polyline class="line {colour}" points="{x},22 {x + 34},22"/>')
        parts.append(text(x + 42, 26, column.title))
        x += 68 + 8 * len(column.title)
    parts.append(f'<circle class="dot c0" cx="{LEFT + 17}" cy="48" r="2.6"/>')
    parts.append(text(LEFT + 42, 52, "lines: mean of an hour", "small"))
    parts.append(f'<circle class="ring c0" cx="{LEFT + 217}" cy="48" r="4.5"/>')
    parts.append(text(LEFT + 232, 52, "rings: highest ten seconds while nodes are replaced", "small"))
    return "\n".join(parts)


def colour_of(report: Report, column: Column) -> int:
    """The same for a placement, whether batched or not."""
    return 0 if column.provider == OFFICIAL else 1 + report.placements.index(column.together) % 3


def along(value: float, first: float, last: float) -> float:
    """How far a value is from the first to the last, both logarithmic."""
    if first == last:
        return 0.5
    return min(1.0, max(0.0, math.log(max(value, LEAST) / first) / math.log(last / first)))


def stroke(a: Point, b: Point, kind: str) -> str:
    return f'<line class="{kind}" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
