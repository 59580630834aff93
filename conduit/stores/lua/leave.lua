-- A visit ends: its lease is given back, and the tokens that it took are counted.
-- KEYS: tokens, inside (as in enter.lua); ARGV: name of the visit, window ms, tokens
redis.call('ZREM', KEYS[2], ARGV[1])
if tonumber(ARGV[3]) > 0 then
  redis.call('HINCRBY', KEYS[1], redis.call('TIME')[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[2] + 1000)
end
return 0
