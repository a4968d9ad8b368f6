"""Those who use the pool and those who close it, and what they must see at every turn of their lives."""

from __future__ import annotations

import asyncio

from asyncio_connection_pool import PoolClosedError, PoolError, PoolOverloadedError, PoolTimeoutError

UNSTARTED, ENTERING, INSIDE, LEAVING, ENDED = "unstarted", "entering", "inside", "leaving", "ended"
SPOILING = (asyncio.CancelledError, TimeoutError)


class Caller:
    """One task with one `async with pool.get_connection()`, whose body ends when told."""

    def __init__(self, world, number: int, *, patient: bool) -> None:
        self.world = world
        self.number = number
        self.patient = patient
        self.phase = UNSTARTED
        self.cancelled = False
        """Whether somebody cancelled it."""
        self.conn = None
        self.handed = None
        """The connection that its future held when it was cancelled."""
        self.missed: BaseException | None = None
        """The error that its future held then."""
        self.order = 0
        self.since = 0
        self.deadline: float | None = None
        self.body = world.loop.create_future()
        self.body_error: BaseException | None = None
        self.error: BaseException | None = None
        self.task = world.loop.spawn(self._run())

    @property
    def waits(self) -> bool:
        """Whether it is in the queue and neither served nor cancelled."""
        if self.phase != ENTERING:
            return False
        future = self.task._fut_waiter
        return future is not None and not future.done()

    def cancel(self) -> None:
        self.cancelled = True
        future = self.task._fut_waiter
        if self.phase == ENTERING and future is not None and future.done() and not future.cancelled():
            self.missed = future._exception
            self.handed = None if self.missed else future.result().conn
        self.task.cancel()

    async def _run(self) -> None:
        try:
            lease = self._enter()
            async with lease as conn:
                self._received(conn)
                try:
                    await self.body
                except BaseException as error:
                    self.body_error = error
                    raise
                finally:
                    self._leave()
        except BaseException as error:
            self._end(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._end(None)

    def _enter(self):
        world = self.world
        self.phase = ENTERING
        self.order = world.next_number()
        self.since = world.loop.steps
        timeout = world.config.acquire_timeout
        if timeout is not None:
            self.deadline = world.loop.time() + timeout
        idle = world.pool._ledger.idle
        looked_at = world.pool._ledger.policies.looks_at_entry
        self.sure = bool(idle) and not looked_at and not any(slot.conn.answer for slot in idle)
        return world.pool.get_connection() if self.patient else world.pool.get_connection(timeout=0)

    def _served(self) -> None:
        """Nobody who came earlier may still wait (C3)."""
        for other in self.world.callers:
            if other.phase == ENTERING and other.order < self.order and other.waits:
                self.world.blame(f"C3: caller {self.number} overtook caller {other.number}")

    def _received(self, conn) -> None:
        blame = self.world.blame
        self.phase = INSIDE
        self._served()
        at_once = self.since == self.world.loop.steps
        if self.sure and not at_once:
            blame(f"C2: caller {self.number} had to wait for an idle connection")
        if at_once:
            self._check_most_recent(conn)
        if conn.holder is not None:
            blame(f"C10: {conn} has two holders")
        if not conn.asked:
            blame(f"C7: {conn} was handed out unasked")
        if conn.spoilt or not conn.clean:
            blame(f"C9: {conn} was handed out though {conn.spoilt or 'it is not reset'}")
        if self.cancelled:
            blame(f"C10: caller {self.number} was served though it was cancelled")
        conn.holder = self
        conn.asked = False
        conn.rested = None
        self.conn = conn

    def _check_most_recent(self, conn) -> None:
        if conn.rested is None:
            return
        for slot in self.world.pool._ledger.idle:
            rested = slot.conn.rested
            if rested is not None and rested > conn.rested:
                self.world.blame(f"C4: {conn} was handed out before {slot.conn}")

    def _leave(self) -> None:
        world, conn = self.world, self.conn
        self.phase = LEAVING
        self.since = world.loop.steps
        conn.holder = None
        conn.clean = not world.config.resets
        if not world.config.resets:
            conn.rested = world.next_number()
        if isinstance(self.body_error, SPOILING):
            conn.spoilt = "its body was broken off"
        config = world.config  # with policies there is no surplus, or it may idle
        self.must_not_wait = bool(conn.spoilt or world.pool.closed or config.shrink_delay or config.policies)

    def _end(self, error: BaseException | None) -> None:
        self.error = error
        if self.phase == ENTERING:
            self._check_refusal(error)
        elif self.phase == LEAVING:
            self._check_exit(error)
        self.phase = ENDED
        if self.cancelled and not isinstance(error, asyncio.CancelledError):
            self.world.blame(f"C10: the cancellation of caller {self.number} was swallowed; it got {error!r}")
        if self.handed is not None:
            self.handed.rested = self.world.next_number()

    def _check_refusal(self, error: BaseException) -> None:
        world = self.world
        if isinstance(error, asyncio.CancelledError) and self.cancelled:
            world.deliver(error)
            return
        if not self._is_due(error):
            world.blame(f"C6: caller {self.number} got an error that is not its own: {error!r}")
        if not isinstance(error, PoolError):
            self._served()

    def _is_due(self, error: BaseException) -> bool:
        world = self.world
        if isinstance(error, PoolTimeoutError):
            late = self.deadline is not None and self.deadline <= world.loop.time()
            return late or not self.patient or world.config.connect_timeout is not None
        if isinstance(error, PoolClosedError):
            return world.pool.closed
        if isinstance(error, PoolOverloadedError):
            if "queue_policy" in world.config.policies:
                return True
            queue = sum(caller.phase == ENTERING for caller in world.callers if caller is not self)
            return world.config.max_waiting is not None and queue >= world.config.max_waiting and not self.sure
        if type(error) is PoolError:
            return sum(conn.answer is True for conn in world.strategy.conns) >= 16
        return world.deliver(error)

    def _check_exit(self, error: BaseException | None) -> None:
        world, conn = self.world, self.conn
        at_once = self.since == world.loop.steps
        if self.must_not_wait and not at_once:
            world.blame(f"C5: the exit of caller {self.number} waited")
        if isinstance(error, asyncio.CancelledError) and self.cancelled:
            return
        expected = self.body_error if at_once else conn.close_error or self.body_error
        if conn.aborted and error is self.body_error:
            return  # the pool gave its close up in the very tick in which that failed
        if error is not expected and not world.deliver(error):
            world.blame(f"C8: caller {self.number} left with {error!r}, not with {expected!r}")
        if not self.must_not_wait and world.is_closing(conn):
            world.blame(f"C8: caller {self.number} left before its surplus {conn} was closed")


class Closer:
    """A task that closes the pool."""

    def __init__(self, world, timeout: float | None) -> None:
        self.world = world
        self.timeout = timeout
        self.cancelled = False
        self.task = world.loop.spawn(self._run())

    def cancel(self) -> None:
        self.cancelled = True
        self.task.cancel()

    async def _run(self) -> None:
        try:
            await self.world.pool.close(self.timeout)
        except asyncio.CancelledError:
            if not self.cancelled:
                self.world.blame("C12: close() was cancelled by nobody")
            raise
        except Exception as error:
            self.world.blame(f"C12: close() raised {error!r}")
        else:
            self._check_end()

    def _check_end(self) -> None:
        world = self.world
        if self.cancelled:
            world.blame("C10: the cancellation of close() was swallowed")
        if self.timeout is None and (world.pool._ledger.slots or world.strategy.creates or world.strategy.resets):
            world.blame("C12: close() returned while connections were open")


class Opener:
    """A task that opens the pool up to `min_size`."""

    def __init__(self, world) -> None:
        self.world = world
        self.task = world.loop.spawn(self._run())

    async def _run(self) -> None:
        world = self.world
        try:
            await world.pool.open()
        except PoolClosedError:
            if not world.pool.closed:
                world.blame("C12: open() was refused by a pool that is not closed")
        except PoolError as error:
            if world.config.connect_timeout is None or not isinstance(error, PoolTimeoutError):
                self._judge_stillbirth(error)
        except BaseException as error:
            if not any(error is other for other in world.strategy.raised + world.strategy.excused):
                world.blame(f"C6: open() raised an error that is not its own: {error!r}")
            self.world.told.append(error)

    def _judge_stillbirth(self, error: PoolError) -> None:
        world = self.world
        least = 1 if world.config.reconnects else 16
        if sum(conn.answer is True for conn in world.strategy.conns) < least:
            world.blame(f"C7: open() raised {error!r}")
