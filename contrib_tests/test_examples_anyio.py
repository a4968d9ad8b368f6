"""A client that is built on anyio, whose contexts have to be left in the task that entered them, in a pool."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from asyncio_connection_pool.testing import check_strategy

SECONDS = 60
"""That pass only if something is wrong."""


class EchoServer:
    """Sends each line back; it can count its connections, and cut the one that came from a port."""

    def __init__(self):
        self.writers = {}

    async def serve(self, reader, writer):
        port = writer.get_extra_info("peername")[1]
        self.writers[port] = writer
        try:
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            del self.writers[port]
            writer.close()

    def count(self):
        return len(self.writers)

    async def cut(self, client):
        self.writers[client.port].transport.abort()


class Client:
    """Requests whose replies are read by a task in the background."""

    def __init__(self, stream):
        self.stream = stream
        self.port = stream.extra(SocketAttribute.local_port)
        self.waiting = deque()

    async def read(self):
        replies = BufferedByteReceiveStream(self.stream)
        while True:
            reply = await replies.receive_until(b"\n", 1000)
            future = self.waiting.popleft()
            if not future.done():
                future.set_result(reply.decode())

    async def echo(self, text):
        reply = asyncio.get_running_loop().create_future()
        self.waiting.append(reply)
        await self.stream.send(f"{text}\n".encode())
        return await reply


@asynccontextmanager
async def connect(port):
    async with await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as group:
        client = Client(stream)
        group.start_soon(client.read)
        yield client
        group.cancel_scope.cancel()


@pytest.fixture
async def server():
    echo = EchoServer()
    listening = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = listening.sockets[0].getsockname()[1]
    yield echo
    listening.close()
    for writer in echo.writers.values():
        writer.transport.abort()
    await listening.wait_closed()


async def test_in_a_task_of_its_own_it_keeps_the_contract(server):
    strategy = ConnectionStrategy.from_context_manager(lambda: connect(server.port))
    checked = await check_strategy(strategy, echo=Client.echo, cut=server.cut, count=server.count, patience=SECONDS)
    assert len(checked) == 10


async def test_what_its_reader_fails_with_reaches_who_closes_it(server):
    strategy = ConnectionStrategy.from_context_manager(lambda: connect(server.port))
    client = await strategy.create_connection()
    await client.echo("hello")
    await server.cut(client)
    with pytest.raises(ExceptionGroup) as raised:
        while not strategy.connection_is_closed(client):
            await asyncio.sleep(0.001)
        await strategy.close_connection(client)
    assert raised.group_contains((anyio.IncompleteRead, anyio.BrokenResourceError))


async def test_opened_and_closed_in_two_tasks_it_would_not_even_close(server):
    """Why `from_context_manager` is needed."""
    contexts = {}

    async def create():
        context = connect(server.port)
        client = await context.__aenter__()
        contexts[client] = context
        return client

    async def close(client):
        await contexts.pop(client).__aexit__(None, None, None)

    strategy = ConnectionStrategy.from_functions(create=create, is_closed=lambda client: False, close=close)
    client = await asyncio.create_task(strategy.create_connection())
    with pytest.raises(RuntimeError, match="different task"):
        await asyncio.create_task(strategy.close_connection(client))


async def test_a_load_goes_through_few_of_them(server):
    async def ask(pool, number):
        async with pool.get_connection() as client:
            assert await client.echo(number) == str(number)

    strategy = ConnectionStrategy.from_context_manager(lambda: connect(server.port))
    async with ConnectionPool(strategy=strategy, max_size=3) as pool:
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(ask(pool, number))
        assert pool.stats().created == 3
