"""How processes share a budget of connections: the protocol, with no clock, no network and no event loop in it.

One message does everything. A member says what it has and what it wants, and the coordinator answers what it may have:
both are whole states, never differences. So a message that is lost is made good by the next, and one that comes twice
or late is known by its number and changes nothing.

**Reservations and leases.** `max_size` of each pool is *reserved*: the coordinator admits no member that would bring
the sum above `limit`. The rest is lent, as *bursts*, for `lease_time` from the last message. A member counts that time
from the moment at which it sent the message, the coordinator from the moment at which it came: so a lease is over at
the member first, by as long as the message took, and by what `ABORT_AT` leaves besides.

**When a member falls silent** its lease is over after `lease_time`, and its reservation after `reservation_time`. If it
is cut off, it has given its burst up by then: it hands none out after `REVOKE_AT` of that time, and aborts what is in
use at `ABORT_AT`. If it is dead, the kernel has closed its connections. If it is *frozen*, they stay open, and nobody
but the server could close them. So the coordinator also looks at the *line*, a connection on which the member is linked
to it: a member that is late, and whose line stands, keeps what it has.

**A coordinator that has lost its memory** lends nothing and admits nobody new for one `lease_time`: within that each
member has told it what it has, or has given it up.

**The invariant**: no more connections than `limit`, but for those of a member that was forgotten while it lived: one
that lost its line while it was frozen beyond its lease (all it has), and one that was cut off from a coordinator that
others reach for longer than `reservation_time`, or than `lease_time` if that has lost its memory (its `max_size`).

**Fairness.** A member is *hungry* while it wants more than it has. While others are, a member gets no more than its
share, `(limit - reserved) / members that want any`, closes its idle bursts, and gives back what it has above its share
as soon as that is returned to its pool. Where there is not one for each, a share is one for three messages and none for
the fourth. Who has given some back gets no more for a while, so that others come first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

REVOKE_AT: Final = 0.6
ABORT_AT: Final = 0.8
"""Parts of `lease_time`. What is left is for clocks that run apart, and for servers to notice an aborted connection."""
BEATS: Final = 4
"""Messages in a `lease_time`, at the least."""

Status = Literal["ok", "wait", "full", "stale"]
"""Of the reservation: it stands; it has to wait for room; it does not fit; or the message was an old one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a member has and wants."""

    member: str
    label: str
    seq: int
    """The number of the message: an older one than the last that came changes nothing."""
    known: bool
    """Whether the coordinator has ever admitted it: what it has exists then, whatever the coordinator remembers."""
    limit: int
    lease_time: float
    reservation_time: float
    firm: int
    """Connections to be reserved."""
    kept: int
    """Burst connections that it has leave for, or has open still."""
    want: int
    """Those that it would like to have in all."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a member may have."""

    seq: int
    status: Status
    firm: int = 0
    """Connections that are reserved for it."""
    burst: int = 0
    """Burst connections that it may have, in all."""
    share: int | None = None
    """How many would be fair, if others want more than there are."""
    free: int = 0
    """Burst connections that anybody might have."""
    pace: float = 0.0
    """Seconds before it makes sense to ask again."""


class Member:
    """One process, or one budget object of a process: what it may have, and until when.

    Args:
        name: Unique in the fleet.
        label: For people.
        limit: Connections of the whole fleet.
        lease_time: Seconds that a burst is lent for.
        reservation_time: Seconds that a silent member's reservation stands.
    """

    def __init__(self, name: str, label: str, limit: int, lease_time: float, reservation_time: float) -> None:
        """Begin with nothing."""
        self.name = name
        self.label = label
        self.limit = limit
        self.lease_time = lease_time
        self.reservation_time = reservation_time
        self.known = False
        self.firm = 0
        self.burst = 0
        """Burst connections that it may have, if the lease is not over."""
        self.revoke_at = self.abort_at = math.inf
        """When it has to give up what is idle, and what is in use."""
        self._seq = 0
        self._asked_at = 0.0

    def request(self, now: float, *, firm: int, kept: int, want: int) -> Request:
        """Write a message; the one before is not waited for any longer.

        Args:
            now: The time, on a clock that goes on while the process is frozen.
            firm: See `Request`, as for the others.
            kept: See there.
            want: See there.
        """
        self._seq += 1
        self._asked_at = now
        self.burst = min(self.burst, want)
        own = (self.limit, self.lease_time, self.reservation_time)
        return Request(self.name, self.label, self._seq, self.known, *own, firm, kept, want)

    def received(self, reply: Reply, now: float) -> bool:
        """Read an answer; false if it is not one to the last message, or too late."""
        late = now >= self._asked_at + REVOKE_AT * self.lease_time
        if reply.seq != self._seq or reply.status == "stale" or late:
            return False
        self.firm = reply.firm
        self.burst = reply.burst
        self.known = self.known or reply.status == "ok"
        self.revoke_at = self._asked_at + REVOKE_AT * self.lease_time
        self.abort_at = self._asked_at + ABORT_AT * self.lease_time
        return True

    @property
    def beat_at(self) -> float:
        """When it is time for the next message, whether there is news or not."""
        return self._asked_at + self.lease_time / BEATS
