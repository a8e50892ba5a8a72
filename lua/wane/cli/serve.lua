--- `wane serve MODEL`: the API of OpenAI's clients on a port of this machine.
local M = { summary = "serve a model over HTTP" }

local function number(p, flags, text) return p:option(flags, text):convert(tonumber) end

function M.describe(p)
  p:argument("model", "GGUF file"):as "model"
  p:option("--host", "address to listen on"):default "127.0.0.1"
  number(p, "-p --port", "port (0: any that is free)"):default "8080"
  p:option("--api-key", "want 'Authorization: Bearer KEY' (better: the variable WANE_API_KEY)")
  p:option("--alias", "the model's name in /v1/models")
  number(p, "--parallel", "generations at once"):default "4"
  number(p, "--queue", "generations that wait; more are refused"):default "64"
  number(p, "-c --context", "tokens of each generation (default: the model's, at most 4096)")
  p:option("--kv", "type of the cache: f16, f32, q8_0, ..."):as "cache"
  p:option("--template", "file with a Jinja template instead of the model's"):as "file"
  p:option("--format", "a built-in format instead of a template")
  p:option("--report", "page of wane compare, for /report"):as "file"
  p:option("--pooling", "of embeddings: mean, cls, last"):offer { "mean", "cls", "last" }
  number(p, "--timeout", "most seconds of a request"):default "600"
  number(p, "-t --threads", "threads (default: all cores)")
end

-- Ends the loop when the process is asked to; a second time ends the process.
local function on_signals(server, out)
  local ok, signal = pcall(require, "cqueues.signal")
  if not ok then return end
  signal.block(signal.SIGINT, signal.SIGTERM)
  server.cq:wrap(function()
    local listener = signal.listen(signal.SIGINT, signal.SIGTERM)
    listener:wait()
    signal.unblock(signal.SIGINT, signal.SIGTERM)
    out.note "closing: what runs has 10 seconds"
    server:stop(10)
  end)
end

local function template_of(path)
  if not path then return nil end
  local f, why = io.open(path, "rb")
  if not f then return nil, why end
  local text = f:read(1048577) or ""
  f:close()
  return text
end

function M.run(args, out)
  local wane, serve = require "wane", require "wane.serve"
  local source, why = template_of(args.template)
  if why then return nil, why end
  local report
  if args.report then
    report, why = require("wane.cli.read").text(args.report)
    if not report then return nil, why end
  end
  local model
  model, why = wane.load(args.model, { threads = args.threads, kv = args.kv })
  if not model then return nil, why end
  local context = args.context or math.min(4096, model.hp.context_length)
  local fine, server, message = pcall(serve.new, model, { host = args.host, port = args.port, context = context,
    api_key = args.api_key or os.getenv "WANE_API_KEY", alias = args.alias, parallel = args.parallel, queue = args.queue,
    template = source, report = report, format = args.format, pooling = args.pooling, request_seconds = args.timeout, note = out.note })
  if not fine or not server then
    model:close()
    return nil, fine and message or server
  end
  if not (args.host == "localhost" or args.host == "::1" or args.host:find "^127%.") and not server.opts.api_key then
    out.warn "whoever reaches this address can use the model: see --api-key"
  end
  if args.json then
    out.print(require("wane.report").json { url = server.url, model = server.id, parallel = args.parallel, context = context })
  else
    out.print(("%s: %s, %d at once, %d tokens each"):format(server.url, server.id, args.parallel, context))
  end
  on_signals(server, out)
  server:loop()
  model:close()
  return true
end

return M
