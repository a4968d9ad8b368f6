"""Small mistakes that one could make in the ledger, and how to load a ledger that has one.

A mutant is a replacement in the source of a module. Its text has to be there, and once, or loading it fails: a mutant
can't outlive the code that it is about.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType, SimpleNamespace

PACKAGE = "asyncio_connection_pool"
COPY = "mutant_of_the_pool"
MODULES = ("_stats", "_slot", "_queue", "_policies", "_codel", "_limits", "_retirement", "_ledger", "_lease")
"""What the state machine consists of, in the order of their imports."""

SWEEP_SOON = ("_queue", "SWEEP_AT: Final = 32", "SWEEP_AT: Final = 0")
"""With queues as short as the rule machine's, nothing would be swept else."""


class OutdatedMutantError(AssertionError):
    """The text that a mutant replaces is not in the source, or more than once."""


def shipped():
    """Give the state machine's modules as they are installed."""
    modules = {name.lstrip("_"): importlib.import_module(f"{PACKAGE}.{name}") for name in MODULES}
    return SimpleNamespace(**modules)


def load(*changes):
    """Load a copy of the state machine's modules, with changes to their source."""
    sources = {name: _source(name) for name in MODULES}
    for module, old, new in changes:
        found = sources[module].count(old)
        if found != 1:
            raise OutdatedMutantError(f"{module} has this {found} times, not once:\n{old}")
        sources[module] = sources[module].replace(old, new)
    modules = {name: ModuleType(f"{COPY}.{name}") for name in MODULES}
    sys.modules |= {module.__name__: module for module in modules.values()}
    try:
        for name, module in modules.items():
            exec(compile(_redirect(sources[name]), f"<mutant of {name}>", "exec"), vars(module))
    finally:
        for module in modules.values():
            del sys.modules[module.__name__]
    return SimpleNamespace(**{name.lstrip("_"): module for name, module in modules.items()})


def _source(name):
    return importlib.util.find_spec(f"{PACKAGE}.{name}").loader.get_source(f"{PACKAGE}.{name}")


def _redirect(source):
    for name in MODULES:
        source = source.replace(f"from {PACKAGE}.{name} import", f"from {COPY}.{name} import")
    return source


