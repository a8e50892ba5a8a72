--- Generating text: as an iterator, and as a background job.
local core = require "wane.core"

local M = {}

local sampling = {
  temperature = true, top_k = true, top_p = true, min_p = true, repeat_penalty = true,
  frequency_penalty = true, presence_penalty = true, repeat_last_n = true, seed = true,
}
local looping = { max_tokens = true, stop = true, seq = true, special = true }
local own = {
  bias = true, on_end = true, context = true, parse_special = true, add_special = true, threads = true,
}

--- A sampler for a model from generation options.
---@return userdata|nil sampler
---@return string? message
---@return string? code
function M.sampler(model, opts)
  local o = { n_vocab = model:info().n_vocab }
  for key in pairs(sampling) do
    o[key] = opts[key]
  end
  local sampler, message, code = core.sample.new(o)
  if not sampler then return nil, message, code end
  local ids = {}
  for id in pairs(opts.bias or {}) do
    ids[#ids + 1] = id
  end
  table.sort(ids)
  for _, id in ipairs(ids) do
    local ok, why, kind = sampler:bias(id, opts.bias[id])
    if not ok then
      sampler:close()
      return nil, why, kind
    end
  end
  return sampler
end

--- Splits the options and checks their names: those of the loop.
local function loop_options(opts)
  local o = {}
  for key, value in pairs(opts) do
    if looping[key] then
      o[key] = value
    elseif not (sampling[key] or own[key]) then
      error(("wane: generate: unknown option '%s'"):format(tostring(key)), 4)
    end
  end
  if type(o.stop) == "string" then o.stop = { o.stop } end
  return o
end

--- Prompt ids, the context to use, and whether it is ours to close.
local function prepare(model, prompt, opts)
  local ids, message, code = prompt
  if type(prompt) == "string" then
    if not model.vocab then error("wane: generate: the model has no tokenizer: give token ids", 4) end
    ids, message, code = model.vocab:encode(prompt, {
      special = opts.add_special ~= false,
      parse_special = opts.parse_special == true,
    })
    if not ids then return nil, message, code end
  end
  if opts.context then return ids, opts.context, false end
  local ctx
  ctx, message, code = model:context { threads = opts.threads }
  if not ctx then return nil, message, code end
  return ids, ctx, true
end

--- Iterates over pieces of text (whole UTF-8 characters) as they are
--- generated. Each call of the iterator does a few steps and returns at the
--- next text, so a host stays in charge; leaving the loop early is fine.
---
---     for text in model:generate("Once upon a time", { max_tokens = 64, seed = 1 }) do
---       io.write(text)
---     end
---
--- Errors of the world raise here, as an iterator has no other way.
---@param model wane.Model
---@param prompt string|integer[]   text or token ids
---@param opts? table   temperature 0.8 (0: greedy), top_k 40, top_p 0.95, min_p 0.05, repeat_penalty 1,
---  frequency_penalty 0, presence_penalty 0, repeat_last_n 64, seed 0, bias { [id] = add }, max_tokens (all that
---  fit), stop (string or list), special (control tokens as text), parse_special (control tokens in the prompt),
---  context (an own context to continue), seq, on_end(stats)
---@return fun(): string?
function M.stream(model, prompt, opts)
  opts = opts or {}
  local loop = loop_options(opts)
  local ids, ctx, ours = prepare(model, prompt, opts)
  if not ids then error("wane: " .. ctx, 2) end
  local sampler, message = M.sampler(model, opts)
  local gen
  if sampler then
    gen, message = core.job.gen(ctx.handle, sampler, ids, loop)
  end
  if not gen then
    if sampler then sampler:close() end
    if ours then ctx:close() end
    error("wane: " .. message, 2)
  end
  local running = true
  local function finish()
    local stats = gen:stats()
    stats.ids = gen:ids()
    gen:close()
    sampler:close()
    if ours then ctx:close() end
    if opts.on_end then opts.on_end(stats) end
  end
  return function()
    while running do
      local more, text = gen:step()
      if more == nil then
        running = false
        finish()
        error("wane: " .. text, 2)
      end
      running = more
      if not running then finish() end
      if text ~= "" then return text end
    end
  end
end

---@class wane.Job
---@field poll fun(self): string?, boolean|string, string?   new text ("" for none) and whether
---  more may come; nil, message, code when it failed
---@field fd fun(self): integer     readable while poll has news
---@field cancel fun(self)          ends after the step in progress
---@field stats fun(self): table
---@field close fun(self)

--- Starts generating in the background: for event loops and game frames.
---
---     local job = assert(model:start("Once", { max_tokens = 32 }))
---     repeat local text, running = job:poll(); io.write(text or "") until not running
---@param model wane.Model
---@param prompt string|integer[]
---@param opts? table   as M.stream, without on_end
---@return wane.Job|nil
---@return string? message
---@return string? code
function M.start(model, prompt, opts)
  opts = opts or {}
  local loop = loop_options(opts)
  local ids, ctx, ours = prepare(model, prompt, opts)
  if not ids then return nil, ctx, ours end
  local job
  local sampler, message, code = M.sampler(model, opts)
  if sampler then
    job, message, code = core.job.start(ctx.handle, sampler, ids, loop)
    sampler:close() -- the job has a reference of its own
  end
  if ours then ctx:close() end
  if not job then return nil, message, code end
  return job
end

return M
