"""What a command has printed, as an SVG for light and for dark pages."""

import html

SIZE, LINE, MARGIN = 12, 17, 14
# Of a character of any monospaced font, in parts of its height. Each line is set to it, so that columns stay columns.
CHARACTER = 0.6
STYLE = """
text { font: 12px ui-monospace, monospace; fill: #24292f; white-space: pre }
.card { fill: #8c959f; fill-opacity: .08; stroke: #8c959f; stroke-opacity: .35 }
.prompt { fill: #57606a } .head { font-weight: 600 } .bad { fill: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .prompt { fill: #9198a1 } .bad { fill: #ff7b72 }
}
"""


def draw(command, lines, kind_of):
    """A command and what it has printed; `kind_of` gives a line's kind: "", "head" or "bad"."""
    shown = [(f"$ {command}", "prompt"), *((line, kind_of(line)) for line in lines)]
    width = max(len(line) for line, _ in shown) * SIZE * CHARACTER + 2 * MARGIN
    height = len(shown) * LINE + 2 * MARGIN - LINE + SIZE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img"'
        f' aria-label="What {html.escape(command)} prints">',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1}" rx="6"/>',
    ]
    for number, (line, kind) in enumerate(shown):
        y = MARGIN + SIZE - 2 + number * LINE
        length = f' textLength="{len(line) * SIZE * CHARACTER:.1f}"' if line else ""
        parts.append(f'<text x="{MARGIN}" y="{y}" class="{kind}"{length} xml:space="preserve">{html.escape(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])