IN_LEDGER = {
    "a wait for what was returned counts as one for an open": (
        "        if slot.fresh:\n",
        "        if True:\n",
    ),
    "the longest wait is the last": (
        "if waited > totals.wait_seconds_max:",
        "if True:",
    ),
    "a returned connection is laid by though somebody waits": (
        "            self.calm = False\n        self.queue.push(waiter)",
        "        self.queue.push(waiter)",
    ),
    "surplus is laid by": (
        "self.calm = self.held <= self.kept",
        "self.calm = self.held <= self.kept + 1",
    ),
    "the last that may be laid by is not": (
        "self.calm = self.held <= self.kept",
        "self.calm = self.held < self.kept",
    ),
    # The limit (C1).
    "an open that is given up frees its slot at once": (
        "self.move(slot, CLOSING)\n        self.broken_off += 1",
        'self.move(slot, "gone")\n        self.broken_off += 1',
    ),
    "what is above a lowered limit is handed on": (
        "if slot.doom or self.held > self.limit:",
        "if slot.doom:",
    ),
    "what is above a lowered limit is handed straight on": (
        "if slot.doom or self.held > self.limit or",
        "if slot.doom or",
    ),
    "a connection that was handed straight on is in nobody's hands": (
        "        slot.handed = True\n        self.handed += 1\n        return waiter",
        "        return waiter",
    ),
    "what is at the limit is closed": (
        "if slot.doom or self.held > self.limit:",
        "if slot.doom or self.held >= self.limit:",
    ),
    # Callers who wait.
    "the longest queue is one shorter than max_waiting": (
        "uncovered > self.max_waiting",
        "uncovered >= self.max_waiting",
    ),
    "the longest queue is one longer than max_waiting": (
        "uncovered > self.max_waiting",
        "uncovered > self.max_waiting + 1",
    ),
    "max_waiting counts callers for whom something is being opened": (
        "self.queue.length + 1 - self.supply -",
        "self.queue.length + 1 -",
    ),
    "a closed pool takes callers": (
        "        self.shut = True\n",
        "",
    ),
    "a timeout of 0 is not counted": (
        'self.totals.timeouts += 1\n            return "not now"',
        'return "not now"',
    ),
    "a rejection is not counted": (
        '            self.totals.rejections += 1\n            return "overloaded"',
        '            return "overloaded"',
    ),
    "a timeout in the queue is not counted": (
        "self.totals.timeouts += self.queue.remove(waiter)",
        "self.queue.remove(waiter)",
    ),
    "a caller whose connection is gone counts as served": (
        "        if not slot.handed:\n            return False\n",
        "",
    ),
    "a hand-over in vain is not settled when it is placed again": (
        "        self.unhand(slot)\n        if slot.doom",
        "        if slot.doom",
    ),
    "a connection stays fresh in the hands of a caller": (
        "            slot.fresh = False\n",
        "",
    ),
    "a connection stays fresh on the stack": (
        "slot.fresh = False\n        self.idle.append(slot)",
        "self.idle.append(slot)",
    ),
    # Opens.
    "an open that is given up is not remembered": (
        "        self.broken_off += 1\n",
        "",
    ),
    "an open that was given up is remembered for ever": (
        "        self.broken_off -= 1\n",
        "",
    ),
    "each caller has an open of its own, whatever is in flight": (
        "if self.queue.length > self.supply:",
        "if self.queue.length:",
    ),
    "one open is started too many": (
        "if self.queue.length > self.supply:",
        "if self.queue.length >= self.supply:",
    ),
    "one open is started too few": (
        "if self.queue.length > self.supply:",
        "if self.queue.length > self.supply + 1:",
    ),
    "what was opened is not counted": (
        "slot.conn = conn\n        self.totals.created += 1",
        "slot.conn = conn",
    ),
    "a failed open is not counted": (
        "        self.totals.create_failures += 1\n        self.free(slot)",
        "        self.free(slot)",
    ),
    "a failed open keeps its slot": (
        "        self.totals.create_failures += 1\n        self.free(slot)",
        "        self.totals.create_failures += 1",
    ),
    "an open that was given up and failed keeps its slot": (
        "        else:\n            self.free(slot)\n",
        "",
    ),
    "what a given up open has yielded is not counted": (
        '            self.totals.closed["broken_off"] += 1\n',
        "",
    ),
    # Places.
    "a doomed connection is used again": (
        "if slot.doom or self.held > self.limit:",
        "if self.held > self.limit:",
    ),
    "surplus is closed although somebody waits": (
        "if slot.doom or self.held > self.limit:",
        "if slot.doom or self.held > self.max_size:",
    ),
    "surplus begins one too early": (
        "if self.held > self.max_size and not self.policies",
        "if self.held >= self.max_size and not self.policies",
    ),
    "surplus begins one too late": (
        "if self.held > self.max_size and not self.policies",
        "if self.held > self.max_size + 1 and not self.policies",
    ),
    "surplus is closed at once whatever the delay": (
        "if self.held > self.max_size and not self.policies.shrink_delay",
        "if self.held > self.max_size",
    ),
    "the idle connections are a queue": (
        "self.idle.append(slot)",
        "self.idle.insert(0, slot)",
    ),
    # The end of a pool.
    "connections in use survive the end of their pool": (
        '            slot.doom = slot.doom or "pool_closed"\n',
        "            pass\n",
    ),
    "idle connections are closed and not counted": (
        '        for slot in idle:\n            self.begin_close(slot, "pool_closed")\n',
        "",
    ),
    "idle connections stay on the stack of a closed pool": (
        "        idle = self.idle.copy()\n        self.idle.clear()\n",
        "        idle = self.idle.copy()\n",
    ),
    "what was closing is closed again when it is forgotten": (
        "slot.state not in (OPENING, CLOSING)",
        "slot.state is not OPENING",
    ),
    "what was opening counts as closed when it is forgotten": (
        "slot.state not in (OPENING, CLOSING)",
        "slot.state is not CLOSING",
    ),
    "callers of the former loop are not forgotten": (
        "        self.queue.clear()\n",
        "",
    ),
    "opens that the former loop gave up are not forgotten": (
        "        self.broken_off = 0\n        return conns",
        "        return conns",
    ),
    # Validations.
    "nothing is ever validated": (
        "if self.queue.length <= self.supply or not self.idle:",
        "if True:",
    ),
    "each caller has a validation of its own": (
        "if self.queue.length <= self.supply or not self.idle:",
        "if not (self.queue.length and self.idle):",
    ),
    "the connection that was used longest ago is validated first": (
        "slot = self.idle.pop()\n        self.move(slot, VALIDATING)",
        "slot = self.idle.pop(0)\n        self.move(slot, VALIDATING)",
    ),
    # Filling, and bursts.
    "a pool is filled at once after a failure": (
        "if self.lacks and not self.paused else",
        "if self.lacks else",
    ),
    "a pool is not filled": (
        "return (self.add(), None) if self.lacks and not self.paused else None",
        "return None",
    ),
    "a closed pool is filled": (
        "if self.room <= 0 or self.shut:",
        "if self.room <= 0:",
    ),
    "a burst is not delayed": (
        "if burst_due is None or burst_due <= now:",
        "if self.room:",
    ),
    "a burst comes a moment late": (
        "burst_due <= now:",
        "burst_due < now:",
    ),
    "the former loop's failure pauses the next": (
        "        self.paused = False\n",
        "",
    ),
    "the former loop's outage binds the next": (
        "        self.allowance = None\n",
        "",
    ),
    # Callers who have waited for too long.
    "who waited for too long is not told": (
        "            self.refused.append(waiter)\n",
        "",
    ),
    "who waited for too long is not counted": (
        "            self.totals.rejections += 1\n            self.refused",
        "            self.refused",
    ),
    "who would be refused is not counted": (
        "                self.totals.would_be_rejections += 1\n",
        "",
    ),
    "a policy that observes refuses": (
        "if overload.policy.observe:",
        "if not overload:",
    ),
    "the queue is as long as before when nobody waits": (
        "        overload.relax()\n",
        "",
    ),
    "the former loop's overload outlives it": (
        "Overload(self.queue_policy)\n        self.broken_off",
        "self._overload\n        self.broken_off",
    ),
    # Who holds connections for how long.
    "a queue begins anew with each caller": (
        "        if not self.queue.length:\n            self.queue.since",
        "        if True:\n            self.queue.since",
    ),
    "a hand-over is not dated": (
        "        slot.taken_at = now\n",
        "",
    ),
}

