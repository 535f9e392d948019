"""Nodes with providers, their pods, an AWS and a Kubernetes of devcloud's, and the Prometheus that watches them."""

import collections
import contextlib
import http.server
import itertools
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import grpc
import yaml

import v1alpha1_pb2 as v1alpha1
import v1alpha1_pb2_grpc

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FILES = ROOT / "deploy/charts/secretmount/files"
RULES, DASHBOARD = FILES / "rules.yaml", FILES / "dashboard.json"

# The labels that a PodMonitor of the chart gives.
CLUSTER, NAMESPACE = "east", "kube-system"
AUDIENCE = "sts.amazonaws.com"
# kubelet's limit for one call of a CSI driver, which the driver passes on.
CALL_TIMEOUT = 120
# Longer than anything here takes on a busy machine.
PATIENCE = 120

Pod = collections.namedtuple("Pod", "name uid node tokens")
Volume = collections.namedtuple("Volume", "pod path objects parameters")


def wait_for(what, condition):
    """Gives what the condition gives as soon as that is something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"this did not come true: {what}")


def http_text(url, method="GET", body=None, accept="*/*"):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Accept": accept}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def kill(process):
    process.kill()
    process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def secret(name, **more):
    return {"objectName": name, "objectType": "secretsmanager", **more}


def parameter(name, **more):
    return {"objectName": name, "objectType": "ssmparameter", **more}


def forged(tokens):
    """With signatures that nobody made."""
    turned = {}
    for audience, token in tokens.items():
        head, _, signature = token["token"].rpartition(".")
        turned[audience] = token | {"token": f"{head}.{signature[::-1]}"}
    return turned


class Cloud:
    def __init__(self, work):
        self.kubeconfig = work / "kubeconfig"
        arguments = [os.environ["DEVCLOUD"], "--seed", HERE / "seed.json", "--kubeconfig-file", self.kubeconfig]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        with self.process.stdout as printed:
            places = json.loads(printed.readline())
        self.aws, self.kubernetes, self.agent = (places[name] for name in ["aws_url", "kubernetes_url", "agent_url"])

    def control(self, method, path, body=None):
        return json.loads(http_text(f"{self.aws}/_devcloud/{path}", method, body))

    def fault(self, kind, **limits):
        self.control("POST", "faults", {"kind": kind, **limits})

    def clear_faults(self):
        self.control("DELETE", "faults")

    def pod(self, name, node):
        """A new pod of the service account `web`, with the tokens that kubelet asks for."""
        self.control(
            "PUT", "seed", {"pods": [{"namespace": "shop", "name": name, "service_account": "web", "node": node}]}
        )
        place = f"{self.kubernetes}/api/v1/namespaces/shop"
        uid = json.loads(http_text(f"{place}/pods/{name}"))["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        tokens = {}
        for audience in [AUDIENCE, "pods.eks.amazonaws.com"]:
            spec = {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound}
            answer = http_text(f"{place}/serviceaccounts/web/token", "POST", {"spec": spec})
            tokens[audience] = json.loads(answer)["status"]
        return Pod(name, uid, node, tokens)


class Node:
    """A provider and its driver."""

    def __init__(self, name, cloud, work, flags=()):
        self.name, self.cloud, self.place, self.flags = name, cloud, work / name, flags
        (self.place / "sockets").mkdir(parents=True)
        (self.place / "kubelet/pods").mkdir(parents=True)
        self.socket, self.log = self.place / "sockets/aws.sock", self.place / "log"
        self.admin_socket = self.place / "admin.sock"
        self.port, self.volumes = free_port(), itertools.count()
        self.start()

    def start(self):
        arguments = [
            os.environ["SECRETMOUNT"],
            "serve",
            f"--provider-volume={self.socket.parent}",
            f"--kubelet-dir={self.place / 'kubelet'}",
            f"--node-name={self.name}",
            f"--metrics-port={self.port}",
            f"--admin-socket={self.admin_socket}",
            f"--pod-identity-endpoint={self.cloud.agent}/v1/credentials",
            *self.flags,
        ]
        environment = {"AWS_ENDPOINT_URL": self.cloud.aws, "KUBECONFIG": self.cloud.kubeconfig}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(arguments, stderr=log, env=os.environ | environment)
        wait_for(f"the provider serves: {self.log.read_text()}", self.socket.exists)
        channel = grpc.insecure_channel(f"unix:{self.socket}", options=[("grpc.default_authority", "localhost")])
        self.stub = v1alpha1_pb2_grpc.CSIDriverProviderStub(channel)

    def kill(self):
        kill(self.process)

    def is_ready(self):
        return self.process.poll() is None and self.socket.exists()

    def mount(self, volume):
        """As the driver asks, for a pod that starts and for each refresh."""
        pod = volume.pod
        attributes = {
            "objects": json.dumps(volume.objects),  # JSON is YAML too
            "region": "eu-west-1",
            **volume.parameters,
            "secretProviderClass": "shop",
            "csi.storage.k8s.io/ephemeral": "true",
            "csi.storage.k8s.io/pod.name": pod.name,
            "csi.storage.k8s.io/pod.namespace": "shop",
            "csi.storage.k8s.io/pod.uid": pod.uid,
            "csi.storage.k8s.io/serviceAccount.name": "web",
            "csi.storage.k8s.io/serviceAccount.tokens": json.dumps(pod.tokens),
        }
        request = v1alpha1.MountRequest(
            attributes=json.dumps(attributes), secrets="null", target_path=str(volume.path), permission="420"
        )
        return self.stub.Mount(request, timeout=CALL_TIMEOUT)

    def fails(self, volume):
        """Whether it does, for those who go on all the same."""
        try:
            self.mount(volume)
        except grpc.RpcError:
            return True
        return False

    def publish(self, pod, objects, **parameters):
        """A new volume, mounted as the driver does it before it calls the provider."""
        path = self.place / f"kubelet/pods/{pod.uid}/volumes/kubernetes.io~csi/secrets-{next(self.volumes)}/mount"
        path.mkdir(parents=True, mode=0o750)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", path], check=True)
        return Volume(pod, path, objects, parameters)

    def status(self, *more):
        """What `secretmount status` prints of it."""
        command = [os.environ["SECRETMOUNT"], "status", f"--admin-socket={self.admin_socket}", *more]
        return subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True).stdout

    def page(self, accept):
        return http_text(f"http://127.0.0.1:{self.port}/metrics", accept=accept)


class KubeState:
    """The one number of kube-state-metrics that an alert looks at."""

    def __init__(self, nodes):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                missing = sum(not node.is_ready() for node in nodes)
                labels = f'daemonset="secretmount",namespace="{NAMESPACE}"'
                body = f"kube_daemonset_status_number_unavailable{{{labels}}} {missing}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Prometheus:
    def __init__(self, work, nodes, kube_state):
        self.place, port = work / "prometheus", free_port()
        self.place.mkdir()
        targets = [
            {
                "targets": [f"127.0.0.1:{node.port}"],
                "labels": {"namespace": NAMESPACE, "node": node.name, "pod": f"secretmount-{node.name}"},
            }
            for node in nodes
        ]
        static = [{"targets": [f"127.0.0.1:{kube_state.server.server_port}"]}]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": "secretmount", "static_configs": targets},
                # Its own labels `namespace` are those of what it speaks of.
                {"job_name": "kube-state-metrics", "honor_labels": True, "static_configs": static},
            ],
        }
        for job in config["scrape_configs"]:
            for group in job["static_configs"]:
                group.setdefault("labels", {})["cluster"] = CLUSTER
        (self.place / "config.yaml").write_text(yaml.safe_dump(config))
        subprocess.run(
            ["promtool", "check", "config", self.place / "config.yaml"], check=True, stdout=subprocess.DEVNULL
        )
        with (self.place / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self.place / 'config.yaml'}",
                    f"--storage.tsdb.path={self.place / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stderr=log,
            )
        self.url = f"http://127.0.0.1:{port}"
        wait_for(f"Prometheus is ready: {(self.place / 'log').read_text()}", self.is_ready)

    def is_ready(self):
        try:
            return http_text(f"{self.url}/-/ready")
        except OSError:
            return None

    def ask(self, path, **query):
        """What its API answers. A query that it does not understand is an error that says why."""
        try:
            answer = http_text(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query, doseq=True)}")
        except urllib.error.HTTPError as error:
            answer = error.read().decode()
        answer = json.loads(answer)
        if answer["status"] != "success":
            raise AssertionError(f"{answer['error']}: {query}")
        return answer["data"]

    def query(self, expression):
        """Labels and value of each series that there is now."""
        answer = self.ask("query", query=expression)
        if answer["resultType"] == "scalar":
            return [({}, float(answer["result"][1]))]
        return [(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def query_range(self, expression, start, end, step):
        """Labels, and times with values, of each series that there was."""
        answer = self.ask("query_range", query=expression, start=start, end=end, step=step)
        return [(each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in answer["result"]]


class World(contextlib.ExitStack):
    """All of it, until it is closed."""

    def __init__(self, nodes, flags=()):
        super().__init__()
        work = pathlib.Path(tempfile.mkdtemp(dir=os.environ["WORK"]))
        self.began = time.time()
        try:
            self.cloud = Cloud(work)
            self.callback(kill, self.cloud.process)
            self.nodes = []
            for name in nodes:
                node = Node(name, self.cloud, work, flags)
                self.callback(node.kill)
                self.nodes.append(node)
            kube_state = KubeState(self.nodes)
            self.callback(kube_state.server.server_close)
            self.callback(kube_state.server.shutdown)
            self.prometheus = Prometheus(work, self.nodes, kube_state)
            self.callback(kill, self.prometheus.process)
        except BaseException:
            self.close()
            raise
