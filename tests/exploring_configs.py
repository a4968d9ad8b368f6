"""The small pools whose schedules are explored.

Each begins in a state where something is at stake, and has the events that bear on it.
"""

from __future__ import annotations

from dataclasses import replace

from asyncio_connection_pool import CoDel, Reconnect
from exploring_world import Config

BASIC = "start create_done create_fails body_ends cancel"
FULL = "start 0; start 0; create_done 0; create_done 0"
"""Two callers inside."""
QUEUE = f"{FULL}; start 0; start 0"
"""Two callers inside, two that wait."""

_SMALL = (
    Config("one slot, from nothing", BASIC, ticks=4),
    Config("one slot, a queue of two", BASIC, "start 0; create_done 0; start 0; start 0", callers=5, ticks=4),
    Config("burst, from nothing", f"{BASIC} close_done body_times_out", burst_limit=2, ticks=4),
    Config("burst, a queue of two", f"{BASIC} close_done body_times_out", QUEUE, burst_limit=2, callers=5, ticks=4),
    Config(
        "burst, everything fails",
        "start create_done create_fails create_cancels create_stillborn close_done close_fails "
        "body_ends body_raises body_times_out cancel discard",
        burst_limit=2,
        ticks=1,
    ),
    Config("burst of two above one", f"{BASIC} close_done", FULL, burst_limit=3, callers=5, ticks=1),
    Config(
        "nothing is kept",
        f"{BASIC} close_done close_fails discard",
        FULL,
        max_size=0,
        burst_limit=2,
        callers=4,
        ticks=3,
    ),
    Config(
        "pool tasks are killed",
        f"{BASIC} body_times_out close_done kill",
        burst_limit=2,
        aborts=True,
        ticks=2,
    ),
    Config(
        "pool tasks are killed, no abort",
        "start create_done body_ends close_done cancel kill",
        FULL,
        burst_limit=2,
        callers=4,
        ticks=2,
    ),
    Config(
        "idle connections are cut",
        "start body_ends cancel cut cut_raises cut_aborts close_done create_done",
        f"{FULL}; body_ends 0; body_ends 1",
        max_size=2,
        callers=4,
        ticks=2,
    ),
    Config(
        "connections in use are cut",
        "start create_done create_fails body_ends body_raises cancel cut cut_raises cut_aborts",
        QUEUE,
        max_size=2,
        callers=5,
        ticks=1,
    ),
    Config(
        "the pool is closed",
        f"{BASIC} close_done close close_within cancel_close fire",
        "start 0; start 0; create_done 0",
        burst_limit=2,
        aborts=True,
        ticks=2,
    ),
    Config(
        "closed, but creates go on",
        f"{BASIC} close_done close close_within cancel_close fire",
        burst_limit=2,
        stubborn=True,
        ticks=2,
    ),
    Config(
        "resets",
        "start create_done body_ends body_times_out reset_done reset_fails close_done cancel kill close",
        "start 0; create_done 0; start 0",
        burst_limit=2,
        resets=True,
        aborts=True,
        callers=4,
        ticks=2,
    ),
    Config(
        "timeouts",
        "start start_now create_done create_fails body_ends cancel close_done fire",
        "start 0; start 0; create_done 0",
        burst_limit=2,
        acquire_timeout=5,
        connect_timeout=3,
        close_timeout=2,
        aborts=True,
        callers=4,
        ticks=2,
    ),
    Config(
        "timeouts, but creates go on",
        f"{BASIC} close_done close fire",
        burst_limit=2,
        acquire_timeout=5,
        connect_timeout=3,
        stubborn=True,
        ticks=2,
    ),
    Config(
        "surplus idles for a while",
        "start create_done body_ends discard cancel close_done fire resize close",
        f"{FULL}; body_ends 0",
        burst_limit=3,
        sizes=(0, 1, 2),
        shrink_delay=4,
        callers=4,
        ticks=1,
    ),
    Config("resized", f"{BASIC} close_done resize", FULL, max_size=2, sizes=(1, 2, 3), callers=4, ticks=2),
    Config(
        "nobody may queue",
        f"{BASIC} close_done fire",
        "start 0; create_done 0",
        burst_limit=2,
        max_waiting=0,
        connect_timeout=3,
        callers=4,
        ticks=2,
    ),
    Config(
        "one may queue, one open at a time",
        f"{BASIC} kill",
        max_size=2,
        max_waiting=1,
        max_connecting=1,
        aborts=True,
        callers=4,
        ticks=2,
    ),
    Config(
        "kept, and growing old",
        f"{BASIC} open close_done fire evict",
        "open 0; create_done 0; start 0",
        max_size=2,
        burst_limit=3,
        shrink_delay=1,
        policies={"min_size": 1, "max_lifetime": 4, "max_idle": 3, "burst_delay": 1},
        callers=4,
        ticks=2,
    ),
    Config(
        "worn and validated",
        "start create_done body_ends cancel second validate_done validate_fails cut close_done kill",
        f"{FULL}; body_ends 0; body_ends 1; second 0; second 0",
        max_size=2,
        policies={"validate_after": 1, "max_uses": 2},
        callers=5,
        ticks=2,
        aborts=True,
    ),
    Config(
        "an outage",
        f"{BASIC} create_stillborn fire open",
        "start 0; start 0; create_fails 0",
        max_size=3,
        policies={"min_size": 1, "reconnect": Reconnect(first=1, longest=4), "track_holders": True},
        callers=4,
        ticks=2,
    ),
    Config(
        "an overload",
        "start body_ends cancel second discard create_done close_done",
        "start 0; create_done 0; start 0; start 0; second 0; second 0",
        policies={"queue_policy": CoDel(target=0.5, interval=1), "leak_threshold": 2},
        callers=5,
        ticks=2,
    ),
)

