"""Holds what `advise` predicts against what `load` then measures, on a real PostgreSQL.

    python contrib_tests/lab_prediction.py [--seconds 40] [--rounds 3]

Callers come at random times, and each holds its connection for the 50 ms of a `pg_sleep`. They are recorded at a pool
that is large enough; the recording is replayed with smaller ones. The same callers are sent to real pools of those
sizes, at the same time, so that all are on a machine that is equally busy; which can't be quiet enough, so this is no
part of the tests. The exit status is 1 if a prediction of the p99 is off by more than 15 %.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import lab_runs
from servers import postgres

QUERY = "SELECT pg_sleep(0.05)"
RATE = 48  # callers a second, so 2.4 connections are in use
LARGE = 20
SIZES = (3, 4, 5)
MOST_OFF = 0.15


def main():
    arguments = argparse.ArgumentParser(description="Hold predictions against measurements.")
    arguments.add_argument("--seconds", type=float, default=40.0, help="of each measurement (%(default)s)")
    arguments.add_argument("--rounds", type=int, default=3, help="with other callers in each (%(default)s)")
    options = arguments.parse_args()
    errors = []
    with postgres.start() as server, tempfile.TemporaryDirectory() as folder:
        for seed in range(options.rounds):
            load = "load", server.dsn, "--query", QUERY, "--rate", RATE, "--seed", seed, "--seconds", options.seconds
            errors += compare(load, Path(folder) / f"{seed}.jsonl", seed)
    worst = max(map(abs, errors))
    print(f"off by {worst:.1%} at the most, which may be {MOST_OFF:.0%}")
    return int(worst > MOST_OFF)


def compare(load, file, seed):
    """Measure and predict for each size; yield how far off each prediction is."""
    large = lab_runs.start(*load, "--max-size", LARGE, "--record", file)
    real = {size: lab_runs.start(*load, "--max-size", size) for size in SIZES}
    assert lab_runs.end(large)[0] == 0
    sizes = ",".join(map(str, SIZES))
    predictions = p99s(lab_runs.run("advise", file, "--max-size", sizes))
    for size, process in real.items():
        measured = p99s(lab_runs.end(process)[1])[size]
        predicted = predictions[size]
        off = predicted / measured - 1
        figures = f"predicted {1e3 * predicted:6.1f} ms, measured {1e3 * measured:6.1f} ms: {off:+.1%}"
        print(f"callers {seed}, max_size={size}: p99 of waits {figures}", flush=True)
        yield off


def p99s(out):
    """Read the p99 of waits in a table, in seconds, by size."""
    rows = [row for row in lab_runs.rows(out) if row["burst_limit"] == "–"]
    return {int(row["max_size"]): seconds(row["wait p99"]) for row in rows}


def seconds(text):
    """Read a time as the lab writes it."""
    number, unit = re.fullmatch(r"([\d.]+) (µs|ms|s)", text).groups()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1}[unit]


if __name__ == "__main__":
    sys.exit(main())
