#!/usr/bin/env python3
"""How many calls a second a fleet of nodes makes at AWS, with the official provider 3.1.1 and with secretmount.

Without options it prints the tables of docs/scale.md; options describe another fleet. Needs Python 3.10 or newer, and
nothing else.
"""

import argparse
import difflib
import math
import sys
from dataclasses import fields
from pathlib import Path

from fleet import Fleet
from plot import plot
from report import Report, flag, plain

SIZES = (10, 50, 100, 500, 1_000, 2_000, 5_000)
PLACEMENTS = (1, 10)
NODES = "sizes of fleets, a row for each"
TOGETHER = "pods of one service account on one node, a divisor of --pods-per-node; a column for each"

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = DOCS / "scale.md"
PICTURE = DOCS / "scale.svg"


def main() -> int:
    parser = command_line()
    arguments = parser.parse_args()
    report = report_of(arguments)
    if not (arguments.check or arguments.write):
        show(report, arguments.svg)
        return 0
    if report != Report(Fleet(), SIZES, PLACEMENTS):
        parser.error("docs/scale.md is about the fleet of the defaults; leave the other options out")
    wanted = {DOCUMENT: with_tables(DOCUMENT.read_text(encoding="utf-8"), report.tables()), PICTURE: plot(report)}
    return check(wanted) if arguments.check else write(wanted)


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="fail where docs/scale.md or docs/scale.svg is stale")
    what.add_argument("--write", action="store_true", help="write both")
    what.add_argument("--svg", type=Path, metavar="FILE", help="write the plot there")
    fleet = parser.add_argument_group("fleet", "Times are in seconds.")
    some = {"type": number_of(int), "nargs": "+", "metavar": "N"}
    fleet.add_argument("--nodes", default=SIZES, help=f"{NODES} ({listed(SIZES)})", **some)
    fleet.add_argument("--together", default=PLACEMENTS, help=f"{TOGETHER} ({listed(PLACEMENTS)})", **some)
    for field in fields(Fleet):
        if field.metadata:
            kind = number_of(field.type, may_be_zero=field.metadata["may be zero"])
            words = f"{field.metadata['meaning']} ({plain(field.default)})".replace("%", "%%")
            fleet.add_argument(flag(field.name), type=kind, default=field.default, metavar="N", help=words)
    return parser


def number_of(kind: type, may_be_zero: bool = False):
    def parse(text: str) -> float:
        value = kind(text)
        if not (0 < value < math.inf or value == 0 and may_be_zero):
            raise argparse.ArgumentTypeError("must not be negative" if may_be_zero else "must be above zero")
        return value

    parse.__name__ = kind.__name__  # argparse says "invalid int value"
    return parse


def listed(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def report_of(arguments: argparse.Namespace) -> Report:
    options = {field.name: getattr(arguments, field.name) for field in fields(Fleet) if field.metadata}
    return Report(Fleet(**options), tuple(sorted(set(arguments.nodes))), tuple(sorted(set(arguments.together))))


def show(report: Report, picture: Path | None) -> None:
    for name, table in report.tables().items():
        print(f"{name}\n\n{table}\n")
    if picture:
        picture.write_text(plot(report), encoding="utf-8")


def with_tables(document: str, tables: dict[str, str]) -> str:
    """The document, with what stands between the markers of each table put anew."""
    for name, table in tables.items():
        begin, end = f"<!-- simulated: {name} -->\n", "<!-- end -->"
        before, found, rest = document.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise SystemExit(f"error: docs/scale.md has no place for the table {name}")
        document = f"{before}{begin}{table}\n{end}{after}"
    return document


def check(wanted: dict[Path, str]) -> int:
    stale = 0
    for path, content in wanted.items():
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found != content:
            name = f"docs/{path.name}"
            sys.stdout.writelines(
                difflib.unified_diff(found.splitlines(True), content.splitlines(True), name, f"{name}, simulated")
            )
            stale += 1
    if stale:
        print("error: docs are not what the simulation gives; run benches/scale/simulate.py --write", file=sys.stderr)
    return 1 if stale else 0


def write(wanted: dict[Path, str]) -> int:
    for path, content in wanted.items():
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
