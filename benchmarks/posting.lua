-- Posts two-entry transactions, one a request, each with an idempotency key of its own, as the official clients do.
-- Arguments: a file with one account id per line; "spread" or "hot" (one side is always the first account); the
-- Authorization header.
local accounts = {}
local mode, authorization
local thread_count = 0
local count = 0

function setup(thread)
  thread_count = thread_count + 1
  thread:set("id", thread_count)
end

function init(args)
  for line in io.lines(args[1]) do accounts[#accounts + 1] = line end
  mode = args[2]
  authorization = args[3]
  math.randomseed(os.time() * 100 + id)
  prefix = string.format("%d-%d-", os.time(), id)
end

function request()
  count = count + 1
  local debit = accounts[mode == "hot" and 1 or math.random(#accounts)]
  local credit = accounts[math.random(2, #accounts)]
  local body = string.format(
    '{"status":"posted","ledger_entries":[{"ledger_account_id":"%s","direction":"debit","amount":%d},' ..
    '{"ledger_account_id":"%s","direction":"credit","amount":%d}]}', debit, count, credit, count)
  return wrk.format("POST", "/api/ledger_transactions", {
    ["Authorization"] = authorization,
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = prefix .. count,
  }, body)
end

local refused = 0
function response(status)
  if status ~= 201 then refused = refused + 1 end
end

function done(summary, latency)
  io.write(string.format(
    "RESULT %d %d %d %.1f %.1f %.1f\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
