"""The coordinator, as a function that PostgreSQL runs in one piece: the protocol is told in `_budget_protocol`.

Two tables, which are made when they are missing. They are not logged, and empty after a crash of the server: whoever
finds the server started anew knows that it may have forgotten something. The function is a temporary one, so that
processes of different releases don't meet in it. A message is one statement: nobody holds a lock across round trips.

Times are seconds since 1970 by the server's clock. A member's *line* is a shared advisory lock of its session.
"""

from __future__ import annotations

from typing import Final

from asyncio_connection_pool.contrib._budget_protocol import BEATS

PACE: Final = 0.001
"""Seconds between two questions of hungry members, whichever they are."""
MAKING: Final = 7_246_018_293_551_006_721
"""The advisory lock under which the tables are made."""

TABLES: Final = f"""
SELECT pg_advisory_xact_lock({MAKING});
CREATE UNLOGGED TABLE IF NOT EXISTS burst_budget (
    name text PRIMARY KEY,
    most int NOT NULL,
    run text NOT NULL DEFAULT '',
    grace float8 NOT NULL DEFAULT 0
);
CREATE UNLOGGED TABLE IF NOT EXISTS burst_budget_member (
    budget text NOT NULL,
    name text NOT NULL,
    label text NOT NULL DEFAULT '',
    seq bigint NOT NULL DEFAULT 0,
    firm int NOT NULL DEFAULT 0,
    claim int NOT NULL DEFAULT 0,
    burst int NOT NULL DEFAULT 0,
    wants bool NOT NULL DEFAULT false,
    hungry bool NOT NULL DEFAULT false,
    rests float8 NOT NULL DEFAULT 0,
    expires float8 NOT NULL DEFAULT 0,
    forget float8 NOT NULL DEFAULT 0,
    PRIMARY KEY (budget, name)
) WITH (fillfactor = 50);
"""

FUNCTION: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.burst_budget_sync(
    its_budget text, its_name text, its_label text, its_seq bigint, known bool, its_limit int, lease float8,
    patience float8, its_firm int, kept int, want int,
    OUT status text, OUT firm int, OUT burst int, OUT share int, OUT free int, OUT pace float8
) LANGUAGE plpgsql AS $$
DECLARE
    now float8;
    run_now text := extract(epoch FROM pg_postmaster_start_time())::text;
    b burst_budget;
    m burst_budget_member;
    late burst_budget_member;
    others record;
    fits bool := true;
    keeps int;
    gives_back bool;
    more int;
    free_now int;
