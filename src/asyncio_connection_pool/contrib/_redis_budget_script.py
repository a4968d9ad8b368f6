"""The coordinator, as a script that Valkey and Redis run in one piece: the protocol is told in `_budget_protocol`.

Three keys, all of which carry the budget's name as their hash tag:

- ``…:state``, a hash: ``limit``; ``run``, the server's run id; ``grace``, until when nothing is lent; and the sums
  over all members ``firm``, ``claim``, ``lent``, ``wants`` and ``hungry``;
- ``…:members``, a hash: what is known of each member, its numbers and then its label, in one string;
- ``…:late``, a sorted set: when each member has to be looked at, if it has not been heard of by then.

Times are milliseconds of the server's clock. A member's *line* is its subscription to ``…:line:<member>``. A server
with another run id than the last has restarted, or is a replica that took over: it may have forgotten something.
"""

from __future__ import annotations

from typing import Final

from asyncio_connection_pool.contrib._budget_protocol import BEATS

KEEP: Final = 7 * 86_400_000
"""Milliseconds for which a budget without any member is remembered: one that is not begins with a time of grace."""
PACE: Final = 1
"""Milliseconds between two questions of hungry members, whichever they are."""
BATCH: Final = 100
"""Silent members that are looked at in one call at most."""

SYNC: Final = f"""
local state_key, members_key, late_key = KEYS[1], KEYS[2], KEYS[3]
local line, member, label = ARGV[1], ARGV[2], ARGV[3]
local seq, known, limit = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local lease, patience = tonumber(ARGV[7]), tonumber(ARGV[8])
local firm, kept, want = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local fields = {{'limit', 'grace', 'firm', 'claim', 'lent', 'wants', 'hungry'}}
local values = redis.call('HMGET', state_key, unpack(fields))
local sum = {{}}
for i, field in ipairs(fields) do sum[field] = tonumber(values[i] or 0) end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
if redis.call('HGET', state_key, 'run') ~= run then sum.grace = now + lease end
if sum.limit == 0 then sum.limit = limit end

local function load(name)
  local text = redis.call('HGET', members_key, name)
  if not text then return nil end
  local f, c, b, w, h, s, r, u, l = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  return {{firm = tonumber(f), claim = tonumber(c), burst = tonumber(b), wants = tonumber(w), hungry = tonumber(h),
          seq = tonumber(s), rests = tonumber(r), forget = tonumber(u), label = l}}
end

local function save(name, m)
  local text = string.format('%d %d %d %d %d %d %d %d %s',
    m.firm, m.claim, m.burst, m.wants, m.hungry, m.seq, m.rests, m.forget, m.label)
  redis.call('HSET', members_key, name, text)
end

local function count(m, sign)
  sum.firm = sum.firm + sign * m.firm
  sum.claim = sum.claim + sign * m.claim
  sum.lent = sum.lent + sign * m.burst
  sum.wants = sum.wants + sign * m.wants
  sum.hungry = sum.hungry + sign * m.hungry
end

local function stands(name)
  local ok, answer = pcall(redis.call, 'PUBSUB', 'NUMSUB', line .. name)
  return ok and tonumber(answer[2]) > 0
end

local function bury()
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', late_key, '-inf', now, 'LIMIT', 0, {BATCH})) do
    local m = load(name)
    if m and stands(name) then
      redis.call('ZADD', late_key, now + lease / {BEATS}, name)
    else
      if m then
        count(m, -1)
        m.claim, m.burst, m.wants, m.hungry = m.firm, 0, 0, 0
      end
      if m and m.firm > 0 and m.forget > now then
        count(m, 1)
        save(name, m)
        redis.call('ZADD', late_key, m.forget, name)
      else
        redis.call('HDEL', members_key, name)
        redis.call('ZREM', late_key, name)
      end
    end
  end
end

local function free() return sum.limit - sum.claim - sum.lent end

local function finish(status, m, share, pace)
  redis.call('HSET', state_key, 'run', run, 'limit', sum.limit, 'grace', sum.grace, 'firm', sum.firm,
    'claim', sum.claim, 'lent', sum.lent, 'wants', sum.wants, 'hungry', sum.hungry)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, {KEEP}) end
  return {{status, m and m.firm or 0, m and m.burst or 0, share or -1, free(), math.ceil(pace)}}
end

bury()
local m = load(member)
if not m then
  if not known then
    if now < sum.grace then return finish('wait', nil, nil, sum.grace - now) end
    if sum.claim + firm > limit then return finish('full', nil, nil, 0) end
    sum.limit = limit
  end
  local own = known and firm or 0
  m = {{firm = own, claim = own, burst = 0, wants = 0, hungry = 0, rests = 0}}
elseif seq <= m.seq then
  return finish('stale', nil, nil, 0)
else
  count(m, -1)
end
m.seq, m.label, m.forget = seq, label, now + patience

-- What is reserved. The sums are those of all others here.
local fits = true
if firm <= m.firm then
  m.firm, m.claim = firm, firm
else
  if firm ~= m.claim then
    fits = sum.claim + firm <= sum.limit
    m.claim = fits and firm or m.firm
  end
  if fits and sum.firm + firm + sum.lent + m.burst <= sum.limit then m.firm = firm end
end

-- What is lent.
local in_grace = now < sum.grace
local keeps = in_grace and kept or math.min(m.burst, kept)
local gives_back = keeps < m.burst
m.burst = keeps
m.wants = want > 0 and 1 or 0
local left = sum.limit - sum.claim - m.claim - sum.lent - m.burst
local more, share, pace = math.min(want - m.burst, left), nil, nil
if sum.hungry > 0 then
  local fair = math.floor((sum.limit - sum.claim - m.claim) / (sum.wants + 1))
  local least = (left < 0 or seq % {BEATS} == 0) and 0 or 1
  share = math.max(least, fair)
  if gives_back then m.rests = now + lease / {BEATS} end
  more = now >= m.rests and math.min(more, share - m.burst) or 0
end
if more > 0 and not in_grace then m.burst = m.burst + more end
m.hungry = (m.burst < want or m.firm < m.claim) and 1 or 0
count(m, 1)
save(member, m)
redis.call('ZADD', late_key, now + lease, member)
local status = not fits and 'full' or m.firm < m.claim and 'wait' or 'ok'
return finish(status, m, share, share == 0 and lease / {BEATS} or {PACE} * sum.hungry)
"""

INSPECT: Final = """
local time = redis.call('TIME')
local sums = redis.call('HMGET', KEYS[1], 'limit', 'firm', 'lent')
return {time[1] * 1000 + math.floor(time[2] / 1000), sums, redis.call('HGETALL', KEYS[2]),
        redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')}
"""
