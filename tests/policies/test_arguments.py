"""What the options refuse, with what was given and what is allowed."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from ageing import Server
from asyncio_connection_pool import CoDel, ConnectionPool, Reconnect
from scenarios import use, virtual


def pool_for(**options):
    return ConnectionPool(strategy=Server(), **({"max_size": 2, "burst_limit": 4} | options))


OPTIONAL_SECONDS = ["max_lifetime", "max_idle", "validate_after"]
SECONDS = ["shrink_delay", "burst_delay"]
seconds = pytest.mark.parametrize("option", OPTIONAL_SECONDS + SECONDS)


@seconds
@pytest.mark.parametrize("value", ["5", True, False, 1j, [], Decimal(5)], ids=repr)
def test_seconds_have_to_be_a_number(option, value):
    with pytest.raises(TypeError) as caught:
        pool_for(**{option: value})
    assert f"{option} must be a number of seconds, not {value!r} of type {type(value).__name__}" in str(caught.value)


@seconds
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf], ids=repr)
def test_seconds_have_to_be_finite_and_not_negative(option, value):
    with pytest.raises(ValueError, match=f"{option} must be finite and not negative, not {value!r}"):
        pool_for(**{option: value})


@pytest.mark.parametrize("option", OPTIONAL_SECONDS)
def test_where_none_is_allowed_the_message_says_what_it_means(option):
    with pytest.raises(ValueError, match="None sets no bound"):
        pool_for(**{option: -1})


@pytest.mark.parametrize("option", SECONDS)
def test_a_delay_is_a_number(option):
    with pytest.raises(TypeError, match=f"{option} must be a number of seconds, not None"):
        pool_for(**{option: None})


def test_a_lifetime_of_nothing_is_refused():
    with pytest.raises(ValueError, match="max_lifetime must be more than 0 seconds, or None"):
        pool_for(max_lifetime=0)


@seconds
def test_seconds_that_no_clock_can_count_are_refused_as_any_others(option):
    with pytest.raises(ValueError, match=f"{option} must be finite"):
        pool_for(**{option: 10**400})


@pytest.mark.parametrize("policy, option", [(CoDel, "target"), (CoDel, "interval"), (Reconnect, "longest")])
def test_those_of_a_policy_are_too(policy, option):
    with pytest.raises(ValueError, match=f"{option} must be finite"):
        policy(**{option: 10**400})


@pytest.mark.parametrize("option", ["min_size", "max_uses"])
@pytest.mark.parametrize("value", ["5", True, 1.0, 1j, [], Decimal(5)], ids=repr)
def test_counts_have_to_be_integers(option, value):
    with pytest.raises(TypeError) as caught:
        pool_for(**{option: value})
    assert f"{option} must be an int, not {value!r} of type {type(value).__name__}" in str(caught.value)


def test_min_size_is_not_none():
    with pytest.raises(TypeError, match="min_size must be an int, not None"):
        pool_for(min_size=None)


def test_min_size_is_not_negative():
    with pytest.raises(ValueError, match="min_size must be at least 0, not -1"):
        pool_for(min_size=-1)


@pytest.mark.parametrize("value", [0, -1])
def test_a_connection_is_used_once_at_least(value):
    with pytest.raises(ValueError, match=f"max_uses must be at least 1, not {value}"):
        pool_for(max_uses=value)


@pytest.mark.parametrize("min_size, max_size", [(3, 2), (1, 0), (5, 4)])
def test_min_size_is_not_above_max_size_though_the_burst_limit_is(min_size, max_size):
    with pytest.raises(ValueError, match=f"min_size is {min_size}, max_size is {max_size}"):
        pool_for(min_size=min_size, max_size=max_size, burst_limit=9)


def test_a_burst_is_not_delayed_where_there_is_none():
    with pytest.raises(ValueError, match=r"burst_delay is 2\.5 s, but there is no burst_limit: set one"):
        pool_for(burst_delay=2.5, burst_limit=None)
    pool_for(burst_delay=0, burst_limit=None)


@virtual
async def test_the_values_at_the_edge_are_allowed():
    pool = pool_for(
        min_size=2, max_uses=1, max_lifetime=1e-9, max_idle=0, validate_after=0, shrink_delay=0, burst_delay=1e9
    )
    await use(pool)
    await pool.close()


@virtual
async def test_numbers_of_other_kinds_are_allowed_where_they_are_exact():
    class Three:
        def __index__(self):
            return 3

    pool = pool_for(max_size=Three(), min_size=Three(), max_uses=Three(), max_lifetime=10, max_idle=2.5)
    async with pool:
        assert pool.stats().idle == 3
