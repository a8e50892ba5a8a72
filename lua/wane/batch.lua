--- Many generations in the steps of one context: what a server's loop stands on.
---
--- Each step takes the next token of every generation that runs, then pieces of
--- the prompts that wait, as far as the budget goes. A prompt takes over what
--- the context still holds of it; more prompts than sequences wait their turn.
--- What a generation makes does not depend on the others.
---
---     local ctx = assert(model:context { sequences = 16, context = 4096 })
---     local batch = ctx:batch()
---     local gen = assert(batch:add("Once upon a time", { max_tokens = 64 }))
---     while batch:step { ms = 10 } > 0 do        -- between steps: sockets, timers, new prompts
---       local text, running = gen:take()
---       io.write(text or "")
---     end
---     io.write((gen:take()))
local core = require "wane.core"
local generate = require "wane.generate"

local M = {}

---@class wane.Batch
local Batch = {}
Batch.__index = Batch

-- The batch of a context (there is one; this is a face of it).
-- @param ctx wane.Context
-- @return wane.Batch
function M.of(ctx) return setmetatable({ context = ctx, attended = {} }, Batch) end

--- "wane.Batch of wane.Context (512 tokens, 12 used)"
function Batch:__tostring() return "wane.Batch of " .. tostring(self.context) end

--- Adds a prompt. Options are those of model:generate; without `seq` the prompt
--- is the whole text (reuse), with it that sequence is continued.
---
---     local gen = assert(batch:add("Once", { max_tokens = 4 }))
---     repeat local live = assert(batch:step()) until live == 0
---     print(gen:take())
---@param prompt string|integer[]
---@param opts? table
---@return wane.Generation|nil
---@return string? message
---@return string? code
function Batch:add(prompt, opts)
  if opts ~= nil and type(opts) ~= "table" then error("wane: batch:add: options: want a table", 2) end
  local o = {}
  for key, value in pairs(opts or {}) do o[key] = value end
  if o.context ~= nil then error("wane: batch:add: the context is the batch's", 2) end
  o.context, o.reuse = self.context, o.seq == nil
  local gen, message, code = generate.new(self.context.model, prompt, o, "batch:add", 2)
  if not gen then return nil, message, code end
  local ok
  ok, message, code = gen.gen:add()
  if not ok then
    gen:close()
    return nil, message, code
  end
  if gen.functions then self.attended[#self.attended + 1] = gen end
  return gen
end

--- Works for all that were added: one step of the context, or as many as fit in
--- `ms` (then a step may be left half way; the next call goes on).
---
---     local live, message = batch:step { ms = 5 }
---@param budget? table   ms (milliseconds), tokens (most tokens of one step: a long prompt comes in pieces, so that
---  those who run keep getting tokens)
---@return integer|nil live   generations that have not ended
---@return string? message
---@return string? code
function Batch:step(budget)
  local live, message, code = core.job.batch_step(self.context.handle, budget)
  if not live or #self.attended == 0 then return live, message, code end
  local still = {}
  for _, gen in ipairs(self.attended) do
    if not gen.ended then still[#still + 1] = gen end
  end
  self.attended = still
  for _, gen in ipairs(still) do generate.attend(gen) end -- functions among the stages
  return live
end

return M
