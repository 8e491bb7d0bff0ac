-- Sends the requests of a file in turn, over and over, for some seconds, as a script of wrk:
--     wrk -t1 -c64 -d7s -s wrk.lua URL -- FILE SECONDS
-- Then it sends nothing more, so that every request is answered before wrk ends. Prints a line of JSON.

local ffi = require("ffi")
ffi.cdef([[
typedef struct { long seconds; long nanoseconds; } timespec;
int clock_gettime(int clock, timespec *time);
]])
local MONOTONIC = 1
local time = ffi.new("timespec")

local function now()
    ffi.C.clock_gettime(MONOTONIC, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local threads = {}
local requests = {}
local started

function setup(thread)
    table.insert(threads, thread)
end

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    for length in function() return file:read("*l") end do
        table.insert(requests, file:read(tonumber(length)))
    end
    file:close()
    seconds = tonumber(arguments[2])
    -- wrk asks for one request to look at it, and doesn't send it.
    sent, elapsed = -1, 0
end

function request()
    if sent < 0 then
        sent = 0
        return requests[1]
    end
    local at = now()
    started = started or at
    if at - started >= seconds then
        -- Called once more for each connection, when its last request has been answered.
        elapsed = at - started
        return ""
    end
    sent = sent + 1
    return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"sent": %d, "answered": %d, "refused": %d, "failed": %d, '
            .. '"seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
        threads[1]:get("sent"),
        summary.requests,
        errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        threads[1]:get("elapsed"),
        latency:percentile(50) / 1000,
        latency:percentile(99) / 1000
    ))
end