IN_LIMITS = {
    "what was not surplus before the limits were changed is laid by": (
        "        self.calm = False\n",
        "",
    ),
    # The limit (C1).
    "one connection too many is opened": (
        "self.limit - len(self.slots)",
        "self.limit - len(self.slots) + 1",
    ),
    "one connection too few is opened": (
        "self.limit - len(self.slots)",
        "self.limit - len(self.slots) - 1",
    ),
    "what is closing does not count": (
        "self.limit - len(self.slots)",
        "self.limit - self.held",
    ),
    "the burst limit is ignored": (
        "self.limit = max_size if burst_limit is None else burst_limit",
        "self.limit = max_size",
    ),
    # Opens.
    "opens that were given up do not count to max_connecting": (
        "most - self.opening - self.broken_off",
        "most - self.opening",
    ),
    # Places.
    "all are laid by, whatever a strategy wants to do first": (
        "max_size if self.kept >= 0 else -1",
        "max_size",
    ),
    "what is above max_size is laid by": (
        "max_size if self.kept >= 0 else -1",
        "self.limit if self.kept >= 0 else -1",
    ),
    # The end of a connection.
    "surplus is not cleaned, though it will be closed": (
        "kept = self.held <= self.max_size or",
        "kept = self.held < self.max_size or",
    ),
    "what somebody waits for is shed": (
        "return not (kept or self.queue.length)",
        "return not kept",
    ),
    "what idles when the limits change is surplus since it was used": (
        "        self.changed_at = now\n",
        "        pass\n",
    ),
    "surplus is as old as the connection that was used last": (
        "self.idle[0].idle_since, self.changed_at",
        "self.idle[-1].idle_since, self.changed_at",
    ),
    "an idle connection is surplus at max_size": (
        "if self.held <= self.max_size or not self.idle",
        "if self.held < self.max_size or not self.idle",
    ),
    # Over time.
    "a validation is no supply": (
        "return self.opening + self.validating",
        "return self.opening",
    ),
    "an outage allows any number of opens": (
        "(self.max_connecting, self.allowance)",
        "(self.max_connecting,)",
    ),
    "a pool that nobody opened is filled": (
        "return self.fills and self.held",
        "return self.held",
    ),
    "one more than min_size is opened": (
        "self.held < self.policies.min_size",
        "self.held <= self.policies.min_size",
    ),
    "a pool is full of connections that are being opened": (
        "return self.held - self.opening >=",
        "return self.held >=",
    ),
    "a burst begins one too late": (
        "len(self.slots) >= self.max_size",
        "len(self.slots) > self.max_size",
    ),
    "a burst is due though opens enough are in flight": (
        "if not bursts or self.queue.length <= self.supply or",
        "if not bursts or",
    ),
    "a burst is due though there is no room": (
        " or self.room <= 0:\n            return None\n        first",
        ":\n            return None\n        first",
    ),
    "idle connections are retired below min_size": (
        "self.held <= self.policies.min_size",
        "self.held < self.policies.min_size",
    ),
    "the pool idles as long as its last used connection": (
        "self.idle[0].idle_since + longest",
        "self.idle[-1].idle_since + longest",
    ),
    "what was returned is laid by without a look at its age": (
        "plain and not policies.looks_at_exit",
        "plain",
    ),
}

