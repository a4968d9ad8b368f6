"""A TCP proxy that can cut what goes through it, without either end being told."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from servers.process import free_port


class Proxy:
    """Forwards to a port of this machine, from a thread of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        started = threading.Event()
        self._started = started
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Forward nothing any more; connections stay as they are."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Forward again."""
        self._loop.call_soon_threadsafe(self._open.set)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        try:
            await self._open.wait()
            with suppress(OSError):
                back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.target)
                ways = (reader, back_writer), (back_reader, writer)
                pumps = [asyncio.ensure_future(self._pump(*way)) for way in ways]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    back_writer.close()
        finally:
            writer.close()
            self._tasks.discard(asyncio.current_task())

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
