--- A server of one model with the API that OpenAI's clients speak.
---
---     local wane = require "wane"
---     local serve = require "wane.serve"
---     local model = assert(wane.load "model.gguf")
---     local server = assert(serve.new(model, { port = 8080, parallel = 4 }))
---     print(server.url)
---     server:loop()                      -- or server:step(0.01) in a loop of your own
---
--- What it guarantees: one process, one loop, one context: all requests share
--- its steps, and prompts take over what it still holds of others (wane.batch).
--- Loopback unless told otherwise; limits on sizes, counts, times and the queue;
--- a client that goes away stops costing anything; no path of a request is opened.
---
--- How it works: lua-http on cqueues accepts (wane.serve.http); a coroutine works
--- (wane.serve.engine); each request is a coroutine that waits for its text.
--- Needs the libraries `http` and `cqueues` (Debian: lua-http, LuaRocks: http).
local M = {}

local options = require "wane.options"

--- GET and POST paths, without /v1 in front; both ways are served.
local ROUTES = {
  ["/"] = { "GET", "page", "show" },
  ["/models"] = { "GET", "status", "models" },
  ["/health"] = { "GET", "status", "health" },
  ["/metrics"] = { "GET", "status", "metrics" },
  ["/slots"] = { "GET", "status", "slots" },
  ["/tokenize"] = { "POST", "status", "tokenize" },
  ["/detokenize"] = { "POST", "status", "detokenize" },
  ["/tokenizer_info"] = { "GET", "status", "tokenizer_info" },
  ["/apply-template"] = { "POST", "chat", "apply_template" },
  ["/chat/completions"] = { "POST", "chat", "completions" },
  ["/completions"] = { "POST", "completions", "completions" },
  ["/infill"] = { "POST", "completions", "infill" },
  ["/embeddings"] = { "POST", "vectors", "embeddings" },
  ["/rerank"] = { "POST", "vectors", "rerank" },
  ["/report"] = { "GET", "inspect", "report" },
  ["/inspect"] = { "GET", "inspect", "model" },
}

for _, name in ipairs { "tensor", "block", "layers", "rounding", "outputs", "alpha", "fit" } do
  ROUTES["/inspect/" .. name] = { "POST", "inspect", name }
end

local positive = options.integer(1, 2 ^ 31 - 1)
local seconds = options.number(0.001, 1e6)
local check = options.checker("serve.new", {
  host = "string", port = options.integer(0, 65535), api_key = "string", parallel = options.integer(1, 1024),
  queue = options.integer(0, 65536), context = options.context, alias = "string", template = "string", report = "string", format = "string",
  pooling = options.one_of { "mean", "cls", "last" }, connections = positive, body_bytes = positive,
  request_seconds = seconds, body_seconds = seconds, head_seconds = seconds, write_seconds = seconds, idle_seconds = seconds,
  max_choices = options.integer(1, 1024), max_prompts = options.integer(1, 65536), completion_tokens = positive,
  note = "function",
}, {
  host = "127.0.0.1", port = 8080, parallel = 4, queue = 64, connections = 256, request_seconds = 600, idle_seconds = 30,
  max_choices = 16, max_prompts = 256, completion_tokens = 256, note = function() end,
})

---@class wane.Server
---@field host string
---@field port integer   the one that was taken, when 0 was asked for
---@field url string
---@field model wane.Model
local Server = {}
Server.__index = Server

--- The libraries, or nil and what to install.
local function libraries()
  local ok, http = pcall(require, "http.server")
  if ok then return http, require "cqueues" end
  return nil, "the server needs the Lua library http (Debian: lua-http, LuaRocks: http): " .. tostring(http):match "^[^\n]*", "EUNSUP"
end

-- An id of an answer.
function Server:new_id(prefix)
  self.n_ids = self.n_ids + 1
  return ("%s%x%04x%06x"):format(prefix, self.started, require("wane.serve.params").draw(65536) - 1, self.n_ids)
end

-- The model's name in answers: what the request said, or ours.
function Server:model_of(r) return r:string("model", 512) or self.id end

-- Whether 'stream_options' asks for the usage.
function Server.wants_usage(r)
  local o = r:get "stream_options"
  if o == nil then return false end
  if not require("wane.serve.request").is_object(o) then r:wrong("stream_options", "an object") end
  return o.include_usage == true
end

-- The handler of a request's method and path; nil and the allowed method.
local function route(self, method, path)
  local short = path:match "^/v1(/.*)$" or path
  local r = ROUTES[short]
  if not r and short == "/models/" .. self.id then r = { "GET", "status", "model" } end
  if not r then return nil end
  if r[1] ~= method then return nil, r[1] end
  local handler = require("wane.serve." .. r[2])[r[3]]
  return function(x, body)
    if self.closing and r[1] == "POST" then require("wane.serve.request").refuse(503, "the server is closing") end
    return handler(self, x, body)
  end
end

-- The name of the model in /v1/models: given, the file's, or the file's name.
local function name_of(model, alias)
  if alias then return alias end
  local path = model:info().path
  return (path:match "[^/]*$":gsub("%.gguf$", ""))