IN_RETIREMENT = {
    # The limit (C1).
    "a close frees its slot when it begins": (
        "self.move(slot, CLOSING)\n        self.totals.closed[reason] += 1",
        "self.move(slot, GONE)\n        self.totals.closed[reason] += 1",
    ),
    # Callers who wait.
    "a hand-over is not settled when its connection goes": (
        "        self.unhand(slot)\n        self.move(slot, GONE)",
        "        self.move(slot, GONE)",
    ),
    "a closed idle connection counts as an acquisition": (
        "self.at_once -= 1",
        "pass",
    ),
    # The end of a connection.
    "the last reason to close counts": (
        "        slot.doom = slot.doom or reason\n",
        "        slot.doom = reason\n",
    ),
    "an equal connection is discarded": (
        "slot.conn is conn",
        "slot.conn == conn",
    ),
    "an idle connection is discarded": (
        " and slot not in idle",
        "",
    ),
    "one discard dooms all that are the same object": (
        "                    return True\n                found = True",
        "                found = True",
    ),
    "a second discard of the same connection fails": (
        "                found = True\n",
        "",
    ),
    "surplus is never dated": (
        "        slot.idle_since = now\n",
        "        pass\n",
    ),
    "the connection that was used last is retired": (
        "self.idle.pop(0)",
        "self.idle.pop()",
    ),
    "surplus is retired too late": (
        "(due > now and",
        "(due >= now and",
    ),
    "surplus is retired before its time": (
        "(due > now and",
        "(due > now + 1 and",
    ),
    "surplus above the limit waits for its time": (
        " and self.held <= self.limit)",
        ")",
    ),
    "a close is not counted": (
        "        self.totals.closed[reason] += 1\n        return reason",
        "        return reason",
    ),
    "a slot is freed twice": (
        "        if slot.state is GONE:\n            return\n",
        "",
    ),
    "what was taken away from its holder is laid by when that ends": (
        '        slot.doom = slot.doom or reason or "forgotten"\n',
        "",
    ),
    # Over time.
    "a connection is validated a moment early": (
        "self.idle[-1].idle_since > after",
        "self.idle[-1].idle_since >= after",
    ),
    "all are validated if one is old": (
        "self.idle[-1].idle_since > after",
        "self.idle[0].idle_since > after",
    ),
    "a connection whose time has come is handed out": (
        "        self.look_at_age(slot, now)\n        return slot",
        "        return slot",
    ),
    "a connection is used once too often": (
        "slot.uses >= most",
        "slot.uses > most",
    ),
    "a connection is not worn by its use": (
        "        slot.uses += 1\n",
        "",
    ),
    "a connection whose time has come is kept": (
        '            self.doom(slot, "worn_out")\n        self.look_at_age(slot, now)\n',
        '            self.doom(slot, "worn_out")\n',
    ),
    "a connection lives for a moment more": (
        "if slot.expires <= now:",
        "if slot.expires < now:",
    ),
    "a later time to go replaces an earlier one": (
        "        if expires >= slot.expires:\n            return False\n",
        "",
    ),
    "what is evicted has expired": (
        "        slot.fate = fate\n",
        "",
    ),
    "the time of a connection in use never comes": (
        "        self.doom(slot, slot.fate)\n        if slot not in self.idle:",
        "        if slot not in self.idle:",
    ),
    "a connection that is retired idles on": (
        "        self.idle.remove(slot)\n",
        "",
    ),
    "what is closing is doomed anew": (
        "if slot.state in (GONE, CLOSING):",
        "if slot.state is GONE:",
    ),
    "a connection idles for a moment more": (
        "due is not None and due <= now else",
        "due is not None and due < now else",
    ),
}

