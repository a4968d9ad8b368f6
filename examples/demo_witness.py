"""Asks the server itself how many connections are open, from a thread of its own: the pool is not believed."""

from __future__ import annotations

import threading

import redis

SECONDS_BETWEEN_LOOKS = 0.003


class Witness:
    """Looks at ``CLIENT LIST`` all the time, over one connection that it does not count."""

    def __init__(self, url):
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._me = str(self._client.client_id())
        self.server = describe(self._client.info("server"))
        self.open_now = self.most_open = self.looks = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._client.close()

    def stop(self):
        """End the watch."""
        self._stopped.set()
        self._thread.join()

    def _watch(self):
        while not self._stopped.wait(SECONDS_BETWEEN_LOOKS):
            clients = self._client.client_list()
            self.open_now = sum(client["id"] != self._me for client in clients)
            self.most_open = max(self.most_open, self.open_now)
            self.looks += 1


def describe(info):
    """Name the server and its version."""
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"
