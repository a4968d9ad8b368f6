"""Commands over SSH: a connection costs a key exchange, so it is kept open.

    pip install asyncio-connection-pool asyncssh
    python remote_shell.py

`asyncssh.connect` is an async context manager, which is all that the pool has to know. There is an SSH server in here
as well, for you to see it work.
"""

import asyncio
from contextlib import asynccontextmanager

import asyncssh

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy


def ssh_connections(host, **options):
    """Make a strategy for connections to a host, with the options of `asyncssh.connect`."""
    return ConnectionStrategy.from_context_manager(
        lambda: asyncssh.connect(host, **options),
        is_closed=asyncssh.SSHClientConnection.is_closed,
        abort=asyncssh.SSHClientConnection.abort,
    )


async def run(pool, command):
    async with pool.get_connection() as connection:
        return (await connection.run(command, check=True)).stdout


@asynccontextmanager
async def shouting_server(key):
    """Serve SSH on a free port: each command is answered in capital letters."""

    async def shout(process):
        process.stdout.write(process.command.upper())
        process.exit(0)

    options = {"server_host_keys": [key], "authorized_client_keys": authorized(key)}
    async with asyncssh.listen("127.0.0.1", 0, process_factory=shout, **options) as server:
        yield server.get_port()


def authorized(key):
    return asyncssh.import_authorized_keys(key.export_public_key().decode())


async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with shouting_server(key) as port:
        options = {"port": port, "username": "me", "client_keys": [key], "known_hosts": None, "config": None}
        strategy = ssh_connections("127.0.0.1", **options)
        pool = ConnectionPool(strategy=strategy, max_size=2, acquire_timeout=30, connect_timeout=10, close_timeout=5)
        async with pool:
            answers = await asyncio.gather(*(run(pool, f"command {n}") for n in range(20)))
            print(f"{answers[0]} … {answers[-1]}, over {pool.stats().created} connections")


if __name__ == "__main__":
    asyncio.run(main())