BEGIN
    INSERT INTO burst_budget (name, most) VALUES (its_budget, its_limit) ON CONFLICT DO NOTHING;
    SELECT * INTO b FROM burst_budget WHERE name = its_budget FOR UPDATE;
    now := extract(epoch FROM clock_timestamp());
    IF b.run <> run_now THEN
        b.run := run_now;
        b.grace := now + lease;
        UPDATE burst_budget SET run = b.run, grace = b.grace WHERE name = its_budget;
    END IF;

    FOR late IN SELECT * FROM burst_budget_member WHERE budget = its_budget AND expires <= now AND name <> its_name LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(hashtextextended(late.name, 0));
        IF late.forget <= now OR late.firm = 0 THEN
            DELETE FROM burst_budget_member WHERE budget = its_budget AND name = late.name;
        ELSIF late.burst > 0 OR late.wants OR late.hungry OR late.claim <> late.firm THEN
            UPDATE burst_budget_member t SET burst = 0, claim = t.firm, wants = false, hungry = false
            WHERE budget = its_budget AND name = late.name;
        END IF;
    END LOOP;

    SELECT coalesce(sum(t.firm), 0)::int AS firm, coalesce(sum(t.claim), 0)::int AS claim,
           coalesce(sum(t.burst), 0)::int AS lent, count(*) FILTER (WHERE t.wants)::int AS wants,
           count(*) FILTER (WHERE t.hungry)::int AS hungry
    INTO others FROM burst_budget_member t WHERE t.budget = its_budget AND t.name <> its_name;
    SELECT * INTO m FROM burst_budget_member t WHERE t.budget = its_budget AND t.name = its_name;
    firm := 0; burst := 0; pace := 0;
    IF m.name IS NULL THEN
        IF NOT known THEN
            free := b.most - others.claim - others.lent;
            IF now < b.grace THEN
                status := 'wait'; pace := b.grace - now;
                RETURN;
            ELSIF others.claim + its_firm > its_limit THEN
                status := 'full';
                RETURN;
            END IF;
            b.most := its_limit;
            UPDATE burst_budget SET most = its_limit WHERE name = its_budget AND most <> its_limit;
        END IF;
        m.budget := its_budget; m.name := its_name; m.burst := 0; m.rests := 0; m.hungry := false;
        m.firm := CASE WHEN known THEN its_firm ELSE 0 END;
        m.claim := m.firm;
    ELSIF its_seq <= m.seq THEN
        status := 'stale'; free := b.most - others.claim - m.claim - others.lent - m.burst;
        RETURN;
    END IF;
    m.seq := its_seq; m.label := its_label; m.expires := now + lease; m.forget := now + patience;

    -- What is reserved.
    IF its_firm <= m.firm THEN
        m.firm := its_firm; m.claim := its_firm;
    ELSE
        IF its_firm <> m.claim THEN
            fits := others.claim + its_firm <= b.most;
            m.claim := CASE WHEN fits THEN its_firm ELSE m.firm END;
        END IF;
        IF fits AND others.firm + its_firm + others.lent + m.burst <= b.most THEN
            m.firm := its_firm;
        END IF;
    END IF;

    -- What is lent.
    keeps := CASE WHEN now < b.grace THEN kept ELSE least(m.burst, kept) END;
    gives_back := keeps < m.burst;
    m.burst := keeps;
    m.wants := want > 0;
    free_now := b.most - others.claim - m.claim - others.lent - m.burst;
    more := least(want - m.burst, free_now);
    IF others.hungry > 0 THEN
        share := greatest(
            CASE WHEN free_now < 0 OR its_seq % {BEATS} = 0 THEN 0 ELSE 1 END,
            floor((b.most - others.claim - m.claim)::numeric / (others.wants + 1))::int
        );
        IF gives_back THEN
            m.rests := now + lease / {BEATS};
        END IF;
        more := CASE WHEN now >= m.rests THEN least(more, share - m.burst) ELSE 0 END;
    END IF;
    IF more > 0 AND now >= b.grace THEN
        m.burst := m.burst + more;
    END IF;
    m.hungry := m.burst < want OR m.firm < m.claim;

    INSERT INTO burst_budget_member SELECT m.* ON CONFLICT (budget, name) DO UPDATE SET
        label = m.label, seq = m.seq, firm = m.firm, claim = m.claim, burst = m.burst, wants = m.wants,
        hungry = m.hungry, rests = m.rests, expires = m.expires, forget = m.forget;
    status := CASE WHEN NOT fits THEN 'full' WHEN m.firm < m.claim THEN 'wait' ELSE 'ok' END;
    firm := m.firm; burst := m.burst;
    free := b.most - others.claim - m.claim - others.lent - m.burst;
    pace := CASE WHEN share = 0 THEN lease / {BEATS} ELSE {PACE} * (others.hungry + m.hungry::int) END;
END $$;
"""  # noqa: S608 - nothing but constants of ours

SYNC: Final = "SELECT * FROM pg_temp.burst_budget_sync($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
LINE: Final = "SELECT pg_advisory_lock_shared(hashtextextended($1, 0))"
INSPECT: Final = """
SELECT coalesce(max(b.most), 0) AS most, coalesce(sum(m.firm), 0)::int AS firm, coalesce(sum(m.burst), 0)::int AS lent,
       coalesce(array_agg((m.label, m.firm, m.burst, m.expires - extract(epoch FROM clock_timestamp()))
                          ORDER BY m.firm + m.burst DESC, m.label) FILTER (WHERE m.firm + m.burst > 0), '{}') AS members
FROM burst_budget b LEFT JOIN burst_budget_member m ON m.budget = b.name WHERE b.name = $1
"""