IN_POLICIES = {
    "uses are not counted": (
        "return self.max_lifetime is not None or self.max_uses is not None",
        "return self.max_lifetime is not None",
    ),
    "lifetimes are not looked at when a connection is returned": (
        "return self.max_lifetime is not None or self.max_uses is not None",
        "return self.max_uses is not None",
    ),
    "what is laid by is not dated": (
        "return self.max_idle is not None or self.validate_after is not None",
        "return False",
    ),
}

IN_CODEL = {
    "the target is too long a wait": (
        "if waited <= self.policy.target:",
        "if waited < self.policy.target:",
    ),
    "who waited for twice the target is late": (
        "waited <= 2 * self.policy.target",
        "waited < 2 * self.policy.target",
    ),
    "an overload begins a moment late": (
        "now - self._long_since >= self.policy.interval",
        "now - self._long_since > self.policy.interval",
    ),
    "an overload begins at once": (
        "elif not self.overloaded and now - self._long_since >= self.policy.interval:",
        "elif not self.overloaded:",
    ),
    "an overload ends a moment late": (
        "now - self._refused_at >= self.policy.interval",
        "now - self._refused_at > self.policy.interval",
    ),
    "an overload never ends": (
        "            self.overloaded = False\n",
        "            pass\n",
    ),
    "a refusal does not prolong an overload": (
        "        self._refused_at = now\n        return True",
        "        return True",
    ),
}