EVERYTHING = (
    "start start_now create_done create_fails create_cancels create_stillborn close_done close_fails "
    "body_ends body_raises body_times_out discard cancel kill fire cut cut_raises cut_aborts resize "
    "close close_within cancel_close"
)
OVER_TIME = "open evict second second validate_done validate_fails"
EVERY_POLICY = {
    "min_size": 1,
    "max_lifetime": 9,
    "max_uses": 3,
    "max_idle": 4,
    "validate_after": 1,
    "burst_delay": 1,
    "reconnect": Reconnect(first=1, longest=2),
    "queue_policy": CoDel(target=2, interval=3),
    "track_holders": True,
    "leak_threshold": 5,
}
_LARGE = (
    Config(
        "everything",
        f"{EVERYTHING} reset_done reset_fails",
        max_size=2,
        burst_limit=4,
        sizes=(0, 1, 2, 3, 4),
        acquire_timeout=7,
        connect_timeout=5,
        close_timeout=3,
        shrink_delay=2,
        max_connecting=2,
        resets=True,
        aborts=True,
    ),
    Config(
        "everything without resets",
        EVERYTHING,
        max_size=2,
        burst_limit=3,
        sizes=(0, 1, 2, 3),
        acquire_timeout=7,
        connect_timeout=5,
        close_timeout=3,
        stubborn=True,
        max_waiting=3,
        aborts=True,
    ),
    Config(
        "every policy",
        f"{EVERYTHING} {OVER_TIME} reset_done reset_fails",
        max_size=2,
        burst_limit=4,
        sizes=(1, 2, 3, 4),
        shrink_delay=2,
        policies=EVERY_POLICY,
        resets=True,
        aborts=True,
    ),
    Config(
        "every policy and every timeout",
        f"{EVERYTHING} {OVER_TIME}",
        max_size=2,
        burst_limit=3,
        sizes=(1, 2, 3),
        acquire_timeout=12,
        connect_timeout=5,
        close_timeout=3,
        shrink_delay=1,
        max_connecting=2,
        policies=EVERY_POLICY,
        aborts=True,
    ),
)

CONFIGS = {config.name: config for config in _SMALL}
"""Those whose schedules are explored one and all."""

LONG = {config.name: replace(config, callers=60) for config in _LARGE + _SMALL}
"""Those of which long schedules are drawn at random."""
