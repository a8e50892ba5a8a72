--- HTTP/1.1 for wane.serve: one request in, one answer out, within limits.
---
--- What it guarantees: a request that is malformed, too large, too slow or not
--- allowed gets an error object and costs nothing more; an answer is one JSON
--- text, one plain text, or a stream of server-sent events; a client that goes
--- away is noticed. No part of a request becomes a path of the file system:
--- targets are compared with a table of routes.
---
--- How it works: lua-http (`http.server` on cqueues) accepts connections, keeps
--- them alive and parses heads. Bodies need a Content-Length, so that their size
--- is known before a byte of them is read; what is refused before its body was
--- read closes the connection. Pages of other sites cannot make a browser talk to
--- us: a request whose Origin is not our own Host is refused, and on a loopback
--- address so is a Host that is no name of the loopback.
local M = {}

local errno = require "cqueues.errno"
local headers_of = require "http.headers"
local json = require "wane.json"
local reasons = require "http.h1_reason_phrases"
local request = require "wane.serve.request"

local monotime = require("cqueues").monotime

--- Limits, all of which may be given to wane.serve: bytes and seconds.
M.LIMITS = {
  body_bytes = 8 * 1024 * 1024, head_seconds = 10, body_seconds = 30, write_seconds = 30, header_lines = 64,
}

---@class wane.serve.Exchange
---@field method string
---@field path string     without the query
---@field status? integer  once the answer has begun
local Exchange = {}
Exchange.__index = Exchange

--- The error object of this API.
---@return table
function M.error_object(e)
  return { error = json.ordered { { "message", e.message }, { "type", e.kind or "server_error" },
    { "param", e.param or json.null }, { "code", e.code or json.null } } }
end

local function common(x, status, kind)
  local h = headers_of.new()
  h:append(":status", tostring(status))
  h:append("server", "wane")
  h:append("content-type", kind)
  h:append("cache-control", "no-store")
  h:append("x-content-type-options", "nosniff")
  if x.closes then h:append("connection", "close") end
  return h
end

