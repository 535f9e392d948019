"""What a simulation says, as numbers and as Markdown."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache

import aws
from fleet import STORM, Fleet, Outcome, a_wave, an_hour
from providers import Calls

Series = list[int]

OFFICIAL = "official"
OURS = "secretmount"
BATCHED = "secretmount, batched"


@dataclass(frozen=True)
class Load:
    """Calls a second: on average, in the highest ten seconds and in the highest one."""

    mean: float
    ten: float
    second: float

    @classmethod
    def of(cls, series: Series) -> "Load":
        tens = (sum(series[start : start + 10]) / 10 for start in range(len(series) - 9))
        return cls(sum(series) / len(series), max(tens), max(series))


@dataclass(frozen=True)
class Column:
    """A provider, in fleets where so many pods of a service account are on a node."""

    provider: str
    together: int

    @property
    def title(self) -> str:
        if self.provider == OFFICIAL:
            return "official 3.1.1"
        return f"{self.provider}, {self.together} together"

    def calls(self, outcome: Outcome) -> Calls:
        return outcome.official if self.provider == OFFICIAL else outcome.ours


@dataclass(frozen=True)
class Report:
    """Fleets of some sizes. How pods lie makes no difference for the official provider, so it has one column."""

    fleet: Fleet
    sizes: tuple[int, ...]
    placements: tuple[int, ...]

    @property
    def columns(self) -> list[Column]:
        return [Column(OFFICIAL, self.placements[0])] + [Column(OURS, together) for together in self.placements]

    @property
    def batched_columns(self) -> list[Column]:
        return [Column(BATCHED, together) for together in self.placements]

    def columns_of(self, api: aws.Api) -> list[Column]:
        return self.batched_columns if api is aws.BATCH_GET_SECRET_VALUE else self.columns

    def fleet_of(self, column: Column, nodes: int) -> Fleet:
        return replace(self.fleet, nodes=nodes, together=column.together)

    def in_an_hour(self, api: aws.Api | None, column: Column, nodes: int) -> Load:
        """Of an API of AWS, or the reads of ServiceAccounts."""
        fleet = self.fleet_of(column, nodes)
        return load_of_an_hour(fleet, api, column)

    def in_a_wave(self, api: aws.Api, column: Column, nodes: int) -> Load:
        """New nodes, on top of what there is in an hour like any other."""
        fleet = self.fleet_of(column, nodes)
        wave = series_of(a_wave(fleet), api, column, fleet)
        usual = series_of(an_hour(fleet), api, column, fleet)[:STORM]
        return Load.of([a + b for a, b in zip(wave, usual)])

    # The tables

    def tables(self) -> dict[str, str]:
        return {
            "throttling": self.throttling(),
            "GetSecretValue": self.hour(aws.GET_SECRET_VALUE),
            "GetParameters": self.hour(aws.GET_PARAMETERS),
            "AssumeRoleWithWebIdentity": self.hour(aws.ASSUME_ROLE),
            "BatchGetSecretValue": self.hour(aws.BATCH_GET_SECRET_VALUE),
            "ServiceAccounts": self.hour(None),
            "wave": self.wave(),
            "cost": self.cost(),
            "changes": self.changes(),
            "options": self.options(),
        }

    def throttling(self) -> str:
        def from_how_many(api: aws.Api, quota: float, column: Column) -> str:
            loads = [self.in_an_hour(api, column, nodes) for nodes in self.sizes]
            mean = crossing(self.sizes, [load.mean for load in loads], quota)
            second = crossing(self.sizes, [load.second for load in loads], quota)
            return f"{mean} · {second}"

        def row(api: aws.Api, quota: float, note: str = "") -> list[str]:
            cells = [from_how_many(api, quota, column) for column in self.columns_of(api)]
            return [api.name + note, number(quota), *cells]

        rows = [
            row(aws.GET_SECRET_VALUE, aws.GET_SECRET_VALUE.quota),
            row(aws.GET_PARAMETERS, aws.GET_PARAMETERS.quota),
            row(aws.GET_PARAMETERS, aws.HIGHER_THROUGHPUT, ", higher throughput"),
            row(aws.ASSUME_ROLE, aws.ASSUME_ROLE.quota),
        ]
        batched = row(aws.BATCH_GET_SECRET_VALUE, aws.BATCH_GET_SECRET_VALUE.quota, " instead of GetSecretValue")
        rows.append(batched[:2] + ["not used"] + batched[2:])
        return table(["API", "quota a second"] + [column.title for column in self.columns], rows)

    def hour(self, api: aws.Api | None) -> str:
        columns = self.columns if api is None else self.columns_of(api)

        def cell(column: Column, nodes: int) -> str:
            load = self.in_an_hour(api, column, nodes)
            numbers = f"{number(load.mean)} · {number(load.ten)} · {number(load.second)}"
            if api is None:
                return numbers
            return marked(f"{numbers} ({percent(load.ten / api.quota)})", load.ten > api.quota)

        return self.by_size([column.title for column in columns], lambda nodes: [cell(c, nodes) for c in columns])

    def wave(self) -> str:
        apis = [aws.GET_SECRET_VALUE, aws.GET_PARAMETERS, aws.ASSUME_ROLE]

        def cell(api: aws.Api, nodes: int) -> str:
            loads = [self.in_a_wave(api, column, nodes) for column in self.columns]
            return " · ".join(marked(number(load.ten), load.ten > api.quota) for load in loads)

        return self.by_size([api.name for api in apis], lambda nodes: [cell(api, nodes) for api in apis])

    def cost(self) -> str:
        columns = self.columns + self.batched_columns
        return self.by_size(
            [column.title for column in columns],
            lambda nodes: [dollars(cost_of_a_month(self.fleet_of(column, nodes), column)) for column in columns],
        )

    def changes(self, nodes: int = 1_000) -> str:
        def row(title: str, **settings: float) -> list[str]:
            fleet = replace(self.fleet, **settings)
            changed = replace(self, fleet=fleet)
            waits = fleet.poll_interval + fleet.sync_interval * 1.5
            cells = [title, f"{minutes(waits)} · {minutes(waits + fleet.max_age)}"]
            for api in (aws.GET_SECRET_VALUE, aws.GET_PARAMETERS):
                means = [changed.in_an_hour(api, column, nodes).mean for column in self.columns]
                cells.append(" · ".join(marked(number(mean), mean > api.quota) for mean in means))
            costs = [cost_of_a_month(changed.fleet_of(column, nodes), column) for column in self.columns]
            return cells + [" · ".join(map(dollars, costs))]

        rows = [
            row("as above"),
            row("`--max-age 5m`", max_age=300),
            row("`--max-age 10m`", max_age=600),
            row("`rotationPollInterval: 10m`", poll_interval=600),
            row("`rotationPollInterval: 10m`, `--max-age 10m`", poll_interval=600, max_age=600),
            row("`rotationPollInterval: 1h`", poll_interval=3_600),
        ]
        apis = [aws.GET_SECRET_VALUE.name, aws.GET_PARAMETERS.name]
        return table(["setting", "a change arrives within", *apis, "Secrets Manager a month"], rows)

    def options(self) -> str:
        options = [field for field in fields(self.fleet) if field.metadata]
        values = [plain(getattr(self.fleet, field.name)) for field in options]
        rows = [[f"`{flag(field.name)}`", value, field.metadata["meaning"]] for field, value in zip(options, values)]
        return table(["option", "here", "meaning"], rows, left=3)

    def by_size(self, titles: list[str], cells: Callable[[int], list[str]]) -> str:
        return table(["nodes"] + titles, [[number(nodes)] + cells(nodes) for nodes in self.sizes], left=0)


@cache
def load_of_an_hour(fleet: Fleet, api: aws.Api | None, column: Column) -> Load:
    return Load.of(series_of(an_hour(fleet), api, column, fleet))


def series_of(outcome: Outcome, api: aws.Api | None, column: Column, fleet: Fleet) -> Series:
    """The calls of an API by second: the reads of a class, times the calls that one takes."""
    calls = column.calls(outcome)
    parameter_calls = math.ceil(fleet.parameters / aws.PARAMETERS_A_CALL)
    batches = math.ceil(fleet.secrets / aws.SECRETS_A_BATCH)
    reads, each = {
        None: (calls.account_reads, 1),
        aws.GET_SECRET_VALUE: (calls.secret_reads, fleet.secrets),
        aws.BATCH_GET_SECRET_VALUE: (calls.secret_reads, batches),
        aws.GET_PARAMETERS: (calls.parameter_reads, parameter_calls),
        aws.ASSUME_ROLE: (calls.sessions, 1),
    }[api]
    return [count * each for count in reads]


def cost_of_a_month(fleet: Fleet, column: Column) -> float:
    api = aws.BATCH_GET_SECRET_VALUE if column.provider == BATCHED else aws.GET_SECRET_VALUE
    return load_of_an_hour(fleet, api, column).mean * aws.SECONDS_A_MONTH * aws.DOLLARS_A_CALL


def crossing(sizes: tuple[int, ...], loads: list[float], quota: float) -> str:
    """The size from which on a load is over its quota, on a line between the sizes that were simulated."""
    points = list(zip(sizes, loads))
    if loads[0] > quota:
        return f"≤ {number(sizes[0])}"
    for (size, load), (next_size, next_load) in zip(points, points[1:]):
        if next_load > quota:
            return number(rounded(size + (quota - load) / (next_load - load) * (next_size - size), 2))
    return "–"


# Words and numbers


def table(heads: list[str], rows: list[list[str]], left: int = 1) -> str:
    rule = ["---" if place < left else "--:" for place in range(len(heads))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, rule, *rows])


def marked(text: str, is_over: bool) -> str:
    return f"**{text}**" if is_over else text


def rounded(value: float, digits: int) -> float:
    return round(value, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def number(value: float) -> str:
    """Three digits where there are decimals, or two; none where they would be noise."""
    if value >= 100:
        return f"{value:,.0f}"
    return plain(rounded(value, 2))


def percent(part: float) -> str:
    return f"{number(rounded(100 * part, 2))} %"


def dollars(amount: float) -> str:
    return f"${rounded(amount, 2):,.0f}"


def minutes(seconds: float) -> str:
    return f"{plain(seconds / 60)} min"


def plain(value: float) -> str:
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")
