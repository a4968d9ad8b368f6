"""Events that befall a ledger, for Hypothesis to choose from, or chance.

Hypothesis chooses well and shrinks what it finds; a walk is the same on every interpreter and with every release of
Hypothesis, and takes a fraction of the time. So the ledger is held against its model by Hypothesis, and the mutants
of the ledger are hunted by walks.
"""

from __future__ import annotations

import random

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

EVENTS = {}
"""Each event's name, its condition, and what its arguments are chosen from."""


def beginning(**choices):
    """Mark what makes a ledger and its model."""

    def mark(method):
        EVENTS[method.__name__] = (None, choices)
        return initialize(**_strategies(choices))(method)

    return mark


def event(can, /, **choices):
    """Mark an event.

    Args:
        can: Tells of a machine whether the event can happen now.
        choices: What each of its arguments is chosen from; what comes first is the simplest.
    """

    def mark(method):
        EVENTS[method.__name__] = (can, choices)
        return precondition(can)(rule(**_strategies(choices))(method))

    return mark


def _strategies(choices):
    return {name: st.sampled_from(values) for name, values in choices.items()}


def walk(machine, seed, steps, **pool):
    """Let chance choose, in a way that a seed determines; some events are likely in a walk, and others rule it out.

    Args:
        pool: What the arguments of the beginning are chosen from, where that is not all there is.
    """
    chance = random.Random(seed)
    likely = {name: chance.choice((0, 1, 1, 2, 5)) for name, (can, _) in EVENTS.items() if can is not None}
    _happen(machine, chance, "build", **pool)
    for _ in range(steps):
        machine.after_each_event()
        names = [name for name in likely if EVENTS[name][0](machine)]
        weights = [likely[name] for name in names]
        if any(weights):
            _happen(machine, chance, *chance.choices(names, weights))


def _happen(machine, chance, name, **narrowed):
    choices = EVENTS[name][1] | narrowed
    getattr(machine, name)(**{argument: chance.choice(values) for argument, values in choices.items()})
