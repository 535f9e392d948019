"""What a real Prometheus takes in of real providers, and what the rules and the dashboard make of it."""

import json
import re
import subprocess
import unittest

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from expressions import alerts, dashboard, filled, groupings, metrics_of, panels, questions
from world import NAMESPACE, PATIENCE, ROOT, World, forged, parameter, secret, wait_for

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
# That which is not the provider's.
OTHERS = {"kube_daemonset_status_number_unavailable"}

WORLD = None


def setUpModule():
    global WORLD
    # Answers are kept for a moment only, so that a fault of AWS shows with the next refresh.
    WORLD = World(["node-a"], ["--max-age=1ms", "--failed-refresh-pause=1ms", "--metrics-per-volume"])
    unittest.addModuleCleanup(WORLD.close)
    everything_happens()


def everything_happens():
    """Something for every metric and every panel, and one scrape at least before and after it."""
    node, cloud, prometheus = WORLD.nodes[0], WORLD.cloud, WORLD.prometheus
    wait_for("the first scrape", lambda: prometheus.query("secretmount_mounts_in_flight"))
    objects = [secret("shop/key"), parameter("/shop/url"), secret("shop/none", optional=True)]
    pods = [cloud.pod(f"web-{number}", node.name) for number in range(3)]
    volumes = [node.publish(pod, objects) for pod in pods]
    volumes.append(node.publish(pods[0], [secret("shop/db")], usePodIdentity="true"))
    for volume in volumes:
        node.mount(volume)
    for number in range(5):
        cloud.control("PUT", "secrets/eu-west-1?name=shop/key", str(number))
        for volume in volumes:
            node.mount(volume)
    assert node.fails(node.publish(pods[0], [secret("shop/none")]))
    assert node.fails(node.publish(pods[0]._replace(tokens=forged(pods[0].tokens)), objects))
    cloud.fault({"error": {"status": 400, "code": "ThrottlingException"}}, api="GetSecretValue")
    assert node.fails(volumes[0])
    wait_for(
        "a scrape sees that it fails", lambda: prometheus.query("secretmount_failing_volume_oldest_timestamp_seconds")
    )
    cloud.clear_faults()
    wait_for("the volume is refreshed", lambda: not node.fails(volumes[0]))
    node.socket.unlink()
    wait_for("the socket is put back", node.socket.exists)
    wait_for(
        "a scrape sees the last of it",
        lambda: prometheus.query("secretmount_socket_restores_total > 0")
        and prometheus.query('secretmount_volumes{state="failing"} == 0'),
    )


def documented():
    """Name and type of each metric, as docs/metrics.md has them."""
    rows = re.findall(r"^\| `((?:secretmount|process)_\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    return dict(rows)


def series_of(name, kind):
    return [name + suffix for suffix in ["_bucket", "_count", "_sum"]] if kind == "histogram" else [name]


class Scrapes(unittest.TestCase):
    def test_the_target_is_up(self):
        up = {labels["job"]: value for labels, value in WORLD.prometheus.query("up")}
        self.assertEqual(up, {"secretmount": 1, "kube-state-metrics": 1})

    def test_they_are_in_the_newer_format(self):
        # Units are said there alone.
        metadata = WORLD.prometheus.ask("targets/metadata", metric="secretmount_mount_duration_seconds")
        self.assertEqual([(each["type"], each["unit"]) for each in metadata], [("histogram", "seconds")])

    def test_every_documented_metric_arrives(self):
        known = documented()
        self.assertGreater(len(known), 20)
        arrived = set(WORLD.prometheus.ask("label/__name__/values"))
        missing = [series for name, kind in known.items() for series in series_of(name, kind) if series not in arrived]
        self.assertEqual(missing, [])

    def test_no_label_is_taken_from_the_scrape(self):
        # Where a label of the provider has the name of one of the scrape, Prometheus renames it.
        labels = WORLD.prometheus.ask("labels", **{"match[]": '{job="secretmount"}'})
        self.assertIn("namespace", labels)
        self.assertEqual([label for label in labels if label.startswith("exported_")], [])

    def test_few_observations_are_beyond_the_last_bucket(self):
        for name, kind in documented().items():
            if kind == "histogram":
                with self.subTest(name):
                    ((_, all_),) = WORLD.prometheus.query(f"sum({name}_count)")
                    ((_, bounded),) = WORLD.prometheus.query(f'sum({name}_bucket{{le=~"60|60.0"}})')
                    self.assertGreater(all_, 10)
                    self.assertGreater(bounded / all_, 0.95)

    def test_promtool_takes_the_older_format(self):
        page = WORLD.nodes[0].page("text/plain")
        answer = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
        self.assertEqual((answer.returncode, answer.stdout + answer.stderr), (0, ""))

    def test_the_parser_of_prometheus_takes_the_newer_format(self):
        families = text_string_to_metric_families(WORLD.nodes[0].page(OPEN_METRICS))
        found = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}
        self.assertEqual(found, documented())


