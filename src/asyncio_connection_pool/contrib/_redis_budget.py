"""A burst budget whose coordinator is a Valkey or a Redis."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoScriptError, ResponseError

from asyncio_connection_pool import PoolError
from asyncio_connection_pool.contrib._budget_fleet import FleetBudget, FleetMember, FleetStats
from asyncio_connection_pool.contrib._budget_protocol import Reply, Request
from asyncio_connection_pool.contrib._budget_words import address
from asyncio_connection_pool.contrib._redis_budget_script import INSPECT, SYNC
from asyncio_connection_pool.contrib._redis_line import CONNECT_SECONDS, Line, close


class RedisBurstBudget(FleetBudget):
    """What a fleet of processes may open above `max_size` of their pools, kept in a Valkey or a Redis.

    One object serves all pools of a process that borrow from the budget, in one event loop. It sends a message four
    times in a `lease_time`, and when its pools want more or give some back, and has one subscription besides, by which
    the server knows a process that is frozen from one that is dead.

    Args:
        client_or_url: A URL, or a `redis.asyncio.Redis`, which stays yours to close, or a `redis.asyncio.RedisCluster`
            where that is what you run: with a ``socket_timeout`` below a quarter of `lease_time`, or else it does not
            notice a node that hangs. Two connections are taken from it.
        key: The name of the budget: it is the hash tag of all keys and of the channel.
        limit: Connections of the whole fleet, reserved or lent.
        lease_time: Seconds that a burst is lent for, unless it is renewed. A coordinator that restarts lends nothing
            for as long, and admits nobody new. The same for the whole fleet.
        reservation_time: Seconds after which the `max_size` of a silent process is given to others; None: six times
            `lease_time`.
        strict: Whether bursts that are in use are aborted when the lease ends before it could be renewed, and opening
            fails where the coordinator can't be reached. False: they are kept until they are given back, and may for
            that time be more than `limit`.
        timeout: Seconds that a question for a permit may take; after that the answer is no.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        client_or_url: Any,
        *,
        key: str,
        limit: int,
        lease_time: float = 10.0,
        reservation_time: float | None = None,
        strict: bool = True,
        timeout: float = 0.25,
    ) -> None:
        """Check the arguments; nothing is dialled yet."""
        super().__init__(
            key,
            limit,
            _whereabouts(client_or_url),
            lease_time=lease_time,
            reservation_time=reservation_time,
            strict=strict,
            timeout=timeout,
        )
        self._url = client_or_url if isinstance(client_or_url, str) else None
        self._client: Any = None if self._url is not None else client_or_url
        if self._url is not None:
            self._dial()  # a URL that can't be read is refused now
        tag = f"{{burst-budget:{key}}}"
        self._keys = [f"{tag}:state", f"{tag}:members", f"{tag}:late"]
        self._channel = f"{tag}:line:"
        self._line: Line | None = None
        self._look_at_line_at = -math.inf
        self._hashes: dict[str, str] = {}

    # The engine.

    async def _inspect(self) -> FleetStats:
        self._dial()
        now, sums, members, late = await self._run(INSPECT, [])
        limit, firm, lent = (int(value or 0) for value in sums)
        due = {_text(name): float(score) for name, score in _pairs(late)}
        found = [_member(_text(text), (due.get(_text(name), now) - now) / 1000) for name, text in _pairs(members)]
        found.sort(key=lambda member: (-member.reserved - member.burst, member.name))
        return FleetStats(limit, firm, lent, tuple(m for m in found if m.reserved or m.burst))

    async def _send(self, request: Request) -> Reply:
        self._dial()
        line = self._line = self._line or Line(self._client, self._keys[0], self._channel + request.member)
        try:
            await self._look_at_line(line)
            answer = await self._run(SYNC, self._arguments(request))
            if line.is_astray:
                await line.hold()
        except BaseException:
            self._look_at_line_at = -math.inf
            raise
        status, firm, burst, share, free, pace = answer
        fair = None if share < 0 else share
        return Reply(request.seq, _text(status), firm, burst, fair, free, pace / 1000)  # type: ignore[arg-type]

    def _arguments(self, request: Request) -> list[Any]:
        return [
            self._channel,
            request.member,
            request.label,
            request.seq,
            int(request.known),
            request.limit,
            int(request.lease_time * 1000),
            int(request.reservation_time * 1000),
            request.firm,
            request.kept,
            request.want,
        ]

    async def _run(self, script: str, arguments: list[Any]) -> Any:
        try:
            return await self._evaluate(script, arguments)
        except ResponseError as error:
            if isinstance(error, MovedError) or str(error).startswith("MOVED "):
                raise PoolError(
                    f"{self!r} was given one node of a cluster, and its keys are on another one: give it a "
                    f"redis.asyncio.RedisCluster ({error})"
                ) from error
            raise

    async def _evaluate(self, script: str, arguments: list[Any]) -> Any:
        with suppress(NoScriptError, KeyError):
            return await self._client.evalsha(self._hashes[script], len(self._keys), *self._keys, *arguments)
        answer = await self._client.eval(script, len(self._keys), *self._keys, *arguments)
        self._hashes[script] = _sha1(script)
        return answer

    async def _look_at_line(self, line: Line) -> None:
        """See from time to time that the line stands, before a message: who says what it has is not taken for dead."""
        if self._clock() >= self._look_at_line_at:
            await line.try_to_hold()
            self._look_at_line_at = self._clock() + self.lease_time / 2

    def _dial(self) -> None:
        if self._client is None:
            client_class: Any = Redis  # some of its annotations are incomplete
            self._client = client_class.from_url(
                self._url, socket_connect_timeout=CONNECT_SECONDS, retry=Retry(NoBackoff(), 0)
            )

    async def _hang_up(self) -> None:
        line, self._line = self._line, None
        self._look_at_line_at = -math.inf
        if line is not None:
            await line.close()
        if self._url is not None:
            client, self._client = self._client, None
            await close(client)
            await client.connection_pool.disconnect()

    def _forget(self) -> None:
        self._line = None
        self._look_at_line_at = -math.inf
        if self._url is not None:
            self._client = None


def _whereabouts(client_or_url: object) -> str:
    if isinstance(client_or_url, str):
        return address(client_or_url)
    if isinstance(client_or_url, RedisCluster):
        return "a cluster"
    if isinstance(client_or_url, Redis):
        settings: dict[str, Any] = client_or_url.connection_pool.connection_kwargs
        return str(settings.get("path") or f"{settings.get('host')}:{settings.get('port')}")
    kinds = "a URL, a redis.asyncio.Redis or a redis.asyncio.RedisCluster"
    given = type(client_or_url)
    raise TypeError(f"client_or_url must be {kinds}, not {given.__module__}.{given.__qualname__}")


def _sha1(script: str) -> str:
    from hashlib import sha1  # noqa: PLC0415 - only where a budget is used

    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _pairs(values: Any) -> Any:
    """Pair what the server sent as a flat list, a list of pairs or a mapping, as its protocol has it."""
    if hasattr(values, "items"):
        return values.items()
    if values and isinstance(values[0], (list, tuple)):
        return values
    return zip(values[::2], values[1::2], strict=True)


def _member(text: str, expires_in: float) -> FleetMember:
    firm, _, burst, *_, label = text.split(" ", 8)
    return FleetMember(label, int(firm), int(burst), expires_in)
