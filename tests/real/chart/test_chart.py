"""What the chart renders, compared with expected/, and what it must not take. Started by ./run."""

import copy
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import unittest

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
REPOSITORY = HERE.parents[2]
CHART = REPOSITORY / "deploy/charts/secretmount"
MANIFEST = REPOSITORY / "deploy/manifests/secretmount.yaml"
VERSIONS = ("1.30", "1.34")
UPDATE = bool(os.environ.get("UPDATE"))


def helm(chart, *arguments, values=None):
    command = ["helm", "template", *arguments[:1], str(chart), *arguments[1:]]
    if values:
        command += ["--values", str(values)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def arguments_of(path):
    """The line `# with: [RELEASE] FLAGS` of a case; the release is `secretmount` in kube-system otherwise."""
    found = re.search(r"^# with: (.*)$", path.read_text(), re.MULTILINE)
    arguments = shlex.split(found[1]) if found else []
    release = [] if arguments and not arguments[0].startswith("-") else ["secretmount", "--namespace", "kube-system"]
    return release + arguments


def cases():
    return sorted((HERE / "cases").glob("*.yaml"))


class Compared(unittest.TestCase):
    maxDiff = None

    def compare(self, path, text):
        if UPDATE:
            path.write_text(text)
        self.assertTrue(path.exists(), f"{path} is missing: UPDATE=1 tests/real/chart/run")
        self.assertEqual(path.read_text(), text)


class Rendered(Compared):
    """Every case, from a copy of the chart with rules and a dashboard that stay as they are."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        chart = pathlib.Path(cls.directory.name) / "secretmount"
        shutil.copytree(CHART, chart)
        shutil.copytree(HERE / "files", chart / "files", dirs_exist_ok=True)
        cls.rendered = {}
        for case in cases():
            result = helm(chart, *arguments_of(case), values=case)
            if result.returncode:
                raise AssertionError(f"{case}: {result.stderr}")
            cls.rendered[case.name] = result.stdout

    def test_every_case_is_as_expected(self):
        for name, text in self.rendered.items():
            with self.subTest(name):
                self.compare(HERE / "expected" / name, text)
        known = {path.name for path in (HERE / "expected").glob("*.yaml")}
        self.assertEqual(known, set(self.rendered), "what is expected has a case")

    def test_kubernetes_takes_every_object(self):
        operator = OperatorKinds()
        for name, text in self.rendered.items():
            for item in yaml.safe_load_all(text):
                with self.subTest(name, kind=item["kind"]):
                    if operator.has(item):
                        operator.validate(item)
                        continue
                    for version in VERSIONS:
                        kubernetes_validate.validate(item, version, strict=True)

    def test_the_validators_find_a_misspelt_field(self):
        for item in yaml.safe_load_all(self.rendered["everything.yaml"]):
            spoiled = copy.deepcopy(item)
            if item["kind"] == "DaemonSet":
                spoiled["spec"]["template"]["spec"]["volumes"][0]["hostpath"] = {}
                with self.assertRaises(kubernetes_validate.ValidationError):
                    kubernetes_validate.validate(spoiled, VERSIONS[-1], strict=True)
            elif item["kind"] == "PodMonitor":
                spoiled["spec"]["podMetricsEndpoints"][0]["relabeling"] = []
                with self.assertRaises(jsonschema.ValidationError):
                    OperatorKinds().validate(spoiled)

    def test_no_object_is_there_twice(self):
        for name, text in self.rendered.items():
            objects = [
                (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
                for item in yaml.safe_load_all(text)
            ]
            self.assertEqual(len(objects), len(set(objects)), name)

    def test_only_tests_are_hooks(self):
        for name, text in self.rendered.items():
            for item in yaml.safe_load_all(text):
                hook = item["metadata"].get("annotations", {}).get("helm.sh/hook")
                self.assertIn(hook, (None, "test"), f"{name}: {item['kind']}")

    def test_every_flag_is_documented(self):
        documented = set(re.findall(r"`(--[a-z-]+)", (REPOSITORY / "docs/settings.md").read_text()))
        for name, text in self.rendered.items():
            for item in yaml.safe_load_all(text):
                if item["kind"] == "DaemonSet":
                    arguments = item["spec"]["template"]["spec"]["containers"][0]["args"]
                    flags = {argument.split("=")[0] for argument in arguments[1:]}
                    self.assertLessEqual(flags, documented, name)

    def test_every_value_is_in_a_case(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        used = set()
        for case in cases():
            used |= set(paths(yaml.safe_load(case.read_text()) or {}))
        # What no case sets is here, so that nothing is forgotten.
        self.assertEqual(
            {path for path in paths(values) if not any(one == path or one.startswith(f"{path}.") for one in used)},
            UNUSED,
        )


UNUSED = {
    "securityContext.readOnlyRootFilesystem",
    "securityContext.capabilities.drop",
    "podSecurityContext.seccompProfile.type",
    "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
    "updateStrategy.rollingUpdate.maxUnavailable",
    "serviceMonitor.renderMode",
    "serviceMonitor.relabelings",
    "prometheusRule.renderMode",
}


def paths(values, prefix=""):
    """The names of all values, as `a.b.c`."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


class Definitions(yaml.SafeLoader):
    """YAML 1.1 has a type for a lone `=`, which the definitions mean as a text."""


Definitions.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


class OperatorKinds:
    """The Prometheus Operator's own definitions of its kinds, closed: what is not in them is a mistake."""

    def __init__(self):
        self.schemas = {}
        for name in ("podmonitors", "prometheusrules", "servicemonitors"):
            path = pathlib.Path(os.environ["OPERATOR_KINDS"]) / f"monitoring.coreos.com_{name}.yaml"
            kind = yaml.load(path.read_text(), Definitions)["spec"]
            for version in kind["versions"]:
                name = (f"{kind['group']}/{version['name']}", kind["names"]["kind"])
                self.schemas[name] = closed(version["schema"]["openAPIV3Schema"])

    def has(self, item):
        return (item["apiVersion"], item["kind"]) in self.schemas

    def validate(self, item):
        jsonschema.validate(item, self.schemas[item["apiVersion"], item["kind"]])


def closed(schema):
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and isinstance(schema["properties"], dict) and schema.get("type") == "object":
        if schema["properties"] and "kind" not in schema["properties"]:
            result.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    if isinstance(schema.get("pattern"), str) and "(?i)" in schema["pattern"]:
        result["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")  # where Python wants it
    return result


class Refused(unittest.TestCase):
    def test_values_that_make_no_sense_are_refused_in_words(self):
        for path in sorted((HERE / "refusals").glob("*.yaml")):
            with self.subTest(path.name):
                wanted = re.match(r"# error: (.*)", path.read_text())[1]
                result = helm(CHART, "secretmount", values=path)
                self.assertNotEqual(result.returncode, 0, "it was taken")
                self.assertIn(wanted, result.stderr)

    def test_a_value_without_a_value_is_none_or_is_named(self):
        """As in a file where all below a name is commented out. Helm then takes the default away."""
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        for path in [*values, *paths(values)]:
            with self.subTest(path):
                result = helm(CHART, "secretmount", "--set", f"{path}=null")
                refusal = re.search(r"missing property '(\S+)'", result.stderr)
                self.assertTrue(result.returncode == 0 or refusal and path.endswith(refusal[1]), result.stderr)

    def test_the_schema_has_every_value_and_no_other(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.assertEqual(set(schema["properties"]), set(values) | {"enabled"})
        for key, value in values.items():
            declared = schema["properties"][key]
            if isinstance(value, dict) and value and declared.get("additionalProperties") is False:
                self.assertEqual(set(declared["properties"]) - {"limits", "claims"}, set(value), key)

    def test_only_what_is_not_ours_is_open(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        is_open = {
            key
            for key, value in schema["properties"].items()
            if "properties" in value and value.get("additionalProperties") is not False
        }
        self.assertEqual(is_open, {"global", "secrets-store-csi-driver"})
        self.assertIs(schema["additionalProperties"], False)


class Rights(Compared):
    """The rules for every combination of the values that they depend on."""

    MODES = {
        "rbac.serviceAccounts": ("true", "false"),
        "events.enabled": ("true", "false"),
        "tokenVerification": ("", "auto", "jwks", "token-review", "off"),
        "awsRegion": ("", "eu-west-1"),
        "startupTaint.enabled": ("true", "false"),
        "openshift.scc": ("true", "false"),
    }

    def test_there_are_no_more_rights_than_the_modes_need(self):
        lines = []
        for chosen in itertools.product(*self.MODES.values()):
            settings = [f"{name}={value}" for name, value in zip(self.MODES, chosen)]
            flags = [flag for setting in settings for flag in ("--set", setting)]
            result = helm(CHART, "secretmount", "--no-hooks", *flags)
            self.assertEqual(result.returncode, 0, result.stderr)
            lines.append(f"{' '.join(settings)}: {rights_of(result.stdout)}\n")
        text = "".join(lines)
        self.compare(HERE / "expected/rights.txt", text)
        for forbidden in ("secrets ", "serviceaccounts/token", "pods", "*", "list", "watch", "delete"):
            self.assertNotIn(forbidden, text)

    def test_without_rbac_there_are_none(self):
        rendered = helm(CHART, "secretmount", "--set", "rbac.install=false").stdout
        self.assertEqual({item["kind"] for item in yaml.safe_load_all(rendered)}, {"DaemonSet"})


def rights_of(text):
    rules = []
    bound = False
    for item in yaml.safe_load_all(text):
        if item["kind"] == "ClusterRole":
            for rule in item["rules"]:
                names = ",".join(rule.get("resourceNames", []))
                for resource in rule["resources"]:
                    group = rule["apiGroups"][0]
                    of_names = f"[{names}]" if names else ""
                    rules.append(f"{resource}{'.' if group else ''}{group}{of_names} {'+'.join(rule['verbs'])}")
        bound |= item["kind"] == "ClusterRoleBinding"
    assert bound == bool(rules), "a ClusterRole and its binding come together"
    return ", ".join(rules) or "none, and no ClusterRole"


class Monitoring(unittest.TestCase):
    """The rules and the dashboard that the chart really has."""

    def render(self, *flags):
        rendered = helm(
            CHART,
            "secretmount",
            *("--set", "prometheusRule.enabled=true", "--set", "prometheusRule.renderMode=alwaysRender"),
            *("--set", "grafanaDashboard.enabled=true"),
            *flags,
        )
        self.assertEqual(rendered.returncode, 0, rendered.stderr)
        return {item["kind"]: item for item in yaml.safe_load_all(rendered.stdout)}

    def rules(self, *flags):
        groups = self.render(*flags)["PrometheusRule"]["spec"]["groups"]
        return {rule["alert"]: rule for group in groups for rule in group["rules"]}

    def plain_rules(self):
        groups = yaml.safe_load((CHART / "files/rules.yaml").read_text())["groups"]
        return {rule["alert"]: rule for group in groups for rule in group["rules"]}

    def test_every_alert_arrives_with_its_templates(self):
        plain, rendered = self.plain_rules(), self.rules("--set", "prometheusRule.runbookUrl=https://runbooks.example/")
        self.assertEqual(list(rendered), list(plain))
        for name, rule in rendered.items():
            wanted = plain[name]
            self.assertEqual(rule["annotations"]["description"], wanted["annotations"]["description"])
            self.assertRegex(rule["annotations"]["runbook_url"], rf"^https://runbooks\.example/{name}(\.md)?$")
            self.assertEqual(rule["expr"].replace('"secretmount"', '~".*secretmount.*"'), wanted["expr"])

    def test_an_alert_without_a_runbook_has_no_broken_link(self):
        for rule in self.rules().values():
            self.assertNotIn("runbook_url", rule["annotations"])

    def test_alerts_can_be_left_out(self):
        alerts = list(self.plain_rules())
        self.assertEqual(list(self.rules("--set", f"prometheusRule.disabled={{{alerts[0]}}}")), alerts[1:])

    def test_the_dashboard_arrives_byte_for_byte(self):
        data = self.render()["ConfigMap"]["data"]["secretmount.json"]
        self.assertEqual(json.loads(data), json.loads((CHART / "files/dashboard.json").read_text()))


class Packaged(unittest.TestCase):
    def test_it_is_of_the_providers_version(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        version = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        self.assertEqual((chart["version"], chart["appVersion"]), (version, version))
        images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
        self.assertEqual(images, [{"name": "secretmount", "image": f"secretmount:{version}"}])

    def test_a_package_holds_what_is_installed(self):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(["helm", "package", CHART, "--destination", directory], check=True, capture_output=True)
            [package] = pathlib.Path(directory).glob("*.tgz")
            with tarfile.open(package) as archive:
                names = {pathlib.PurePath(name) for name in archive.getnames()}
        here = {pathlib.PurePath("secretmount") / path.relative_to(CHART) for path in CHART.rglob("*") if path.is_file()}
        self.assertEqual({path for path in here if path.parts[1] != "tests"}, names)


class Plain(Compared):
    """The manifest for clusters without Helm."""

    def test_it_is_the_chart(self):
        rendered = helm(
            CHART,
            *("secretmount", "--namespace", "kube-system", "--no-hooks"),
            values=HERE / "manifest/values.yaml",
        )
        self.assertEqual(rendered.returncode, 0, rendered.stderr)
        # Nobody who applies it has Helm, or a chart.
        foreign = re.compile(r"^(# Source: .*| +app.kubernetes.io/managed-by: .*| +helm.sh/chart: .*)\n", re.MULTILINE)
        objects = foreign.sub("", rendered.stdout).removeprefix("---\n")
        self.compare(MANIFEST, (HERE / "manifest/header.txt").read_text() + objects)


if __name__ == "__main__":
    unittest.main()
