"""Eight processes of forty workers on one PostgreSQL, and all that can go wrong: `python fleet.py [valkey|postgres]`.

Two are killed, one is frozen beyond its lease, the coordinator is cut off for five seconds and then restarted. All
along the server is asked how many connections it sees.
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack

from fleet_runs import Fleet, Plan, running
from servers import postgres, valkey

BACK = 0.85
"""The part of the throughput before a fault at which it is called back."""


def main(kind: str) -> None:
    plan = Plan()
    with ExitStack() as stack:
        server = stack.enter_context(postgres.start(max_connections=plan.limit + 10))
        if kind == "valkey":
            coordinator, address = stack.enter_context(valkey.start()), "redis://127.0.0.1:{port}/0"
        else:
            coordinator = stack.enter_context(postgres.start(max_connections=50))
            address = "postgresql://postgres@127.0.0.1:{port}/postgres"
        print(f"{kind} is the coordinator; {plan}", flush=True)
        with running(plan, server.dsn, coordinator, address) as fleet:
            play(fleet, coordinator)
        print(fleet.told, flush=True)


def play(fleet: Fleet, coordinator) -> None:
    plan = fleet.plan
    time.sleep(2 * plan.lease_time)  # the time of grace, and then some
    usual = fleet.throughput(4)
    firm = plan.processes * plan.max_size
    print(f"at first: {usual:.0f}/s with up to {plan.limit} connections, of which {firm} are reserved")

    fleet.kill(0)
    fleet.kill(1)
    tell(fleet, "two are killed", usual * (plan.limit - 2 * plan.max_size) / plan.limit)
    fleet.wait_until_ready(fleet.start(), fleet.start())
    tell(fleet, "two new ones are ready", usual)

    fleet.signal(2, signal.SIGSTOP)
    time.sleep(2.5 * plan.lease_time)
    fleet.signal(2, signal.SIGCONT)
    tell(fleet, f"one goes on that was frozen for {2.5 * plan.lease_time:g} s", usual)

    fleet.proxy.cut()
    time.sleep(4)
    without = fleet.throughput(1)
    fleet.proxy.mend()
    tell(fleet, f"the coordinator is back after 5 s of silence, in which it was {without:.0f}/s in the end", usual)

    coordinator.kill()
    coordinator.restart()
    tell(fleet, "the coordinator was killed and is started again", usual)


def tell(fleet: Fleet, what: str, usual: float) -> None:
    """Print how long it took until throughput was back, which has to be within one lease.

    Raises:
        AssertionError: It took longer.
    """
    took = fleet.back_after(BACK * usual, fleet.plan.lease_time)
    print(
        f"{what}: {took:.2f} s until {BACK:.0%} of {usual:.0f}/s; at most {fleet.witness.most} seen so far", flush=True
    )


if __name__ == "__main__":
    for kind in sys.argv[1:] or ["valkey", "postgres"]:
        main(kind)
