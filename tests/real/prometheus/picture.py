"""Draws the dashboard from what a real Prometheus saw in a run of four minutes, and the status of a node in trouble. Started by
./run --picture DIRECTORY.
"""

import collections
import contextlib
import functools
import pathlib
import subprocess
import sys
import threading
import time

import drawing
import terminal
from expressions import dashboard, filled
from world import World, forged, parameter, secret

DURATION, STEP, RATE_INTERVAL = 240, 3, 12
# A driver asks every two minutes; here there is no time for that.
REFRESHED_EVERY, STARTED_EVERY = 2, 1.5
VOLUMES_OF_A_NODE = 12
ROUNDS_IN_TROUBLE = 4

# What happens, in seconds from the start; without an end it lasts until the picture is taken.
Trouble = collections.namedtuple("Trouble", "name begins ends begin end")
OUTAGE = {"service": "secretsmanager"}, {"service": "ssm"}, {"service": "sts"}
THROTTLED = {"error": {"status": 400, "code": "ThrottlingException", "message": "Rate exceeded"}}


def troubles(world):
    node_a, node_b, node_c = world.nodes
    cloud = world.cloud

    def outage():
        for service in OUTAGE:
            cloud.fault("reset", **service)

    def throttling():
        for api in ["GetSecretValue", "GetParameters"]:
            cloud.fault(THROTTLED, api=api, share=0.6)

    def deletion():
        cloud.control("DELETE", "secrets/eu-west-1?name=shop/db")

    def restart():
        node_b.kill()
        node_b.socket.unlink(missing_ok=True)
        node_b.start()
        node_a.socket.unlink()

    return [
        Trouble("AWS cannot be reached", 50, 80, outage, cloud.clear_faults),
        Trouble("node-b's provider is restarted, node-a's socket removed", 100, 100, restart, None),
        Trouble("AWS throttles", 120, 150, throttling, cloud.clear_faults),
        Trouble("a secret is deleted", 175, None, deletion, None),
        Trouble("node-c loses its provider", 210, None, node_c.kill, None),
    ]


class Load(threading.Thread):
    """Pods that come and go on a node, and the refreshes of their volumes."""

    def __init__(self, world, node, stop):
        super().__init__(daemon=True)
        self.world, self.node, self.stop = world, node, stop
        self.volumes, self.failing = [], set()

    def run(self):
        refreshing = threading.Thread(target=self.refresh, daemon=True)
        refreshing.start()
        for number in range(10**6):
            if self.stop.wait(STARTED_EVERY):
                break
            self.start_pod(number)
        refreshing.join()

    def start_pod(self, number):
        pod = self.world.cloud.pod(f"web-{self.node.name}-{number}", self.node.name)
        objects = [secret("shop/key"), parameter("/shop/url")]
        if number % 4 == 0:
            objects.append(secret("shop/db"))
        if number % 4 == 1:
            objects.append(secret("shop/feature", optional=True))
        if number % 9 == 5:
            objects.append(secret("shop/missing"))
        if number % 16 == 7:
            pod = pod._replace(tokens=forged(pod.tokens))
        more = {"usePodIdentity": "true"} if number % 3 == 0 else {}
        volume = self.node.publish(pod, objects, **more)
        if self.node.fails(volume):
            return
        self.volumes.append(volume)
        # Pods that are well make room for others. One that ends while it fails would count as failing for long after.
        well = [old for old in self.volumes if old.path not in self.failing]
        if len(self.volumes) > VOLUMES_OF_A_NODE and well:
            self.volumes.remove(well[0])
            subprocess.run(["umount", well[0].path], check=False)

    def refresh(self):
        while not self.stop.wait(REFRESHED_EVERY):
            for volume in list(self.volumes):
                change = self.failing.add if self.node.fails(volume) else self.failing.discard
                change(volume.path)


def rotate(cloud, value):
    cloud.control("PUT", "secrets/eu-west-1?name=shop/key", value)


def run(world):
    """Gives when it began, and what happened when."""
    stop, begin = threading.Event(), time.time()
    loads = [Load(world, node, stop) for node in world.nodes]
    for load in loads:
        load.start()
    happened = troubles(world)
    marks = [(trouble.begins, trouble.begin) for trouble in happened]
    marks += [(trouble.ends, trouble.end) for trouble in happened if trouble.end]
    marks += [(at, functools.partial(rotate, world.cloud, str(at))) for at in range(20, DURATION, 20)]
    for at, act in sorted(marks, key=lambda mark: mark[0]):
        stop.wait(max(0, begin + at - time.time()))
        act()
    stop.wait(max(0, begin + DURATION - time.time()))
    end = time.time()
    stop.set()
    return begin, end, [drawing.Band(t.name, t.begins, DURATION if t.ends is None else t.ends) for t in happened]


def answers(prometheus, panel, begin, end):
    """The series of each question of a panel, by the name that it has in the legend."""
    for target in panel["targets"]:
        expression = filled(target["expr"], f"{RATE_INTERVAL}s", f"{DURATION}s")
        if panel["type"] == "timeseries":
            for labels, values in prometheus.query_range(expression, begin, end, STEP):
                yield drawing.Series(legend(target, labels), labels, [(at - begin, value) for at, value in values])
        else:
            for each in prometheus.ask("query", query=expression, time=end)["result"]:
                labels = each["metric"]
                yield drawing.Series(legend(target, labels), labels, [(DURATION, float(each["value"][1]))])


def legend(target, labels):
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def in_trouble(world):
    """A node of which some volumes cannot be refreshed, and one pod cannot start."""
    node, cloud = world.nodes[0], world.cloud
    objects = {
        "web-0": [secret("shop/key"), parameter("/shop/url")],
        "web-1": [secret("shop/key"), parameter("/shop/url")],
        "orders-0": [secret("shop/key"), secret("shop/db")],
        "billing-0": [secret("shop/key"), secret("shop/feature", optional=True)],
        "report-0": [secret("shop/missing")],
    }
    volumes = [node.publish(cloud.pod(pod, node.name), wanted) for pod, wanted in objects.items()]
    for volume in volumes:
        node.fails(volume)
    cloud.control("DELETE", "secrets/eu-west-1?name=shop/db")
    for _ in range(ROUNDS_IN_TROUBLE):
        time.sleep(REFRESHED_EVERY + 3)
        for volume in volumes:
            node.fails(volume)
    return node


def status(node):
    """As an operator of that node sees it."""
    command = "kubectl exec --namespace kube-system ds/secretmount -- secretmount status"
    # The socket for operators is where it is on a real node, and that of the driver is shown where it is there.
    printed = node.status().replace(str(node.socket.parent), "/var/run/secrets-store-csi-providers")
    lines = printed.splitlines()
    kinds = lambda line: "head" if line in (lines[0], lines[1]) else "bad" if " failing " in line else ""
    return terminal.draw(command, lines, kinds)


def main():
    docs = pathlib.Path(sys.argv[1])
    with World(["ip-10-0-3-7"], ["--max-age=4s", "--failed-refresh-pause=2s"]) as world:
        (docs / "status.svg").write_text(status(in_trouble(world)))
    flags = ["--max-age=4s", "--failed-refresh-pause=2s", "--mount-deadline=8s"]
    with World(["node-a", "node-b", "node-c"], flags) as world:
        begin, end, bands = run(world)
        shown = [
            (panel, [] if panel["type"] == "row" else list(answers(world.prometheus, panel, begin, end)))
            for panel in dashboard()["panels"]
        ]
    (docs / "dashboard.svg").write_text(drawing.draw(shown, bands, DURATION))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
