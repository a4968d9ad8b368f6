"""A web application: one pool for as long as it runs, and metrics for Prometheus.

    pip install asyncio-connection-pool[prometheus] fastapi uvicorn
    uvicorn shop:app

SQLite blocks, so each connection has a thread of its own. `/stats` shows what the pool is doing, `/metrics` is for
Prometheus. Where the pool can't keep up the answer is 503, instead of a wait without end.
"""

import os
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from prometheus_client import make_asgi_app

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy, PoolError
from asyncio_connection_pool.contrib.prometheus import PrometheusMetrics

DATABASE = os.environ.get("SHOP_DATABASE", "shop.db")


def connect():
    db = sqlite3.connect(DATABASE, timeout=30)
    db.execute("CREATE TABLE IF NOT EXISTS orders (item TEXT NOT NULL)")
    return db


def place_order(db, item):
    with db:
        db.execute("INSERT INTO orders VALUES (?)", (item,))
    return db.execute("SELECT count(*) FROM orders").fetchone()[0]


@asynccontextmanager
async def lifespan(app):
    strategy = ConnectionStrategy.from_blocking_functions(
        create=connect,
        close=sqlite3.Connection.close,
        reset=sqlite3.Connection.rollback,
        interrupt=sqlite3.Connection.interrupt,
    )
    async with ConnectionPool(
        strategy=strategy,
        name="shop",
        max_size=4,
        acquire_timeout=5,
        connect_timeout=5,
        max_waiting=100,
        observers=[PrometheusMetrics()],
    ) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/metrics", make_asgi_app())


async def connection(request: Request):
    async with request.app.state.pool.get_connection() as conn:
        yield conn


@app.post("/orders/{item}")
async def order(item: str, conn: Annotated[Any, Depends(connection)]):
    return {"orders": await conn.call(place_order, item)}


@app.get("/stats")
async def stats(request: Request):
    return asdict(request.app.state.pool.stats())


@app.exception_handler(PoolError)
async def overloaded(request: Request, error: PoolError):
    return JSONResponse({"error": str(error)}, status_code=503, headers={"Retry-After": "1"})
