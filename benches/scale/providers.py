"""What each provider asks of AWS and of the Kubernetes API server when the driver calls it."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

NEVER = -math.inf


class Workload(NamedTuple):
    """Pods with one service account, one role and one class."""

    number: int
    has_parameters: bool


@dataclass
class Calls:
    """What was asked for in each second. What comes before the first or after the last is not counted."""

    seconds: int
    secret_reads: list[int] = field(init=False)
    """Reads of all secrets of a class: some calls of GetSecretValue each, or a BatchGetSecretValue or two."""
    parameter_reads: list[int] = field(init=False)
    """Reads of all parameters of a class."""
    sessions: list[int] = field(init=False)
    account_reads: list[int] = field(init=False)
    """Reads of a ServiceAccount at the API server."""

    def __post_init__(self) -> None:
        self.secret_reads, self.parameter_reads, self.sessions, self.account_reads = (
            [0] * self.seconds for _ in range(4)
        )

    def count(self, series: list[int], now: float) -> None:
        if 0 <= now < self.seconds:
            series[int(now)] += 1

    def count_read(self, workload: Workload, now: float) -> None:
        self.count(self.secret_reads, now)
        if workload.has_parameters:
            self.count(self.parameter_reads, now)


class Provider(Protocol):
    calls: Calls

    def mount(self, now: float, node: int, workload: Workload, is_first: bool) -> None:
        """The driver calls, for a pod that starts or for one that runs."""

    def lose(self, node: int) -> None:
        """The node goes, and another takes its place."""


class Official:
    """The official provider 3.1.1: every call is a full read with a session of its own.

    Before that it reads the ServiceAccount, with a client that makes so many requests a second and no more. Driver
    1.6.0 does not tell it which versions are mounted, so it never gets to ask DescribeSecret instead.
    """

    def __init__(self, calls: Calls, requests_a_second: float, burst: int) -> None:
        self.calls = calls
        self.spacing = 1 / requests_a_second
        self.tolerance = (burst - 1) * self.spacing
        self.next_request: defaultdict[int, float] = defaultdict(lambda: NEVER)

    def mount(self, now: float, node: int, workload: Workload, is_first: bool) -> None:
        now = self.when_client_lets_it(now, node)
        self.calls.count(self.calls.account_reads, now)
        self.calls.count(self.calls.sessions, now)
        self.calls.count_read(workload, now)

    def when_client_lets_it(self, now: float, node: int) -> float:
        due = max(self.next_request[node], now)
        self.next_request[node] = due + self.spacing
        return max(now, due - self.tolerance)

    def lose(self, node: int) -> None:
        self.next_request.pop(node, None)


class Kept:
    """What secretmount keeps on one node for one service account: when it asked, and until when its session does."""

    __slots__ = ("account_read", "asked", "session_due")

    def __init__(self, session_due: float = NEVER) -> None:
        self.account_read = NEVER
        self.asked = NEVER
        self.session_due = session_due


@dataclass(frozen=True)
class Keeping:
    """How long secretmount keeps what. Seconds."""

    max_age: float
    session_life: float
    latency: float
    """Of a call to AWS: who comes while one is under way shares the next."""

    RENEWED_AFTER = 0.80
    RENEWAL_JITTER = 0.05
    ACCOUNT_AGE_AT_FIRST = 1.0


class Secretmount:
    """secretmount: one session for a service account on a node, and one answer for those who may share it."""

    def __init__(self, calls: Calls, keeping: Keeping, random: Random) -> None:
        self.calls = calls
        self.keeping = keeping
        self.random = random
        self.nodes: defaultdict[int, defaultdict[Workload, Kept]] = defaultdict(lambda: defaultdict(Kept))

    def has_run_for_long(self, now: float, node: int, workload: Workload) -> None:
        """There is a session, of any age."""
        kept = self.nodes[node][workload]
        if kept.session_due == NEVER:
            kept.session_due = now + self.random.random() * self.keeping.RENEWED_AFTER * self.keeping.session_life

    def mount(self, now: float, node: int, workload: Workload, is_first: bool) -> None:
        kept = self.nodes[node][workload]
        if now - kept.account_read > (self.keeping.ACCOUNT_AGE_AT_FIRST if is_first else self.keeping.max_age):
            kept.account_read = now
            self.calls.count(self.calls.account_reads, now)
        # A first mount takes what was asked for after it came, a refresh also what is not too old.
        if kept.asked < (now if is_first else now - self.keeping.max_age):
            self.read(max(now, kept.asked + self.keeping.latency), kept, workload)

    def read(self, now: float, kept: Kept, workload: Workload) -> None:
        kept.asked = now
        self.calls.count_read(workload, now)
        if now >= kept.session_due:
            self.calls.count(self.calls.sessions, now)
            kept.session_due = now + self.until_renewal()

    def until_renewal(self) -> float:
        jitter = (2 * self.random.random() - 1) * self.keeping.RENEWAL_JITTER
        return self.keeping.session_life * (self.keeping.RENEWED_AFTER + jitter)

    def lose(self, node: int) -> None:
        self.nodes.pop(node, None)
