"""Panels of a dashboard as one SVG, for light and for dark pages."""

import collections
import html
import math

Series = collections.namedtuple("Series", "name labels points")
Band = collections.namedtuple("Band", "name begins ends")

COLUMN, UNIT, GAP, MARGIN = 42, 24, 6, 4
# Width of a character, in parts of its height. Too much rather than too little: fonts differ.
CHARACTER = 0.56
STYLE = """
text { font: 11px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.row { font-weight: 600; font-size: 14px }
.small { font-size: 10px; fill: #57606a }
.big { font-size: 30px; font-weight: 600 }
.end { text-anchor: end } .middle { text-anchor: middle }
.card { fill: #8c959f; fill-opacity: .06; stroke: #8c959f; stroke-opacity: .35 }
.grid { stroke: #8c959f; stroke-opacity: .25 }
.band { fill: #cf222e; fill-opacity: .09 }
.mark { stroke: #cf222e; stroke-opacity: .45; stroke-dasharray: 2 2 }
.letter { font-size: 9px; fill: #cf222e; font-weight: 600 }
.line { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round }
.area { fill: currentColor; fill-opacity: .35; stroke: currentColor; stroke-width: 1 }
.dot { fill: currentColor }
.good { fill: #1a7f37 } .bad { fill: #cf222e } .so-so { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .letter { fill: #ff7b72 }
.good { fill: #3fb950 } .bad { fill: #ff7b72 } .so-so { fill: #f0883e }
}
"""
# Of lines, areas and the dots of legends.
PALETTE = ["#2f81f7", "#d4711c", "#2da44e", "#a371f7", "#cf222e", "#1b9aaa", "#bf8700", "#e0569b", "#6e7781", "#5a67d8"]


def draw(shown, bands, duration):
    """All panels, each with its series, over so many seconds."""
    top = 28
    height = top + max(bottom(panel) for panel, _ in shown) * UNIT + MARGIN
    width = 24 * COLUMN + 2 * MARGIN
    colours = "\n".join(f".c{at} {{ color: {colour} }}" for at, colour in enumerate(PALETTE))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' aria-label="The panels of the dashboard over a run of four minutes">',
        f"<style>{STYLE}{colours}</style>",
        headline(bands),
    ]
    for panel, series in shown:
        at = panel["gridPos"]
        x, y = MARGIN + at["x"] * COLUMN, top + at["y"] * UNIT
        parts.append(f'<g transform="translate({x} {y})">')
        parts.append(Panel(panel, series, bands, duration).draw())
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def bottom(panel):
    return panel["gridPos"]["y"] + panel["gridPos"]["h"]


def letters(bands):
    return zip("ABCDEFGH", bands)


def headline(bands):
    words, x = [], MARGIN
    for letter, band in letters(bands):
        words.append(text(x, 17, letter, "letter"))
        words.append(text(x + 11, 17, band.name, "small"))
        x += 30 + width_of(band.name, 10)
    return "\n".join(words)


