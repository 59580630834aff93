-- One caller asks to come in: a sliding window of requests, one of tokens, and leases of those that are inside.
-- KEYS: requests (sorted set by time), tokens (hash by second), inside (sorted set by end of lease)
-- ARGV: name of this visit, window ms, lease ms, the three limits, -1 for none, and tokens to set aside where half of
-- their limit stays free: then the visit need not ask again (hold.lua)
-- Answers {limit that refuses or "", its number, its count, ms until there is room or the window is empty, now ms,
-- tokens that were set aside}.
-- Who is refused leaves no trace, and the clock is the server's: all replicas count by one.
local visit, window, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local requests, tokens, concurrent = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local aside = tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local count = redis.call('ZCOUNT', KEYS[1], '(' .. (now - window), '+inf')
if requests >= 0 and count >= requests then
  local oldest = redis.call('ZRANGE', KEYS[1], count - requests, count - requests, 'WITHSCORES')
  return {'requests', requests, count, oldest[2] + window - now, now, 0}
end

if tokens >= 0 then
  local spent, first = 0, now
  local seconds = redis.call('HGETALL', KEYS[2])
  for i = 1, #seconds, 2 do
    if seconds[i] * 1000 <= now - window then
      redis.call('HDEL', KEYS[2], seconds[i])
    else
      spent = spent + seconds[i + 1]
      first = math.min(first, seconds[i] * 1000)
    end
  end
  if spent >= tokens then
    return {'tokens', tokens, spent, first + window - now, now, 0}
  end
  if 2 * (spent + aside) > tokens then
    aside = 0
  end
end

if concurrent >= 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  local inside = redis.call('ZCARD', KEYS[3])
  if inside >= concurrent then
    return {'concurrent', concurrent, inside, 1000, now, 0}
  end
  redis.call('ZADD', KEYS[3], now + lease, visit)
  redis.call('PEXPIRE', KEYS[3], lease)
end

if aside > 0 then
  redis.call('HINCRBY', KEYS[2], time[1], aside)
  redis.call('PEXPIRE', KEYS[2], window + 1000)
end
redis.call('ZADD', KEYS[1], now, visit)
redis.call('PEXPIRE', KEYS[1], window)
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {'', requests, count + 1, first[2] + window - now, now, aside}
