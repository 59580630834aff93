-- Visits that are still inside: their leases begin anew. One that was given back, or ran out, does not come back.
-- KEYS: inside (as in enter.lua); ARGV: lease ms, names of the visits
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', ends, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 0
