"""The alerts against faults that promtool plays: rules_test.yaml."""

import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

from expressions import alerts
from world import HERE, ROOT, RULES

CASES = HERE / "rules_test.yaml"


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True)


def passes_with(rules):
    """Whether the cases hold for other rules."""
    cases = yaml.safe_load(CASES.read_text())
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "changed", "rules": rules}]}))
        (place / "cases.yaml").write_text(yaml.safe_dump(cases | {"rule_files": ["rules.yaml"]}))
        return promtool("test", "rules", str(place / "cases.yaml")).returncode == 0


class Rules(unittest.TestCase):
    def test_promtool_takes_them(self):
        answer = promtool("check", "rules", str(RULES))
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)

    def test_each_fires_on_its_fault_and_not_without_it(self):
        answer = promtool("test", "rules", str(CASES))
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)

    def test_the_cases_notice_an_alert_that_is_not_there_fires_always_or_does_not_wait(self):
        rules = alerts()
        self.assertTrue(passes_with(rules))
        for rule in rules:
            others = [other for other in rules if other is not rule]
            changes = {"not there": others, "always": [*others, rule | {"expr": "vector(1)"}]}
            if rule["for"] != "0m":
                changes["at once"] = [*others, rule | {"for": "0m"}]
            for change, changed in changes.items():
                with self.subTest(rule["alert"], change=change):
                    self.assertFalse(passes_with(changed))

    def test_each_says_what_is_wrong_and_where_to_read_on(self):
        for rule in alerts():
            with self.subTest(rule["alert"]):
                self.assertEqual(set(rule), {"alert", "expr", "for", "labels", "annotations"})
                self.assertIn(rule["labels"]["severity"], ["warning", "critical"])
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                self.assertEqual(rule["annotations"]["runbook_url"], f"RUNBOOK_URL/{rule['alert']}.md")

    def test_the_table_of_them_has_their_severity_and_how_long_they_wait(self):
        page = (ROOT / "docs/operations.md").read_text()
        rows = re.findall(r"^\| \[`(\w+)`\]\(\S+\) \| (\w+) \| ([\w ]+) \|", page, re.M)
        waits = {"at once": "0m"}
        found = [(name, severity, waits.get(wait, wait.replace(" min", "m"))) for name, severity, wait in rows]
        self.assertEqual(found, [(rule["alert"], rule["labels"]["severity"], rule["for"]) for rule in alerts()])
