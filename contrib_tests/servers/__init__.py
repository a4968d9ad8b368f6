"""Throw-away servers for the tests and the demo: real ones, from wheels, on loopback only.

`servers.valkey.start()` and `servers.postgres.start()` each start one and return it; it is stopped by
leaving its ``with`` block. Both are a `servers.process.Server`, which can be killed, restarted and frozen.
"""