--- Answers with a text and ends.
---@param status integer
---@param kind string   content type
---@param text string
---@param extra? table<string, string>
function Exchange:text(status, kind, text, extra)
  local h = common(self, status, kind)
  h:append("content-length", ("%d"):format(#text))
  for _, name in ipairs { "retry-after", "content-security-policy" } do
    if extra and extra[name] then h:append(name, extra[name]) end
  end
  self.status = status
  local s, seconds = self.stream, self.limits.write_seconds
  return s:write_headers(h, false, seconds) and s:write_chunk(text, true, seconds)
end

--- Answers with a JSON text.
function Exchange:json(status, value, extra) return self:text(status, "application/json", json.encode(value), extra) end

--- Begins an answer of server-sent events.
function Exchange:begin_events()
  self.status, self.events = 200, true
  return self.stream:write_headers(common(self, 200, "text/event-stream"), false, self.limits.write_seconds)
end

--- Sends one event: a table as JSON, a string as it is. False when the client
--- is gone.
---@return boolean
function Exchange:event(value)
  local text = "data: " .. (type(value) == "string" and value or json.encode(value)) .. "\n\n"
  return not not self.stream:write_chunk(text, false, self.limits.write_seconds)
end

--- Ends the events.
function Exchange:end_events() return self.stream:write_chunk("", true, self.limits.write_seconds) end

--- Whether the client has closed its side. Between requests of one connection
--- nobody sends, so there is nothing to read until then.
---@return boolean
function Exchange:gone()
  local socket = self.stream.connection and self.stream.connection.socket
  if not socket then return true end
  local ok, _, code = socket:fill(1, 0)
  return not ok and code ~= errno.ETIMEDOUT and code ~= errno.EAGAIN
end

-- An answer over the bare socket, which is closed then: for requests that the
-- library has not read to their end.
local function reject(x, e, extra)
  x.status = e.status
  local socket = x.stream.connection:take_socket()
  if not socket then return end
  socket:onerror(function(_, _, why) return why end) -- returned, not raised
  socket:clearerr()
  local body = json.encode(M.error_object(e))
  local head = { ("HTTP/1.1 %d %s"):format(e.status, reasons[tostring(e.status)] or "Error"), "server: wane",
    "content-type: application/json", "content-length: " .. #body, "connection: close" }
  for name, value in pairs(extra or {}) do head[#head + 1] = name .. ": " .. value end
  socket:xwrite(table.concat(head, "\r\n") .. "\r\n\r\n" .. body, "n", 2)
  socket:shutdown "w"
  -- reading on for a moment: closing over unread bytes would take the answer away
  local deadline, left = monotime() + 1, 256
  while left > 0 and monotime() < deadline and socket:xread(-65536, "b", 0.25) do left = left - 1 end
  socket:close()
end

local function head_failure(code)
  if code == errno.E2BIG then return { status = 431, message = "too many header lines", kind = "invalid_request_error" } end
  if code == errno.ETIMEDOUT then return { status = 408, message = "the request took too long", kind = "invalid_request_error" } end
  return { status = 400, message = "this is no HTTP/1.1 request", kind = "invalid_request_error" }
end

-- Equal texts, in a time that tells nothing of where they differ.
local function same(a, b)
  local wrong = #a ~= #b and 1 or 0
  for i = 1, #a do
    if a:byte(i) ~= b:byte((i - 1) % math.max(1, #b) + 1) then wrong = wrong + 1 end
  end
  return wrong == 0
end

local LOOPBACK = { localhost = true, ["127.0.0.1"] = true, ["[::1]"] = true }

-- Refuses what a browser would send for a page of another site.
local function check_origin(x, headers)
  local host, origin = headers:get ":authority", headers:get "origin"
  local name = host and (host:match "^(%[[%x:.]+%])" or host:match "^([^:]+)")
  if x.loopback and name and not LOOPBACK[name:lower()] and not name:find "^127%.%d+%.%d+%.%d+$" then
    request.refuse(403, "this Host is not served: want a name of the loopback")
  end
  if origin and origin ~= "http://" .. tostring(host) and origin ~= "https://" .. tostring(host) then
    request.refuse(403, "requests of other sites' pages are not served")
  end
end

local function check_key(x, headers)
  if not x.key or x.public[x.path] then return end
  local given = (headers:get "authorization" or ""):match "^[Bb]earer +(%S+)$" or headers:get "x-api-key"
  if not given or not same(given, x.key) then
    request.refuse(401, "a wrong API key, or none: want 'Authorization: Bearer KEY'", nil, "invalid_api_key")
  end
end

-- The number of bytes of the body; refuses what does not say it in one number.
local function body_length(x, headers)
  if headers:has "transfer-encoding" then request.refuse(411, "the body: want a Content-Length") end
  local list = headers:get_as_sequence "content-length"
  if list.n == 0 then return 0 end
  local n = list.n == 1 and list[1]:match "^%d+$" and #list[1] <= 15 and tonumber(list[1])
  if not n then request.refuse(400, "Content-Length: want one whole number") end
  if n > x.limits.body_bytes then
    request.refuse(413, ("the body: %.0f bytes, want at most %d"):format(n, x.limits.body_bytes))
  end
  return n
end

-- The library closes the reading side of a connection that is to end with this
-- answer as soon as the request is read; whether the client is there could not be
-- told then. The answer says "close" instead.
local function keep_reading(x)
  x.closes = x.stream.close_when_done
  x.stream.close_when_done = nil
end

-- The body, or nil when it did not come in time.
local function read_body(x, headers, n)
  if n == 0 then return "" end
  keep_reading(x)
  local deadline, parts, got = monotime() + x.limits.body_seconds, {}, 0
  if (headers:get "expect" or ""):lower() == "100-continue" then x.stream:write_continue(x.limits.write_seconds) end
  while got < n do
    local chunk = x.stream:get_next_chunk(math.max(0, deadline - monotime()))
    if not chunk then return nil end
    parts[#parts + 1], got = chunk, got + #chunk
  end
  return table.concat(parts)
end

-- The head of a request, checked; the handler of its route.
local function accept(x, headers, routes)
  x.method, x.path = headers:get ":method", (headers:get ":path" or ""):match "^[^?#]*"
  check_origin(x, headers)
  check_key(x, headers)
  local n = body_length(x, headers)
  local handler, allowed = routes(x.method, x.path)
  if not handler and allowed then
    x.extra = { allow = allowed }
    request.refuse(405, ("%s: want %s"):format(x.path, allowed))
  end
  if not handler then request.refuse(404, "nothing is served at this path", nil, "not_found") end
  return handler, n
end

-- Reads one request; the handler and its body are nil when it was answered here.
local function receive(x, routes)
  x.stream.max_header_lines = x.limits.header_lines
  local ok, headers, why, code = pcall(x.stream.get_headers, x.stream, x.limits.head_seconds)
  if not ok or not headers then
    local hung_up = ok and (why == nil or code == errno.EPIPE or code == errno.ECONNRESET)
    return nil, not hung_up and reject(x, head_failure(ok and code)) or nil
  end
  local fine, handler, n = pcall(accept, x, headers, routes)
  if not fine then
    if not request.is_refusal(handler) then error(handler, 0) end
    local extra = x.extra or {}
    if handler.status == 401 then extra["www-authenticate"] = "Bearer" end
    return nil, reject(x, handler, extra)
  end
  local body = read_body(x, headers, n)
  if not body then return nil, reject(x, head_failure(errno.ETIMEDOUT)) end
  return handler, body
end

-- Runs a handler; what it refuses or fails with becomes the answer.
local function answer(x, handler, body, note)
  local ok, e = pcall(handler, x, body)
  if ok then return end
  if not request.is_refusal(e) then
    note(("%s %s: %s"):format(x.method, x.path, tostring(e)))
    e = { status = 500, message = "an error of the server, which its log tells", kind = "server_error" }
  end
  if x.status then -- in the middle of an answer
    if x.events and x:event(M.error_object(e)) then x:end_events() end
    return
  end
  x:json(e.status, M.error_object(e), e.status == 503 and { ["retry-after"] = "2" } or nil)
end

--- What lua-http calls for each request. o: routes(method, path) -> handler or
--- nil and the allowed method; limits, key, public { path = true }, loopback,
--- note(text), done(exchange, seconds).
---@return fun(server: table, stream: table)
function M.listener(o)
  return function(_, stream)
    local x = setmetatable({ stream = stream, limits = o.limits, key = o.key, public = o.public or {}, loopback = o.loopback,
      path = "" }, Exchange)
    local begun = monotime()
    local handler, body = receive(x, o.routes)
    if handler then answer(x, handler, body, o.note) end
    if x.status then o.done(x, monotime() - begun) end
  end
end

return M