IN_QUEUE = {
    "the caller that came last is served first": (
        "entries.popleft()",
        "entries.pop()",
    ),
    "a caller jumps the queue": (
        "self._entries.append(waiter)",
        "self._entries.appendleft(waiter)",
    ),
    "a cancelled caller is served": (
        "if not waiter.future.done():",
        "if waiter:",
    ),
    "a caller that left is served": (
        "            if not waiter.queued:\n",
        "            if not waiter:\n",
    ),
    "who is served counts as waiting": (
        "            self.length -= 1\n            if",
        "            if",
    ),
    "who left counts as waiting": (
        "        self.length -= 1\n        self._left",
        "        self._left",
    ),
    "a caller leaves twice": (
        "        if not waiter.queued:\n            return False\n",
        "",
    ),
    "who is served can leave": (
        "            waiter.queued = False\n            self.length",
        "            self.length",
    ),
    "who left is never swept out": (
        "<= self.length + SWEEP_AT",
        "<= 20 * self.length + 20 * SWEEP_AT",
    ),
    "who left is swept out by a leave only": (
        "                if self._left:\n",
        "                if False:\n",
    ),
    "who waits is swept out": (
        "for waiter in self._entries if waiter.queued])",
        "for waiter in self._entries if not waiter.queued])",
    ),
    "an open is on behalf of the caller that came last": (
        "waiter = entries[self._covered]",
        "waiter = entries[-1]",
    ),
    "each open is on behalf of the first caller": (
        "        while self._covered < len(entries):\n",
        "        while False:\n",
    ),
    "who was opened for once is not opened for again": (
        "return next((waiter for waiter in entries if waiter.live), None)",
        "return None",
    ),
    "who is served is remembered as one that was opened for": (
        "                self._covered -= 1\n",
        "                pass\n",
    ),
    "who is swept out is remembered as one that was opened for": (
        "        self._covered = sum(waiter.queued for waiter in islice(self._entries, self._covered))\n",
        "",
    ),
    "who is skipped is not forgotten": (
        "                self._left -= 1\n",
        "",
    ),
    "who was swept out is not forgotten": (
        "if waiter.queued])\n        self._left = 0\n",
        "if waiter.queued])\n",
    ),
    "each open is on behalf of the same caller": (
        "            self._covered += 1\n        return waiter",
        "            pass\n        return waiter",
    ),
    "an open is on behalf of a caller that was cancelled": (
        "return self.queued and not self.future.done()",
        "return self.queued",
    ),
    "callers of the former loop are in the queue as far as they know": (
        "        for waiter in self._entries:\n            waiter.queued = False\n",
        "",
    ),
}

IN_SLOT = {
    "what was not surplus before one more was opened is laid by": (
        "        self.added += 1\n        self.calm = False\n",
        "        self.added += 1\n",
    ),
    # Callers who wait.
    "a hand-over is never settled": (
        "        self.handed -= slot.handed\n",
        "",
    ),
    "what is closing is held": (
        "            self.closing += by\n            return\n",
        "            self.closing += by\n",
    ),
    "what is opening is in use": (
        "- len(self.idle) - self.opening - self.resetting",
        "- len(self.idle) - self.resetting",
    ),
    "what is being reset is in use": (
        "- len(self.idle) - self.opening - self.resetting",
        "- len(self.idle) - self.opening",
    ),
    "a slot that is free is kept": (
        "            del self.slots[slot]\n",
        "            pass\n",
    ),
    "a slot is counted where it goes and not where it comes from": (
        "        self._count(slot.state, -1)\n",
        "",
    ),
    "what is being validated is in use": (
        " - self.resetting - self.validating",
        " - self.resetting",
    ),
}

IN_LEASE = {
    "the connection that was used longest ago is taken": (
        "idle.pop()",
        "idle.pop(0)",
    ),
    "who is served at once is not counted": (
        "ledger.at_once += 1",
        "ledger.at_once += 0",
    ),
    "a returned connection is laid by though that is not all": (
        "and ledger.calm",
        "",
    ),
    "a returned connection is never simply laid by": (
        "and ledger.calm",
        "and not ledger.calm",
    ),
    "a discarded connection is laid by": (
        "slot.doom is None and",
        "",
    ),
}

IN_STATS = {
    "what was released is not reckoned from all acquisitions": (
        "at_once + self.acquired_after_waiting + self.acquired_after_opening\n        return totals",
        "at_once + self.acquired_after_waiting\n        return totals",
    ),
}

BY_MODULE = {
    "_ledger": IN_LEDGER,
    "_limits": IN_LIMITS,
    "_retirement": IN_RETIREMENT,
    "_policies": IN_POLICIES,
    "_codel": IN_CODEL,
    "_queue": IN_QUEUE,
    "_slot": IN_SLOT,
    "_lease": IN_LEASE,
    "_stats": IN_STATS,
}
MUTANTS = {name: (module, *change) for module, changes in BY_MODULE.items() for name, change in changes.items()}
