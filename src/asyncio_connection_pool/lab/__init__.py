"""How large should a pool be? Record what happens in yours, replay it through pools of other sizes, and see.

`Recorder` keeps what a pool goes through in production, in a bounded file. `python -m asyncio_connection_pool
advise FILE` replays it, and says which size would do; `Recording` and `replay` are what it is made of.
"""

from asyncio_connection_pool.lab._recorder import Recorder
from asyncio_connection_pool.lab._recording import Caller, Recording, RecordingError
from asyncio_connection_pool.lab._replay import Outcome, replay

__all__ = (
    "Caller",
    "Outcome",
    "Recorder",
    "Recording",
    "RecordingError",
    "replay",
)