class Panel:
    def __init__(self, panel, series, bands, duration):
        self.panel, self.series, self.bands, self.duration = panel, series, bands, duration
        at = panel["gridPos"]
        self.width, self.height = at["w"] * COLUMN - GAP, at["h"] * UNIT - GAP

    def draw(self):
        if self.panel["type"] == "row":
            return text(2, 16, self.panel["title"], "row")
        kinds = {"timeseries": self.lines, "stat": self.stat, "table": self.table}
        card = f'<rect class="card" width="{self.width}" height="{self.height}" rx="4"/>'
        return "\n".join([card, text(8, 16, self.panel["title"], "title"), *kinds[self.panel["type"]]()])

    @property
    def defaults(self):
        return self.panel["fieldConfig"]["defaults"]

    def stat(self):
        middle = self.width / 2
        if not self.series:
            yield text(middle, self.height / 2 + 14, self.panel["options"].get("noValue", "no data"), "small middle")
            return
        shown = []
        for each in self.series:
            value = each.points[-1][1]
            words = written(value, self.defaults["unit"])
            name = f"{each.name}: " if self.panel["options"]["textMode"] == "value_and_name" else ""
            shown.append((name + words, self.kind_of(value)))
        size = 30 if len(shown) == 1 and width_of(shown[0][0], 30) < self.width - 12 else 16
        for number, (words, kind) in enumerate(shown):
            y = self.height / 2 + 18 + (number - (len(shown) - 1) / 2) * (size + 4)
            yield text(middle, y, words, f"big middle {kind}", f' style="font-size: {size}px"')

    def kind_of(self, value):
        kinds = {"green": "good", "red": "bad", "orange": "so-so"}
        steps = self.defaults.get("thresholds", {}).get("steps", [])
        reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
        return kinds[reached[-1]] if reached else ""

    def table(self):
        names = sorted({name for each in self.series for name in each.labels}, reverse=True)
        columns = [8, self.width * 0.55, self.width - 10]
        for x, name in zip(columns, [*names, "times"]):
            yield text(x, 34, name, "small end" if name == "times" else "small")
        rows = sorted(self.series, key=lambda each: -each.points[-1][1])
        for number, each in enumerate(rows[: int((self.height - 40) / 16)]):
            y = 51 + number * 16
            yield stroke((8, y - 12), (self.width - 8, y - 12), "grid")
            for x, name in zip(columns, names):
                yield text(x, y, each.labels[name])
            yield text(columns[-1], y, f"{each.points[-1][1]:.0f}", "end")

    def lines(self):
        is_stacked = "stacking" in self.defaults["custom"]
        shown = [each for each in self.series if any(value == value for _, value in each.points)]
        if not shown:
            yield text(self.width / 2, self.height / 2, "no data", "small middle")
            return
        # What is 0 all the time would only fill the legend.
        moving = [each for each in shown if any(value for _, value in each.points if value == value)]
        still = len(shown) - len(moving)
        legend = self.legend(moving, f"and {still} at 0" if moving and still else "all at 0" if still else "")
        rows = 1 + max((row for row, *_ in legend), default=0)
        self.plot = 44, 26, self.width - 10, self.height - 20 - 14 * rows
        stacked = list(stack(moving)) if is_stacked else []
        values = [value for each in moving for _, value in each.points if value == value and math.isfinite(value)]
        values += [upper for _, points in stacked for _, _, upper in points]
        most = self.defaults.get("max", 0) if values and max(values) > 0.5 else 0
        self.top, ticks = scale(max([most, *values], default=0), self.defaults["unit"])
        yield from self.axes(ticks)
        for number, (_, points) in reversed(list(enumerate(stacked))):
            yield self.area(points, number)
        if not is_stacked:
            for number, each in enumerate(moving):
                yield self.line(each.points, number)
        for row, x, number, name in legend:
            y = self.height - 14 * rows + 14 * row + 6
            if number is not None:
                yield f'<circle class="dot c{number % len(PALETTE)}" cx="{x + 3}" cy="{y - 3}" r="3"/>'
            yield text(x + (10 if number is not None else 0), y, name, "small")

    def legend(self, series, rest):
        """Row, place, number of the colour and name, on two rows at most."""
        placed, row, x = [], 0, 8
        entries = [(number, each.name) for number, each in enumerate(series)] + ([(None, rest)] if rest else [])
        for number, name in entries:
            width = width_of(name, 10) + 20
            if x + width > self.width and x > 8:
                row, x = row + 1, 8
            if row > 1:
                break
            placed.append((row, x, number, name))
            x += width
        return placed

    def x(self, seconds):
        left, _, right, _ = self.plot
        return left + (right - left) * seconds / self.duration

    def y(self, value):
        _, above, _, below = self.plot
        return below - (below - above) * min(value / self.top, 1)

    def axes(self, ticks):
        left, above, right, below = self.plot
        for letter, band in letters(self.bands):
            begins, ends = self.x(band.begins), self.x(band.ends)
            if ends > begins:
                size = f'width="{n(ends - begins)}" height="{n(below - above)}"'
                yield f'<rect class="band" x="{n(begins)}" y="{above}" {size}/>'
            else:
                yield stroke((begins, above), (begins, below), "mark")
            yield text(begins + 1.5, above + 7, letter, "letter")
        for tick in ticks:
            yield stroke((left, self.y(tick)), (right, self.y(tick)), "grid")
            yield text(left - 4, self.y(tick) + 3.5, written(tick, self.defaults["unit"]), "small end")
        for minute in range(self.duration // 60 + 1):
            kind = "small middle" if minute * 60 < self.duration else "small end"
            x = self.x(minute * 60) + (0 if minute * 60 < self.duration else 4)
            yield text(x, below + 12, f"{minute} min" if minute else "0", kind)

    def line(self, points, number):
        pieces, before = [], None
        for at, value in points:
            if value != value or not math.isfinite(value):
                before = None
                continue
            # Where a value is missing, the line breaks.
            pieces.append(f"{'M' if before is None or at - before > 4 else 'L'}{n(self.x(at))} {n(self.y(value))}")
            before = at
        return f'<path class="line c{number % len(PALETTE)}" d="{"".join(pieces)}"/>'

    def area(self, points, number):
        upper = [f"{n(self.x(at))} {n(self.y(high))}" for at, _, high in points]
        lower = [f"{n(self.x(at))} {n(self.y(low))}" for at, low, _ in reversed(points)]
        return f'<path class="area c{number % len(PALETTE)}" d="M{"L".join(upper + lower)}Z"/>'


def stack(series):
    """Each series with the time, the lower and the upper edge of its points."""
    floor = collections.Counter()
    times = sorted({round(at) for each in series for at, _ in each.points})
    for each in series:
        values = {round(at): value for at, value in each.points if value == value}
        points = []
        for at in times:
            low = floor[at]
            floor[at] += values.get(at, 0)
            points.append((at, low, floor[at]))
        yield each, points


def scale(most, unit):
    """The top of an axis, and its ticks."""
    if most <= 0:
        return 1, [0]
    base = {"bytes": 1024, "s": 60}.get(unit)
    power = base ** max(0, int(math.log(most, base))) if base else 1
    rough = most / power / 3
    ten = 10 ** math.floor(math.log10(rough))
    step = next(ten * factor for factor in [1, 2, 2.5, 5, 10] if ten * factor >= rough) * power
    count = math.ceil(most / step - 1e-9)
    return count * step, [step * number for number in range(count + 1)]


def written(value, unit):
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        if value == 0 or value >= 1:
            return f"{value / 60:.3g} min" if value >= 60 else f"{value:.3g} s"
        return f"{value * 1000:.3g} ms"
    if unit == "bytes":
        for name in ["B", "KiB", "MiB"]:
            if value < 1024:
                break
            value, name = value / 1024, {"B": "KiB", "KiB": "MiB", "MiB": "GiB"}[name]
        return f"{value:.3g} {name}" if value else "0"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def width_of(words, size):
    return len(words) * size * CHARACTER


def n(number):
    return f"{number:.1f}".removesuffix(".0")


def stroke(a, b, kind):
    return f'<path class="{kind}" d="M{n(a[0])} {n(a[1])}L{n(b[0])} {n(b[1])}"/>'


def text(x, y, words, kind="", more=""):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{n(x)}" y="{n(y)}"{kind}{more}>{html.escape(words)}</text>'
