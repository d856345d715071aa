-- Sends the requests that `load save` wrote, each thread its own file, one after the other; after the last one the first again.
local threads = 0

function setup(thread)
	thread:set("number", threads)
	threads = threads + 1
end

function init(args)
	local file = assert(io.open(args[1] .. "." .. number, "rb"))
	local bytes = file:read("*a")
	file:close()
	requests, at = {}, 0
	local position = 1
	while position <= #bytes do
		local length = tonumber(bytes:sub(position, position + 7))
		requests[#requests + 1] = bytes:sub(position + 8, position + 7 + length)
		position = position + 8 + length
	end
end

function request()
	at = at % #requests + 1
	return requests[at]
end

function done(summary, latency)
	local refused = summary.errors.status
	local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
	io.write(string.format('{"requests": %d, "ok": %d, "refused": %d, "broken": %d, "per_second": %.0f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
		summary.requests, summary.requests - refused, refused, broken, summary.requests * 1e6 / summary.duration,
		latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
