-- The requests of a comparison; extra headers come as "Name: value" lines in BENCH_HEADERS. A run of "@" in the body
-- is replaced by a number, so that no two requests in flight are the same; without one, all are.
local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer bench" }
for name, value in (os.getenv("BENCH_HEADERS") or ""):gmatch("([^:\n]+): ([^\n]+)") do
  headers[name] = value
end
local body = assert(os.getenv("BENCH_BODY"))

-- Made beforehand: the load generator's own work is to be the same for every server.
local kinds = 4096
local requests, next_one = {}, 0

function init()
  local numbered = body:find("@") ~= nil
  for i = 1, numbered and kinds or 1 do
    local text = body:gsub("@+", function(run) return string.format("%0" .. #run .. "d", i) end)
    requests[i] = wrk.format("POST", nil, headers, text)
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.6f, "p50_us": %.1f, "p99_us": %.1f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
