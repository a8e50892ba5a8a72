--- The one model of this editor and what runs on it.
---
--- Everything that generates is a job (wane.generate.start): a thread of its own,
--- heard of through its descriptor by the editor's event loop. Nothing here waits:
--- a job that hangs costs nothing but its thread, and stop() or leaving the editor
--- ends it. Completions share one context, which keeps what it has read, so that
--- the next request pays for what is new alone.
local compat = require "wane.nvim.compat"
local config = require "wane.nvim.config"
local native = require "wane.nvim.native"

local M = {}

local state = { running = {} } -- model, path, ctx; running: watch -> true

local told = {}

--- Shows a message once: the same trouble is not told with every key.
---@param message string
---@param level? integer
function M.tell(message, level)
  if told[message] then return end
  told[message] = true
  vim.schedule(function() vim.notify(message, level or vim.log.levels.WARN) end)
end

-- At the end of the editor nothing is left behind.
local function on_leave()
  if state.leaving then return end
  state.leaving = true
  vim.api.nvim_create_autocmd("VimLeavePre", { callback = function() M.close() end })
end

--- The path of the model that is, or would be, loaded.
---@return string?
function M.path() return state.path or config.get().model end

--- Whether it is loaded, and with what: { model =, ctx =, n_running = }.
function M.facts()
  local n = 0
  for _ in pairs(state.running) do n = n + 1 end
  return { model = state.model, ctx = state.ctx, n_running = n }
end

--- The shared model, loaded when first asked for.
---@return wane.Model|nil
---@return string? message
function M.model()
  if state.model then return state.model end
  local path = M.path()
  if not path then return nil, "wane: no model: set vim.g.wane = { model = \"/path/of/a.gguf\" } or say :Wane model PATH" end
  local ok, message = native.load()
  if not ok then return nil, message end
  on_leave()
  local wane = require "wane"
  local o = config.get()
  local threads = o.threads or math.max(1, wane.cpu().threads - 1)
  local fine, model, why = pcall(wane.load, path, { context = o.context, threads = threads })
  if not fine or not model then return nil, "wane: " .. tostring(fine and why or model) end
  if not model.vocab then
    model:close()
    return nil, ("wane: %s has no tokenizer"):format(path)
  end
  state.model, state.path = model, path
  told = {}
  return model
end

--- The context of completions: three sequences, so that one that is just being
--- given up is in nobody's way.
---@return wane.Context|nil
---@return string? message
function M.context()
  if state.ctx then return state.ctx end
  local model, message = M.model()
  if not model then return nil, message end
  local n = math.min(config.get().context, model.hp.context_length or math.huge)
  state.ctx, message = model:context { context = n, sequences = 3 }
  return state.ctx, message and "wane: " .. message
end

---@class wane.nvim.Watch
---@field stop fun()

--- Listens to a job. on_text gets what is new, on_end (a message when it failed,
--- and the job's facts) comes once and last; both outside of fast events, and
--- neither after stop(). Until on_end or stop() it counts as running.
---@param job wane.Job|wane.Reply
---@param on_text fun(text: string)
---@param on_end fun(message: string?, stats: table?)
---@return wane.nvim.Watch
function M.watch(job, on_text, on_end)
  local watch, poll = {}, assert(compat.uv.new_poll(job:fd()))
  local text, queued, ended, failure, stats = {}, false, false, nil, nil

  local function close()
    if not poll then return end
    poll:stop()
    poll:close() -- before the descriptor goes
    poll = nil
    stats = job:stats()
    job:close()
  end

  local function deliver()
    queued = false
    if watch.stopped then return end
    local new = table.concat(text)
    text = {}
    if new ~= "" then on_text(new) end
    if ended and not watch.stopped then
      watch.stopped = true
      state.running[watch] = nil
      on_end(failure, stats)
    end
  end

  function watch.stop()
    if watch.stopped then return end
    watch.stopped = true
    state.running[watch] = nil
    if poll then job:cancel() end
    close()
  end

  state.running[watch] = true
  poll:start("r", function()
    if not poll then return end
    local new, running = job:poll()
    if new then text[#text + 1] = new else failure = tostring(running) end
    if not new or not running then
      ended = true
      close()
    end
    if not queued then
      queued = true
      vim.schedule(deliver)
    end
  end)
  return watch
end

--- Calls f when no job works on the context any more; never waits for it, and
--- gives up with the context or when `wanted` says no.
---@param ctx wane.Context
---@param wanted fun(): boolean
---@param f fun()
function M.when_idle(ctx, wanted, f)
  local core = require "wane.core"
  local function try()
    local open, idle = pcall(core.job.idle, ctx.handle, 0)
    if not open or not wanted() then return end
    if idle then return f() end
    vim.defer_fn(try, 10)
  end
  try()
end

--- Ends everything that runs.
---@return integer n   how many
function M.stop()
  local list = {}
  for watch in pairs(state.running) do list[#list + 1] = watch end
  for _, watch in ipairs(list) do
    watch.stop()
    if watch.on_stop then watch.on_stop() end
  end
  return #list
end

--- Ends everything and gives the memory back.
function M.close()
  M.stop()
  if state.ctx then state.ctx:close() end
  if state.model then state.model:close() end
  state.ctx, state.model, state.path = nil, nil, nil
end

--- Takes another model; it is loaded when it is needed.
---@param path string   absolute
function M.use(path)
  M.close()
  state.path = path
  told = {}
end

return M
