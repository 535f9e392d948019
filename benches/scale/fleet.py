"""A fleet of nodes, as a sequence of events: pods start, are refreshed, are replaced by deployments and by drains."""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random

from providers import Calls, Keeping, Official, Provider, Secretmount, Workload

HOUR = 3_600
WARM_UP = 600
"""Seconds before the hour that is counted."""
STORM = 600
"""Seconds that are counted from the beginning of a wave of new nodes."""
CELL = 250
"""Most nodes that are simulated one by one. A larger fleet is several of such cells."""
KUBELET_JITTER = 0.5
"""Kubelet adds up to this part of its sync interval."""


def option(default: float, meaning: str, may_be_zero: bool = False):
    """A field that is also an option of the command line."""
    return field(default=default, metadata={"meaning": meaning, "may be zero": may_be_zero})


@dataclass(frozen=True)
class Fleet:
    """What the model knows of a fleet. Times are in seconds, unless their names say hours."""

    nodes: int = 1_000
    together: int = 1
    """Pods of one service account on one node."""

    pods_per_node: int = option(50, "pods with a volume on each node")
    replicas: int = option(20, "pods of a workload, which has one service account and one role")
    secrets: int = option(10, "secrets of Secrets Manager in each pod", may_be_zero=True)
    parameters: int = option(25, "parameters of Parameter Store in each pod that has any", may_be_zero=True)
    parameter_share: float = option(0.2, "part of the workloads that have parameters", may_be_zero=True)
    sync_interval: float = option(60, "kubelet's sync interval; it calls the driver after 1 to 1.5 times as long")
    poll_interval: float = option(120, "the driver's rotationPollInterval", may_be_zero=True)
    max_age: float = option(60, "--max-age of secretmount", may_be_zero=True)
    session_life: float = option(
        3_600, "life of an AWS session; secretmount renews it after four fifths, 5 % either way"
    )
    latency: float = option(0.03, "time that AWS takes for an answer", may_be_zero=True)
    rollouts_per_hour: float = option(0.25, "deployments of each workload in an hour", may_be_zero=True)
    rollout_surge: float = option(0.25, "part of a workload's pods that a deployment replaces at a time")
    rollout_step: float = option(30, "time until it replaces the next", may_be_zero=True)
    node_life_hours: float = option(240, "hours after which a node is drained; one in the hour is drained at least")
    wave: float = option(0.05, "part of the nodes that an upgrade of all nodes replaces at a time")
    scheduler_rate: float = option(100, "pods that the cluster starts in a second")
    start_spread: float = option(2, "time from a pod's place on a node to its first mount, at most", may_be_zero=True)
    kube_qps: float = option(5, "--qps of the official provider: its requests a second to the API server, on each node")
    kube_burst: int = option(10, "--burst of the official provider")
    seed: int = option(1, "seed of the random numbers", may_be_zero=True)


@dataclass(frozen=True)
class Outcome:
    """The calls of both providers in the same time."""

    official: Calls
    ours: Calls


class Pod:
    __slots__ = ("workload", "group", "node", "is_gone")

    def __init__(self, workload: Workload, group: int, node: int) -> None:
        self.workload = workload
        self.group = group
        """Pods of a group are always on one node."""
        self.node = node
        self.is_gone = False


