"""A small fleet for every run of the tests: one is killed, one frozen beyond its lease, the coordinator restarted."""

from __future__ import annotations

import signal
import time

from fleet_runs import Plan, running

SMALL = Plan(processes=3, workers=6, max_size=1, burst_limit=6, limit=8, lease_time=1.5, query=0.02, shrink_delay=0.05)


def small_fleet(server: str, coordinator, address: str) -> None:
    """Kill, freeze and restart, and look that the server never sees more than `limit`, and all go on."""
    with running(SMALL, server, coordinator, address) as fleet:
        usual = fleet.throughput(1)
        fleet.kill(0)
        fleet.signal(1, signal.SIGSTOP)
        time.sleep(1.5 * SMALL.lease_time)
        fleet.signal(1, signal.SIGCONT)
        coordinator.kill()
        coordinator.restart()
        took = fleet.back_after(usual / 4, 30)
    print(f"\n{usual:.0f} uses a second at first, {took:.2f} s until it is a fourth of that in the end; {fleet.told}")
    assert fleet.told["most"] > SMALL.processes * SMALL.max_size, "nothing was borrowed"
