"""What Prometheus is told of pools at each scrape: the names, and where each number comes from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from asyncio_connection_pool import PoolStats

Family = type[GaugeMetricFamily | CounterMetricFamily]

Numbers = Mapping[str, float]
"""By the value of a label; by "" where there is none but the pool's name."""


@dataclass(frozen=True)
class Reading:
    """A metric that is read from the `stats()` of pools."""

    family: Family
    name: str
    help: str
    read: Callable[[PoolStats], Numbers]
    label: str | None = None

    def collect(self, prefix: str, pools: Iterable[PoolStats]) -> GaugeMetricFamily | CounterMetricFamily:
        """Build the metric; pools of one name are told of as one, since Prometheus takes a series once only."""
        sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        for stats in pools:
            for value, number in self.read(stats).items():
                sums[stats.name, value] += number
        labels = ["pool"] if self.label is None else ["pool", self.label]
        metric = self.family(f"{prefix}_{self.name}", self.help, labels=labels)
        for values, number in sums.items():
            metric.add_metric(values[: len(labels)], number)
        return metric


def _field(family: Family, name: str, field: str, help_: str) -> Reading:
    get = attrgetter(field)
    return Reading(family, name, help_, lambda stats: {"": get(stats)})


def _states(stats: PoolStats) -> Numbers:
    states = ("idle", "in_use", "opening", "validating", "resetting", "closing")
    return {state: getattr(stats, state) for state in states}


def _acquisitions(stats: PoolStats) -> Numbers:
    return {how: getattr(stats, f"acquired_{how}") for how in ("at_once", "after_waiting", "after_opening")}


def _closed(stats: PoolStats) -> Numbers:
    return {str(reason): number for reason, number in stats.closed.items()}


_G, _C = GaugeMetricFamily, CounterMetricFamily

READINGS: Final = (
    Reading(_G, "connections", "Connections by state.", _states, "state"),
    _field(_G, "waiting", "waiting", "Callers in the queue."),
    _field(_G, "max_size", "max_size", "Connections that are kept when nobody needs them."),
    _field(_G, "min_size", "min_size", "Connections that are kept open even when nobody needs them."),
    _field(_G, "limit", "limit", "Connections that may be open at all."),
    Reading(_C, "acquisitions", "Acquisitions that got a connection, by how.", _acquisitions, "how"),
    _field(_C, "waited_seconds", "wait_seconds_total", "Seconds that served acquisitions have waited, in all."),
    _field(_C, "timeouts", "timeouts", "Acquisitions that ran out of time."),
    _field(_C, "rejections", "rejections", "Acquisitions that an overloaded pool refused."),
    _field(
        _C, "would_be_rejections", "would_be_rejections", "Acquisitions that a policy which only observes would refuse."
    ),
    _field(_C, "opened", "created", "Connections that were opened."),
    _field(_C, "create_failures", "create_failures", "Connections that failed to open."),
    Reading(_C, "closed", "Connections that left the pool, by the reason.", _closed, "reason"),
)