class Simulation:
    """Nodes with pods, and the providers that the driver calls. Both providers see the same calls."""

    def __init__(self, fleet: Fleet, seconds: int, providers: list[Provider], random: Random) -> None:
        self.fleet = fleet
        self.seconds = seconds
        self.providers = providers
        self.random = random
        self.events: list[tuple[float, int, Callable, object]] = []
        self.number = 0
        self.pods_on: list[set[Pod]] = [set() for _ in range(fleet.nodes)]
        self.replicas_of: dict[Workload, list[Pod]] = {}

    def at(self, time: float, action: Callable, subject: object) -> None:
        self.number += 1  # so that events of one time keep their order
        heapq.heappush(self.events, (time, self.number, action, subject))

    def run(self) -> None:
        while self.events and self.events[0][0] < self.seconds:
            time, _, action, subject = heapq.heappop(self.events)
            action(time, subject)

    def place_pods(self) -> list[Pod]:
        """Fills the nodes with groups of workloads, in any order."""
        fleet = self.fleet
        groups_per_workload = max(1, fleet.replicas // fleet.together)
        groups_per_node = max(1, fleet.pods_per_node // fleet.together)
        places = shuffled([node for node in range(fleet.nodes) for _ in range(groups_per_node)], self.random)
        pods = []
        for group, node in enumerate(places):
            number = group // groups_per_workload
            workload = Workload(number, has_share(number, fleet.parameter_share))
            pods += [self.add(Pod(workload, group, node)) for _ in range(min(fleet.together, fleet.pods_per_node))]
        return pods

    def add(self, pod: Pod) -> Pod:
        self.pods_on[pod.node].add(pod)
        self.replicas_of.setdefault(pod.workload, []).append(pod)
        return pod

    # What happens

    def first_mount(self, now: float, pod: Pod) -> None:
        self.mount(now, pod, is_first=True)

    def refresh(self, now: float, pod: Pod) -> None:
        self.mount(now, pod, is_first=False)

    def mount(self, now: float, pod: Pod, is_first: bool) -> None:
        if pod.is_gone:
            return
        for provider in self.providers:
            provider.mount(now, pod.node, pod.workload, is_first)
        self.at(self.next_refresh(now), self.refresh, pod)

    def next_refresh(self, mounted: float) -> float:
        """Kubelet calls the driver again and again; the driver calls the provider when the volume is old enough."""
        time = mounted
        while time == mounted or time - mounted < self.fleet.poll_interval:
            time += self.fleet.sync_interval * (1 + KUBELET_JITTER * self.random.random())
        return time

    def roll_out(self, now: float, workload: Workload) -> None:
        """A deployment: some pods at a time make place for new ones."""
        pods = list(self.replicas_of[workload])
        at_a_time = math.ceil(len(pods) * self.fleet.rollout_surge)
        for place, pod in enumerate(pods):
            self.at(now + place // at_a_time * self.fleet.rollout_step, self.replace_by_deployment, pod)

    def replace_by_deployment(self, now: float, pod: Pod) -> None:
        if not pod.is_gone:
            # Workloads that have many pods on a node are taken to have nodes of their own.
            self.move(now, pod, pod.node if self.fleet.together > 1 else self.any_node())

    def drain(self, now: float, node: int) -> None:
        """All pods of a node start at once on others, as fast as they are scheduled."""
        targets: dict[int, int] = {}
        leaving = sorted(self.pods_on[node], key=lambda pod: pod.group)
        for provider in self.providers:
            provider.lose(node)
        for place, pod in enumerate(leaving):
            target = targets.setdefault(pod.group, self.any_node(but=node))
            self.move(now + place / self.fleet.scheduler_rate, pod, target)

    def move(self, now: float, pod: Pod, node: int) -> None:
        pod.is_gone = True
        self.pods_on[pod.node].discard(pod)
        replicas = self.replicas_of[pod.workload]
        replicas.remove(pod)
        self.at(self.started(now), self.first_mount, self.add(Pod(pod.workload, pod.group, node)))

    def started(self, scheduled: float) -> float:
        return scheduled + self.random.random() * self.fleet.start_spread

    def any_node(self, but: int | None = None) -> int:
        if but is None or self.fleet.nodes == 1:
            return int(self.random.random() * self.fleet.nodes)
        node = int(self.random.random() * (self.fleet.nodes - 1))
        return node + (node >= but)


def shuffled(items: list, random: Random) -> list:
    """Python promises to keep what `random()` gives for a seed, but not what `shuffle` does with it."""
    keys = [random.random() for _ in items]
    return [items[place] for place in sorted(range(len(items)), key=keys.__getitem__)]


def has_share(number: int, share: float) -> bool:
    """Whether a numbered thing is among a share of all, evenly."""
    return math.floor((number + 1) * share + 1e-9) > math.floor(number * share + 1e-9)


def an_hour(fleet: Fleet) -> Outcome:
    """Refreshes, deployments and drains of an hour like any other."""
    copies = math.ceil(fleet.nodes / CELL)
    cell = an_hour_of_a_cell(replace(fleet, nodes=fleet.nodes // copies))
    random = Random(fleet.seed)
    shifts = [0] + [int(random.random() * HOUR) for _ in range(copies - 1)]
    return Outcome(at_other_times(cell.official, shifts), at_other_times(cell.ours, shifts))


@cache
def an_hour_of_a_cell(fleet: Fleet) -> Outcome:
    random = Random(fleet.seed)
    official, ours = providers_of(fleet, HOUR)
    simulation = Simulation(fleet, HOUR, [official, ours], random)
    for pod in simulation.place_pods():
        ours.has_run_for_long(-WARM_UP, pod.node, pod.workload)
        due = random.random() * (fleet.poll_interval + fleet.sync_interval / 2) - WARM_UP
        simulation.at(due, simulation.refresh, pod)
    workloads = list(simulation.replicas_of)
    for _ in range(round(len(workloads) * fleet.rollouts_per_hour)):
        workload = workloads[int(random.random() * len(workloads))]
        simulation.at(random.random() * HOUR, simulation.roll_out, workload)
    for _ in range(drains_in_an_hour(fleet)):
        simulation.at(random.random() * HOUR, simulation.drain, simulation.any_node())
    simulation.run()
    return Outcome(official.calls, ours.calls)


def drains_in_an_hour(fleet: Fleet) -> int:
    """At least one, so that its peak is seen in small fleets too."""
    return max(1, round(fleet.nodes / fleet.node_life_hours))


@cache
def a_wave(fleet: Fleet) -> Outcome:
    """Some of the nodes are replaced at once: all their pods start on new nodes, as fast as they are scheduled."""
    random = Random(fleet.seed)
    official, ours = providers_of(fleet, STORM)
    simulation = Simulation(fleet, STORM, [official, ours], random)
    replaced = math.ceil(fleet.nodes * fleet.wave)
    starting = [pod for pod in simulation.place_pods() if pod.node < replaced]
    for place, pod in enumerate(shuffled(starting, random)):
        simulation.at(simulation.started(place / fleet.scheduler_rate), simulation.first_mount, pod)
    simulation.run()
    return Outcome(official.calls, ours.calls)


def providers_of(fleet: Fleet, seconds: int) -> tuple[Official, Secretmount]:
    keeping = Keeping(fleet.max_age, fleet.session_life, fleet.latency)
    official = Official(Calls(seconds), fleet.kube_qps, fleet.kube_burst)
    return official, Secretmount(Calls(seconds), keeping, Random(fleet.seed + 1))


def at_other_times(calls: Calls, shifts: list[int]) -> Calls:
    """The calls of as many cells as there are shifts, each being this one so many seconds later."""
    many = Calls(calls.seconds)
    for name in ("secret_reads", "parameter_reads", "sessions", "account_reads"):
        series = getattr(calls, name)
        turned = [series[-shift:] + series[:-shift] for shift in shifts]
        setattr(many, name, [sum(second) for second in zip(*turned)])
    return many
