"""`python -m asyncio_connection_pool`: the lab, in which a pool is shown, measured and sized."""

from __future__ import annotations

import sys

from asyncio_connection_pool.lab._cli import main

sys.exit(main())
