-- wrk's side of bench/load/wrk.ts. Arguments: method, file with one path a line, requests on their way on each connection,
-- share of the requests before which a connection pauses, and for how many ms at most.
-- Says `ready` when the load begins and one line of JSON when it has ended.
local requests, next, volley = {}, 0, 1

function init(args)
  volley = tonumber(args[3])
  for path in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format(args[1], path)
  end
  local share, most = tonumber(args[4]), tonumber(args[5])
  -- wrk asks after this whether there is a `delay`: one costs it a timer a request
  if share > 0 then
    delay = function() return math.random() < share and math.random(1, most) or 0 end
  end
  -- One path: the volley never changes and is made once.
  if #requests == 1 then
    requests[1] = string.rep(requests[1], volley)
    volley = 1
  end
  print('ready')
  io.flush()
end

function request()
  if volley > 1 then
    local many = {}
    for i = 1, volley do
      next = next % #requests + 1
      many[i] = requests[next]
    end
    return table.concat(many)
  end
  next = next % #requests + 1
  return requests[next]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"micros":%d,"answered":%d,"above399":%d,"failed":%d}',
    summary.duration, summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