class Questions(unittest.TestCase):
    def test_the_rules_are_evaluated(self):
        def rules():
            (group,) = WORLD.prometheus.ask("rules")["groups"]
            return group["rules"] if all(rule["evaluationTime"] for rule in group["rules"]) else None

        evaluated = wait_for("every rule is evaluated", rules)
        self.assertEqual([rule["name"] for rule in evaluated], [rule["alert"] for rule in alerts()])
        self.assertEqual([(rule["name"], rule.get("lastError")) for rule in evaluated if rule["health"] != "ok"], [])

    def test_every_expression_is_understood(self):
        for where, expression in questions():
            with self.subTest(where):
                WORLD.prometheus.query(expression)

    def test_they_look_at_metrics_that_exist(self):
        known = {series for name, kind in documented().items() for series in series_of(name, kind)}
        for where, expression in questions():
            with self.subTest(where):
                self.assertLessEqual(set(metrics_of(expression)), known | OTHERS)

    def test_they_choose_and_group_by_labels_that_exist(self):
        labels = {}

        def labels_of(metric):
            if metric not in labels:
                # One that is there only now and then is looked for in the whole run.
                series = WORLD.prometheus.ask("series", **{"match[]": metric, "start": WORLD.began})
                labels[metric] = {label for each in series for label in each}
            return labels[metric]

        for where, expression in questions():
            with self.subTest(where):
                for metric, chosen in metrics_of(expression).items():
                    self.assertLessEqual(chosen, labels_of(metric), metric)
                for grouped_by, metrics in groupings(expression):
                    self.assertLessEqual(grouped_by, set().union(*map(labels_of, metrics)))

    def test_legends_name_what_is_grouped_by(self):
        for panel in panels():
            for target in panel["targets"]:
                with self.subTest(panel["title"]):
                    named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                    grouped_by = [labels for labels, _ in groupings(filled(target["expr"]))]
                    self.assertLessEqual(named, set().union(*grouped_by))

    def test_every_panel_shows_something(self):
        end = wait_for("the time of the last scrape", lambda: WORLD.prometheus.query("time()"))[0][1]
        for panel in panels():
            for target in panel["targets"]:
                with self.subTest(panel["title"], expression=target["expr"]):
                    # All of the run is in one interval.
                    expression = filled(target["expr"], interval="5m")
                    series = WORLD.prometheus.query_range(expression, WORLD.began, end, 1)
                    self.assertTrue(any(value == value for _, values in series for _, value in values))


class Alerts(unittest.TestCase):
    def test_a_volume_that_fails_is_seen_until_it_is_refreshed(self):
        node, cloud, prometheus = WORLD.nodes[0], WORLD.cloud, WORLD.prometheus
        (rule,) = [rule for rule in alerts() if rule["alert"] == "SecretmountRefreshFailing"]
        since, bound = rule["expr"].rsplit(">", 1)
        self.assertEqual(bound.strip(), "1800")
        volume = node.publish(cloud.pod("web-refreshed", node.name), [secret("shop/key")])
        node.mount(volume)
        wait_for("nothing fails", lambda: not prometheus.query(since))

        cloud.fault("reset", service="secretsmanager")
        self.assertTrue(node.fails(volume))
        ((labels, age),) = wait_for("a scrape sees it", lambda: prometheus.query(since))
        self.assertEqual(labels, {"cluster": "east", "namespace": NAMESPACE, "node": node.name})
        self.assertTrue(0 <= age < PATIENCE, age)
        self.assertTrue(wait_for("it goes on failing", lambda: node.fails(volume) and prometheus.query(f"{since} > 1")))

        cloud.clear_faults()
        wait_for("the volume is refreshed", lambda: not node.fails(volume))
        wait_for("a scrape sees that too", lambda: not prometheus.query(since))


class Dashboard(unittest.TestCase):
    def test_it_fits_every_grafana(self):
        board = dashboard()
        self.assertNotIn("id", board, "Grafana gives it one")
        self.assertEqual(board["uid"], "secretmount")
        variables = {each["name"]: each for each in board["templating"]["list"]}
        self.assertEqual(list(variables), ["datasource", "cluster", "namespace", "node"])
        self.assertEqual(variables["datasource"]["type"], "datasource")
        places = re.findall(r'"uid": "([^"]*)"', json.dumps(board))
        self.assertEqual(set(places), {"secretmount", "${datasource}"})

    def test_every_panel_says_what_it_is_and_in_which_unit(self):
        for panel in panels():
            with self.subTest(panel["title"]):
                self.assertTrue(panel["description"].endswith("."))
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                for target in panel["targets"]:
                    self.assertRegex(target["expr"], r"\$cluster.*\$namespace")

    def test_the_picture_of_it_has_every_panel(self):
        picture = (ROOT / "docs/dashboard.svg").read_text()
        missing = [panel["title"] for panel in dashboard()["panels"] if f">{panel['title']}<" not in picture]
        self.assertEqual(missing, [], "run --picture draws it anew")

    def test_the_picture_of_a_status_is_one_of_a_node_with_volumes_that_fail(self):
        picture = (ROOT / "docs/status.svg").read_text()
        for shown in ["serving /var/run/secrets-store-csi-providers/aws.sock", "NAMESPACE  POD", ">shop ", " failing "]:
            self.assertIn(shown, picture, "run --picture draws it anew")

    def test_no_panel_lies_on_another(self):
        taken = {}
        for panel in dashboard()["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24)
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertEqual(taken.setdefault((x, y), panel["title"]), panel["title"])
