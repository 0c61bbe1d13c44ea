"""Load by wrk, and what it measured.

Owns the scripts it feeds to wrk; must not judge a figure.
"""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Every request carries a payment of its own, so that nothing is answered from memory.
_LUA = """
local key, run, number = "{key}", "{run}", 0
request = function()
  number = number + 1
  local id = run .. "-" .. number
  {request}
end
local errors = 0
response = function(status) if status >= 400 then errors = errors + 1; lost = errors end end
local threads = {{}}
setup = function(thread) table.insert(threads, thread) end
done = function(summary, latency)
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + (thread:get("lost") or 0) end
  local socket = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.stderr:write(string.format('{{"requests":%d,"us":%d,"p50":%d,"p99":%d,"p95":%d,"errors":%d}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(95), bad + socket))
end
"""
OPEN = """local body = '{"billing_payment_id":"' .. id .. '","amount":"10.00","currency":"USD","description":"VPS Start"'
      .. ',"customer":{"id":"c-' .. id .. '"}}'
  local headers = {["Content-Type"]="application/json", ["Authorization"]="Bearer " .. key, ["Idempotency-Key"]="bm-" .. id}
  return wrk.format("POST", nil, headers, body)"""
REFERENCE = """local body = '{"billing_payment_id":"' .. id .. '","amount":"10.00","currency":"USD"}'
  return wrk.format("POST", nil, {["Content-Type"]="application/json"}, body)"""
CALLBACK = """local token = tokens[number % #tokens + 1]
  local body = '{"address":"tb1q","received_sat":' .. number .. ',"run":"' .. run .. '","status":"confirmed"}'
  return wrk.format("POST", "/callbacks/subtc/" .. token, {["Content-Type"]="application/json"}, body)"""
GET = """return wrk.format("GET", nil, {headers})"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of wrk. Latencies in microseconds."""

    requests: int
    per_second: float
    p50_us: int
    p95_us: int
    p99_us: int
    errors: int


def wrk(
    url: str, *, clients: int, seconds: float, request: str = "return wrk.format('GET')", key: str = "", head: str = ""
) -> Measured:
    """Runs `clients` kept-alive connections against `url`. Raises RuntimeError when a request failed or none was answered."""
    with tempfile.TemporaryDirectory() as place:
        script = Path(place) / "load.lua"
        run = script.parent.name.replace("_", "-")
        script.write_text(head + _LUA.format(key=key, run=run, request=request))
        length = max(1, round(seconds))
        command = ["wrk", "-t1", f"-c{clients}", f"-d{length}s", "--timeout", "30s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stderr[done.stderr.index("{") :])
    measured = Measured(
        requests=told["requests"],
        per_second=told["requests"] * 1e6 / told["us"],
        p50_us=told["p50"],
        p95_us=told["p95"],
        p99_us=told["p99"],
        errors=told["errors"],
    )
    if measured.errors or not measured.requests:
        raise RuntimeError(f"{measured.errors} failed requests and {measured.requests} answered at {url} in {length} s")
    return measured
