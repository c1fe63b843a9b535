-- What wrk sends. Arguments: a file with one account id, or one path, per line; the Authorization header; one of
--   read      GET a path at random
--   spread    POST a transaction of two entries, accounts at random
--   hot       the same, and the debited account is always the first
--   guarded   as spread, and the available balance of the debited account may not pass a bound
--   three     POST a transaction of three entries, accounts at random
-- Each transaction has an idempotency key of its own, as with the official clients.
local lines = {}
local mode, authorization, prefix
local count = 0

function init(args)
  for line in io.lines(args[1]) do lines[#lines + 1] = line end
  authorization = args[2]
  mode = args[3]
  math.randomseed(os.time())
  prefix = os.time() .. "-"
end

local function entry(account, direction, amount, guard)
  return string.format('{"ledger_account_id":"%s","direction":"%s","amount":%d%s}', account, direction, amount, guard)
end

function request()
  if mode == "read" then
    return wrk.format("GET", lines[math.random(#lines)], { ["Authorization"] = authorization })
  end
  count = count + 1
  local debit = lines[mode == "hot" and 1 or math.random(#lines)]
  local credit = lines[math.random(2, #lines)]
  local guard = mode == "guarded" and ',"available_balance_amount":{"gte":-1000000000000}' or ""
  local entries = entry(debit, "debit", count + 1, guard) .. ","
  if mode == "three" then
    entries = entries .. entry(credit, "credit", count, "") .. "," .. entry(lines[math.random(#lines)], "credit", 1, "")
  else
    entries = entries .. entry(credit, "credit", count + 1, "")
  end
  return wrk.format("POST", "/api/ledger_transactions", {
    ["Authorization"] = authorization,
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = prefix .. count,
  }, '{"status":"posted","ledger_entries":[' .. entries .. ']}')
end

-- wrk counts as an error what is above 399.
function done(summary, latency)
  io.write(string.format(
    "RESULT %d %d %d %.1f %.1f %.1f\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
