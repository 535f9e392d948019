"""What 500 volumes on a node take in memory, refreshed while numbers, status and the log are asked for all the time.

Prints a table. Nothing is asserted: a figure is that of the machine and of the program it was made with.
"""

import concurrent.futures
import threading

from world import World, secret

VOLUMES = 500
ROUNDS = 5
# Pods of a node that kubelet asks for at the same time.
AT_ONCE = 10


def resident(node, what):
    """KiB, as /proc says it: VmRSS now, VmHWM at most."""
    with open(f"/proc/{node.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what))


def asks(node, over):
    """Whoever looks, one after the other and without a pause."""
    seen = 0
    while not over.is_set():
        node.page("application/openmetrics-text")
        node.page("text/plain")
        node.status("--names", "--output=json")
        seen += 1
    return seen


def main():
    flags = ["--metrics-per-volume", "--log-level=debug", "--max-age=1ms"]
    with World(["node-a"], flags) as world:
        node = world.nodes[0]
        objects = [secret("shop/db"), secret("shop/key")]
        print(f"{'':24} {'now':>8} {'at most':>8}  MiB")

        def row(name):
            now, most = (resident(node, what) / 1024 for what in ["VmRSS", "VmHWM"])
            print(f"{name:24} {now:8.1f} {most:8.1f}", flush=True)

        row("idle")
        volumes = [node.publish(world.cloud.pod(f"web-{number}", "node-a"), objects) for number in range(VOLUMES)]
        over = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE + 1) as pool:
            watching = pool.submit(asks, node, over)
            for number in range(ROUNDS):
                list(pool.map(node.mount, volumes))
                row(f"{VOLUMES} volumes, round {number}")
            over.set()
            print(f"{watching.result()} times looked at meanwhile")


main()
