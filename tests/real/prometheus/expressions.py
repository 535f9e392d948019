"""What the rules and the dashboard ask, and of which metrics."""

import collections
import json

import promql_parser
import yaml

from world import DASHBOARD, RULES

Question = collections.namedtuple("Question", "where expression")


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def filled(expression, interval="1m", whole="1h"):
    """As Grafana asks, with all that the variables allow."""
    values = {"$__rate_interval": interval, "$__range": whole, "$cluster": ".*", "$namespace": ".*", "$node": ".*"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def questions():
    of_rules = [Question(rule["alert"], rule["expr"]) for rule in alerts()]
    return of_rules + [
        Question(panel["title"], filled(target["expr"])) for panel in panels() for target in panel["targets"]
    ]


def within(expression):
    """The expression and all in it, as promql_parser has them."""
    yield expression
    for name in dir(expression):
        child = None if name.startswith("_") else getattr(expression, name)
        for each in child if isinstance(child, list) else [child]:
            if isinstance(each, promql_parser.Expr):
                yield from within(each)


def metrics_of(expression):
    """The metrics that it looks at, each with the labels that it chooses by."""
    found = collections.defaultdict(set)
    for each in within(promql_parser.parse(expression)):
        if isinstance(each, promql_parser.VectorSelector):
            found[each.name] |= {matcher.name for matcher in each.matchers.matchers}
    return dict(found)


def groupings(expression):
    """Each grouping in it: its labels, and the metrics that it groups."""
    for each in within(promql_parser.parse(expression)):
        if isinstance(each, promql_parser.AggregateExpr) and each.modifier:
            grouped = [one.name for one in within(each.expr) if isinstance(one, promql_parser.VectorSelector)]
            yield set(each.modifier.labels), grouped
