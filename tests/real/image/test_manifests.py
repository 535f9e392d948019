"""What an operator and a security reviewer expect of deploy/manifests/secretmount.yaml. Started by ./run."""

import pathlib
import re
import tomllib
import unittest

import yaml

REPOSITORY = pathlib.Path(__file__).parents[3]
TEXT = (REPOSITORY / "deploy/manifests/secretmount.yaml").read_text()
SETTINGS = (REPOSITORY / "docs/settings.md").read_text()
VERSION = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["version"]

OBJECTS = {item["kind"]: item for item in yaml.safe_load_all(TEXT)}
SELECTOR = {"app.kubernetes.io/name": "secretmount", "app.kubernetes.io/instance": "secretmount"}
DAEMONSET = OBJECTS["DaemonSet"]["spec"]
TEMPLATE = DAEMONSET["template"]
POD = TEMPLATE["spec"]
CONTAINER = POD["containers"][0]
RULES = OBJECTS["ClusterRole"]["rules"]


def by_name(items):
    return {item["name"]: item for item in items}


class Objects(unittest.TestCase):
    def test_there_is_one_container_and_nothing_besides(self):
        self.assertEqual(set(OBJECTS), {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "DaemonSet"})
        self.assertEqual(len(POD["containers"]), 1)
        self.assertNotIn("initContainers", POD)

    def test_every_object_is_labelled_with_what_it_belongs_to(self):
        for kind, item in OBJECTS.items():
            self.assertEqual(
                item["metadata"]["labels"],
                SELECTOR
                | {
                    "app.kubernetes.io/version": VERSION,
                    "app.kubernetes.io/component": "provider",
                    "app.kubernetes.io/part-of": "secrets-store-csi-driver",
                },
                kind,
            )

    def test_the_image_is_of_this_version(self):
        self.assertEqual(CONTAINER["image"], f"secretmount:{VERSION}")

    def test_the_header_names_both_audiences_that_the_driver_must_ask_for(self):
        header = TEXT[: TEXT.index("apiVersion:")]
        for audience in ("sts.amazonaws.com", "pods.eks.amazonaws.com"):
            self.assertIn(f"audience: {audience} ", header)


class Privileges(unittest.TestCase):
    def test_it_is_root_without_powers(self):
        self.assertEqual(
            CONTAINER["securityContext"],
            {
                "runAsUser": 0,
                "runAsGroup": 0,
                "privileged": False,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
            },
        )
        self.assertEqual(POD["securityContext"], {"seccompProfile": {"type": "RuntimeDefault"}})

    def test_it_shares_no_namespace_with_the_node(self):
        for namespace in ("hostNetwork", "hostPID", "hostIPC"):
            self.assertFalse(POD.get(namespace), namespace)
        self.assertFalse([port for port in CONTAINER.get("ports", []) if "hostPort" in port])

    def test_of_the_node_it_sees_the_drivers_directory_and_kubelets_pods(self):
        self.assertEqual(
            {name: volume["hostPath"] for name, volume in by_name(POD["volumes"]).items() if "hostPath" in volume},
            {
                "providers": {"path": "/var/run/secrets-store-csi-providers", "type": "DirectoryOrCreate"},
                "pods": {"path": "/var/lib/kubelet/pods", "type": "Directory"},
            },
        )

    def test_it_sees_what_kubelet_mounts_later_at_the_path_that_kubelet_names(self):
        mounts, volumes = by_name(CONTAINER["volumeMounts"]), by_name(POD["volumes"])
        self.assertEqual(set(mounts), set(volumes))
        self.assertEqual(mounts["pods"]["mountPropagation"], "HostToContainer")
        self.assertEqual(mounts["pods"]["mountPath"], volumes["pods"]["hostPath"]["path"])
        self.assertNotIn("mountPropagation", mounts["providers"])

    def test_its_rules_are_the_documented_ones(self):
        self.assertEqual(
            RULES,
            [
                {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
                {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
            ],
        )
        documented = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", SETTINGS, re.MULTILINE))
        for rule in RULES:
            for resource in rule["resources"]:
                self.assertEqual([documented.get(resource)], rule["verbs"], f"{resource} in docs/settings.md")

    def test_no_rule_reads_secrets_or_makes_tokens_or_changes_anything(self):
        for rule in RULES:
            # What is created is a question: the API server answers it and keeps nothing.
            is_question = rule["resources"] == ["tokenreviews"]
            self.assertLessEqual(set(rule["verbs"]), {"create" if is_question else "get"})
            self.assertFalse({"*", "secrets", "serviceaccounts/token"} & set(rule["resources"]))
            self.assertNotIn("*", rule["apiGroups"])

    def test_its_own_account_has_these_rules(self):
        account = OBJECTS["ServiceAccount"]["metadata"]
        binding = OBJECTS["ClusterRoleBinding"]
        self.assertEqual(POD["serviceAccountName"], account["name"])
        self.assertEqual(OBJECTS["DaemonSet"]["metadata"]["namespace"], account["namespace"])
        self.assertEqual(
            binding["subjects"],
            [{"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}],
        )
        self.assertEqual(binding["roleRef"]["kind"], "ClusterRole")
        self.assertEqual(binding["roleRef"]["name"], OBJECTS["ClusterRole"]["metadata"]["name"])


class Operation(unittest.TestCase):
    def test_it_comes_first_to_every_linux_node_whatever_its_taints(self):
        self.assertEqual(POD["tolerations"], [{"operator": "Exists"}])
        self.assertEqual(POD["priorityClassName"], "system-node-critical")
        self.assertEqual(POD["nodeSelector"], {"kubernetes.io/os": "linux"})

    def test_fargate_is_left_out_because_it_runs_no_daemonsets(self):
        required = POD["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        self.assertEqual(
            required["nodeSelectorTerms"],
            [{"matchExpressions": [
                {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]},
            ]}],
        )

    def test_mounts_that_run_at_the_end_may_finish(self):
        self.assertEqual(POD["terminationGracePeriodSeconds"], 75)
        self.assertIn("--shutdown-grace=70s", CONTAINER["args"])

    def test_a_rollout_leaves_most_nodes_alone(self):
        self.assertEqual(
            DAEMONSET["updateStrategy"], {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
        )

    def test_a_label_that_changes_restarts_no_pod(self):
        self.assertEqual(DAEMONSET["selector"], {"matchLabels": SELECTOR})
        self.assertEqual(TEMPLATE["metadata"]["labels"], SELECTOR)

    def test_kubectl_logs_picks_the_container(self):
        name = TEMPLATE["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
        self.assertEqual(name, CONTAINER["name"])

    def test_the_cpu_is_not_limited(self):
        self.assertNotIn("cpu", CONTAINER["resources"].get("limits", {}))

    def test_it_is_told_the_node_and_no_service_sets_its_variables(self):
        variables = {item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"] for item in CONTAINER["env"]}
        self.assertEqual(variables, {"NODE_NAME": "spec.nodeName"})
        self.assertIs(POD["enableServiceLinks"], False)


if __name__ == "__main__":
    unittest.main()