end

local function is_loopback(host) return host == "localhost" or host == "::1" or host:find "^127%." ~= nil end

-- Starts listening; true, or nil, message, code.
local function listen(self, http)
  local o = self.opts
  local limits = {}
  for name, v in pairs(require("wane.serve.http").LIMITS) do limits[name] = o[name] or v end
  local listener = require("wane.serve.http").listener {
    routes = function(method, path) return route(self, method, path) end,
    limits = limits, key = o.api_key, public = { ["/"] = true, ["/health"] = true, ["/v1/health"] = true }, loopback = is_loopback(o.host),
    note = o.note,
    done = function(x) self.statuses[x.status] = (self.statuses[x.status] or 0) + 1 end,
  }
  local ok, server, why = pcall(http.listen, { cq = self.cq, host = o.host, port = o.port, tls = false, version = 1.1,
    max_concurrent = o.connections, connection_setup_timeout = limits.head_seconds, intra_stream_timeout = o.idle_seconds,
    reuseaddr = true, onstream = listener, onerror = function(_, _, what, message)
      o.note(("%s: %s"):format(tostring(what), tostring(message)))
    end })
  if ok and server then ok, why = server:listen(5) else ok, why = nil, ok and why or server end
  if not ok then return nil, ("%s:%d: %s"):format(o.host, o.port, tostring(why)), "EIO" end
  self.server = server
  local _, host, port = server:localname()
  self.host, self.port = host, port
  self.url = ("http://%s:%d"):format(host:find(":", 1, true) and "[" .. host .. "]" or host, port)
  return true
end

--- A server for a model, listening. Everything that may be said has a default.
---
---     local server = assert(require("wane.serve").new(model, { port = 0 }))
---@param model wane.Model
---@param opts? table   host "127.0.0.1", port 8080 (0: any), api_key, parallel 4 (sequences at once), queue 64 (generations
---  that wait), context (tokens of a sequence; the model's default), alias (name in /v1/models), template (Jinja source),
---  format (of wane.chat), report (an HTML text for /report), pooling ("mean", "cls", "last"), connections 256,
---  body_bytes 8 MiB, request_seconds 600, body_seconds 30, head_seconds 10, write_seconds 30, idle_seconds 30, max_choices 16, max_prompts 256,
---  completion_tokens 256 (of /v1/completions without max_tokens), note(text) for a log
---@return wane.Server|nil
---@return string? message
---@return string? code
function M.new(model, opts)
  options.argument("serve.new", "model", model, "table")
  local o = check(opts)
  if not model.vocab then return nil, "the model has no vocabulary: " .. tostring(model.vocab_error), "EUNSUP" end
  if o.api_key == "" then options.fail("serve.new", "api_key", "a text that is not empty", o.api_key) end
  local http, cqueues, code = libraries()
  if not http then return nil, cqueues, code end
  local self = setmetatable({ model = model, opts = o, cq = cqueues.new(), started = os.time(), n_ids = 0, statuses = {} }, Server)
  local message
  self.style, message = require("wane.serve.conversation").style(model, o)
  if not self.style then return nil, message, "EFORMAT" end
  self.engine, message, code = require("wane.serve.engine").new(model, o)
  if not self.engine then return nil, message, code end
  self.id, self.fingerprint = name_of(model, o.alias), "wane-" .. require("wane").version
  local ok
  ok, message, code = listen(self, http)
  if not ok then
    self.engine:close()
    return nil, message, code
  end
  self.cq:wrap(function() self.engine:run() end)
  return self
end

--- Works for what is ready, waiting at most so long for something.
---
---     repeat server:step(0.1) until done
---@param timeout? number  seconds; for ever when absent
---@return true
---@error none
function Server:step(timeout)
  local ok, message = self.cq:step(timeout)
  if not ok then self.opts.note("loop: " .. tostring(message)) end
  return true
end

--- Serves until it is closed or `stop` was called, from a handler of a signal
--- for example: then what runs has `drain` seconds to end.
---
---     server:loop()
---@error none
function Server:loop()
  local monotime = require("cqueues").monotime
  while not self.closed do
    self:step(self.closing and 0.1 or nil)
    if self.closing and (#self.engine.live == 0 or monotime() > self.closing) then return self:close() end
  end
end

--- Takes no more requests; the loop ends when all is answered, or after `drain`
--- seconds (10).
---
---     server:stop(10)   -- seconds for what runs
---@param drain? number   seconds that open requests have to end (10)
---@error none
function Server:stop(drain)
  if self.closing then return end
  self.closing = require("cqueues").monotime() + (drain or 10)
  self.server:pause()
end

--- Closes sockets and the context; the model stays.
---
---     server:close()
---@error none
function Server:close()
  if self.closed then return true end
  self.closed = true
  self.engine:close()
  for _ = 1, 20 do self.cq:step(0) end -- coroutines hear of it
  self.server:close()
  return true
end
Server.__close = Server.close
function Server:__tostring() return ("wane.Server (%s)"):format(self.closed and "closed" or self.url) end

return M
