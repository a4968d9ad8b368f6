"""Mail through SMTP: a session costs a handshake, so a few are kept, and many letters go through them.

    pip install asyncio-connection-pool aiosmtplib aiosmtpd
    python mail.py

A session that was left in the middle of a letter is reset; one that has idled for a minute proves itself alive.
"""

import asyncio
from contextlib import asynccontextmanager
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP as MailServer  # noqa: N811 - its client has the same name
from aiosmtplib import SMTP, SMTPException

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy


def smtp_sessions(host, port):
    """Make a strategy for sessions with a mail server."""

    async def connect():
        session = SMTP(hostname=host, port=port, timeout=10)
        try:
            await session.connect()
        except BaseException:
            session.close()
            raise
        return session

    return ConnectionStrategy.from_functions(
        create=connect,
        is_closed=lambda session: not session.is_connected,
        close=say_goodbye,
        reset=SMTP.rset,
        validate=SMTP.noop,
        abort=SMTP.close,
    )


async def say_goodbye(session):
    try:
        await session.quit(timeout=2)
    except SMTPException:
        pass  # it is gone already
    finally:
        session.close()


def letter(number):
    message = EmailMessage()
    message["From"] = "pool@example.org"
    message["To"] = f"reader-{number}@example.org"
    message["Subject"] = f"Letter {number}"
    message.set_content("Hello!")
    return message


async def send(pool, message):
    async with pool.get_connection() as session:
        await session.send_message(message)


class Mailbox:
    """What the server does with a letter."""

    def __init__(self):
        self.letters = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.letters.append((session.peer, envelope.rcpt_tos))
        return "250 OK"


@asynccontextmanager
async def mail_server(mailbox):
    """Serve SMTP on a free port, for you to see it work."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: MailServer(mailbox), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


async def main():
    mailbox = Mailbox()
    async with mail_server(mailbox) as (host, port):
        pool = ConnectionPool(
            strategy=smtp_sessions(host, port),
            max_size=3,
            acquire_timeout=30,
            connect_timeout=10,
            close_timeout=5,
            validate_after=60,
        )
        async with pool, asyncio.TaskGroup() as letters:
            for number in range(100):
                letters.create_task(send(pool, letter(number)))
    sessions = {peer for peer, _ in mailbox.letters}
    print(f"{len(mailbox.letters)} letters went through {len(sessions)} sessions")


if __name__ == "__main__":
    asyncio.run(main())
