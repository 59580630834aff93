-- A visit ends: its lease is given back, and the tokens that it took are counted in the place of those set aside.
-- KEYS: tokens, inside (as in enter.lua)
-- ARGV: name of the visit, window ms, tokens, the second in which some were set aside, how many
-- With a name that nobody has and no tokens, only what was set aside is given back.
redis.call('ZREM', KEYS[2], ARGV[1])
if tonumber(ARGV[5]) > 0 and redis.call('HEXISTS', KEYS[1], ARGV[4]) == 1 then
  if redis.call('HINCRBY', KEYS[1], ARGV[4], -ARGV[5]) <= 0 then
    redis.call('HDEL', KEYS[1], ARGV[4])
  end
end
if tonumber(ARGV[3]) > 0 then
  redis.call('HINCRBY', KEYS[1], redis.call('TIME')[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[2] + 1000)
end
return 0
