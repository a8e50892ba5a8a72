--- Generating text: piece by piece, under a time budget, in the background, or
--- many at once.
---
--- A generation is a prompt, a sampler and the text that comes of them. It runs
--- over a sequence of a context; any number of them share a context and its
--- steps, and each gives the text that it gives alone. Four faces:
---
---     for text in model:generate("Once") do io.write(text) end      -- one piece a call
---
---     local gen = model:generate("Once")                            -- a game's frame
---     local text, running = gen:step { ms = 2 }
---
---     local job = model:start "Once"                                -- a thread of its own
---     repeat local text, running = job:poll(); io.write(text or "") until not running
---
---     local batch = ctx:batch()                                     -- a server (wane.batch)
local core = require "wane.core"
local options = require "wane.options"

local M = {}

local sample = require "wane.sample"
local sampling = sample.OPTIONS
local looping = { max_tokens = true, stop = true, seq = true, special = true, bytes = true }
local own = {
  on_end = true, context = true, parse_special = true, add_special = true, threads = true,
  reuse = true, max_ms = true, shift = true, draft = true, draft_tokens = true, lora = true, logprobs = true,
  echo = true, cache_reuse = true,
}

local known = {}
for _, names in ipairs { sampling, looping, own } do
  for name in pairs(names) do known[name] = true end
end

local function wrong(where, name, want, level) error(("wane: %s: option '%s': want %s"):format(where, name, want), level + 1) end

-- { prompt =, tokens = } in milliseconds from option max_ms.
local function time_limits(o, max_ms, where, level)
  if max_ms == nil then return end
  if type(max_ms) == "number" then max_ms = { prompt = max_ms, tokens = max_ms } end
  if type(max_ms) ~= "table" then wrong(where, "max_ms", "milliseconds or { prompt =, tokens = }", level + 1) end
  for key, value in pairs(max_ms) do
    if (key ~= "prompt" and key ~= "tokens") or type(value) ~= "number" or value <= 0 or value ~= value then
      wrong(where, "max_ms", "milliseconds or { prompt =, tokens = }", level + 1)
    end
  end
  o.max_prompt_ms, o.max_token_ms = max_ms.prompt, max_ms.tokens
end

-- Option lora: scales of this text, by the number of the adapter; those that
-- are not named are off.
local function factors(o, model, scales, where, level)
  if scales == nil then return end
  local n = model.lora and #model.lora or 0
  if type(scales) ~= "table" then wrong(where, "lora", "a list of scales", level + 1) end
  local list = {}
  for i = 1, n do list[i] = 0 end
  for i, scale in pairs(scales) do
    if list[i] == nil then
      error(("wane: %s: option 'lora': no adapter %s, the model has %d"):format(where, tostring(i), n), level + 1)
    end
    if type(scale) ~= "number" or scale ~= scale or math.abs(scale) > 1e6 then
      wrong(where, "lora", "a list of scales", level + 1)
    end
    list[i] = scale
  end
  o.gains = list
end

-- Option shift: true, or { keep = tokens }.
local function shifting(o, shift, where, level)
  if not shift then return end
  if shift ~= true and (type(shift) ~= "table" or type(shift.keep) ~= "number") then
    wrong(where, "shift", "true or { keep = tokens }", level + 1)
  end
  o.shift, o.keep = true, shift ~= true and shift.keep or nil
end

-- Options draft and draft_tokens; a model becomes a context of its own, which
-- is closed with the generation.
local function drafting(o, opts, where, level)
  local draft, companion = opts.draft, nil
  if draft == nil then
    if opts.draft_tokens ~= nil then error(("wane: %s: draft_tokens without draft"):format(where), level + 1) end
    return nil
  end
  o.n_draft = opts.draft_tokens or 8
  if draft == "prompt" then return nil end
  if type(draft) ~= "table" or not draft.handle then wrong(where, "draft", '"prompt", a model or a context', level + 1) end
  if draft.context then
    local message, code
    companion, message, code = draft:context { threads = opts.threads }
    if not companion then return nil, message, code end
    draft = companion
  end
  o.draft = draft.handle
  return companion
end

-- Options logprobs and echo.
local function telling(o, opts, where, level)
  local n = opts.logprobs
  if n == true then n = 0 end
  if n and (type(n) ~= "number" or n < 0 or n > 1024 or n % 1 ~= 0) then
    wrong(where, "logprobs", "how many of the most probable tokens, 0 to 1024", level + 1)
  end
  if opts.echo ~= nil and type(opts.echo) ~= "boolean" then wrong(where, "echo", "true or false", level + 1) end
  if opts.echo and opts.shift then error(("wane: %s: echo and shift together"):format(where), level + 1) end
  o.logprobs, o.echo = n or nil, opts.echo or nil
end

--- Splits the options and checks them: those of the loop.
local function loop_options(opts, where, level)
  if type(opts) ~= "table" then error(("wane: %s: options: want a table, got a %s"):format(where, type(opts)), level + 1) end
  options.known(where, opts, known)
  local o = {}
  for name in pairs(looping) do o[name] = opts[name] end
  if type(o.stop) == "string" then o.stop = { o.stop } end
  if o.stop ~= nil and type(o.stop) ~= "table" then wrong(where, "stop", "a string or a list of strings", level + 1) end
  for i, s in ipairs(o.stop or {}) do
    if type(s) ~= "string" then wrong(where, ("stop[%d]"):format(i), "a string", level + 1) end
  end
  if opts.bias ~= nil and type(opts.bias) ~= "table" then wrong(where, "bias", "a table { [id] = add }", level + 1) end
  if opts.context ~= nil and (type(opts.context) ~= "table" or not opts.context.n_past) then
    wrong(where, "context", "a context of this model", level + 1)
  end
  if opts.on_end ~= nil and type(opts.on_end) ~= "function" then wrong(where, "on_end", "a function", level + 1) end
  if opts.cache_reuse ~= nil then
    local n = opts.cache_reuse
    if type(n) ~= "number" or n < 1 or n > 2 ^ 31 - 1 or n % 1 ~= 0 then
      wrong(where, "cache_reuse", "tokens of the shortest stretch to move, 1 or more", level + 1)
    end
    if not opts.reuse then error(("wane: %s: cache_reuse without reuse"):format(where), level + 1) end
    o.n_shift = n
  end
  if opts.reuse then
    if opts.seq then error(("wane: %s: reuse finds the sequence: leave seq out"):format(where), level + 1) end
    o.seq = 0
  end
  time_limits(o, opts.max_ms, where, level + 1)
  shifting(o, opts.shift, where, level + 1)
  telling(o, opts, where, level + 1)
  return o
end

-- Checks options of generations: for those who keep them (wane.chat). `hint`
-- stands where an unknown one's message has the names that are known.
function M.check_options(opts, where, level, hint)
  local ok, message = pcall(loop_options, opts, where, 0)
  if ok then return end
  message = tostring(message):gsub("^[^\n]-:%d+: ", "")
  if hint and message:find("unknown option", 1, true) then message = message:gsub(": want one of .*", " " .. hint) end
  error(message, level + 1)
end

-- Prompt ids. What continues a sequence begins with no special tokens, unless
-- they are asked for.
local function prompt_ids(model, prompt, opts, where, level)
  if type(prompt) == "table" then return prompt end
  if type(prompt) ~= "string" then
    error(("wane: %s: prompt: want a text or a list of token ids, got %s"):format(where, type(prompt)), level + 1)
  end
  if not model.vocab then error(("wane: %s: the model has no tokenizer: give token ids"):format(where), level + 1) end
  local special = opts.add_special
  if special == nil then special = not opts.context or opts.reuse or opts.context:n_past(opts.seq or 1) == 0 end
  return model.vocab:encode(prompt, { special = special, parse_special = opts.parse_special == true })
end

--- A generation that is pulled: by calling it, with step, or by a batch.
---@class wane.Generation
local Generation = {}
Generation.__index = Generation

-- Everything that a generation is made from, or nil, message, code. `threads`
-- is for a context of its own.
local function prepare(model, prompt, opts, threads, where, level)
  local loop = loop_options(opts, where, level + 1)
  local made = { loop = loop, closing = {} }
  factors(loop, model, opts.lora, where, level + 1)
  local function closes(x)
    if x then table.insert(made.closing, 1, x) end
    return x
  end
  local function failed(message, code)
    for _, x in ipairs(made.closing) do x:close() end
    return nil, message, code
  end
  local message, code
  made.ids, message, code = prompt_ids(model, prompt, opts, where, level + 1)
  if not made.ids then return nil, message, code end
  made.ctx = opts.context
  if not made.ctx then
    made.ctx, message, code = model:context { threads = threads }
    if not closes(made.ctx) then return failed(message, code) end
    loop.seq = loop.seq or 0
  end
  local functions, notes -- or a message, and a code
  made.sampler, functions, notes = sample.core(model, opts, where, level + 1)
  if not closes(made.sampler) then return failed(functions, notes) end
  made.functions, made.notes = functions, notes
  local companion
  companion, message, code = drafting(loop, opts, where, level + 1)
  if message then return failed(message, code) end
  closes(companion)
  return made
end

-- Calls start(ctx, sampler, ids, options) of the core; what it raises leaves
-- nothing open.
local function begin(made, start)
  local ok, thing, message, code = pcall(start, made.ctx.handle, made.sampler, made.ids, made.loop)
  if ok and thing then return thing end
  for _, x in ipairs(made.closing) do x:close() end
  if not ok then return nil, thing, "EARG" end
  return nil, message, code
end

local function raise(message, level)
  message = tostring(message)
  error(message:find "^wane: " and message or "wane: " .. message, level + 1)
end

-- A generation for stream and for batches: nil, message, code.
function M.new(model, prompt, opts, where, level)
  opts = opts == nil and {} or opts
  level = level + 1
  local made, message, code = prepare(model, prompt, opts, opts.threads, where, level)
  if not made then return nil, message, code end
  local gen
  gen, message, code = begin(made, core.job.gen)
  if not gen then
    if code == "EARG" then raise(message, level) end
    return nil, message, code
  end
  return setmetatable({ gen = gen, closing = made.closing, on_end = opts.on_end, context = made.ctx,
    sampler = made.sampler, functions = next(made.functions) and made.functions or nil,
    notes = made.notes, logs = made.loop.logprobs or made.loop.echo, echo = made.loop.echo }, Generation)
end

--- Generates text, as a generation that is pulled. Called, it gives the next
--- piece (whole UTF-8 characters), nil at the end; leaving a loop early is
--- fine. Errors of the world raise there, as an iterator has no other way;
--- Generation:step returns them.
---
---     for text in model:generate("Once upon a time", { max_tokens = 64, seed = 1 }) do
---       io.write(text)
---     end
---@param model wane.Model
---@param prompt string|integer[]   text or token ids; may be empty where a context is continued
---@param opts? table   temperature 0.8 (0: greedy), top_k 40, top_p 0.95, min_p 0.05, repeat_penalty 1,
---  frequency_penalty 0, presence_penalty 0, repeat_last_n 64, seed 0, bias { [id] = add } and all else that
---  wane.sample.new takes: sampler (stages in order), grammar, schema, banned, ...; max_tokens (all that fit; 0: the prompt is
---  evaluated, nothing is made),
---  stop (string or list), special (control tokens as text), bytes (text as the model's bytes, not always UTF-8),
---  parse_special (control tokens in the prompt), add_special (default: at the beginning of a sequence),
---  context (an own context: its sequence `seq`, 1, is continued), seq, reuse (the prompt is the whole text; the
---  context finds the sequence that holds most of it), cache_reuse (with reuse: stretches of at least n tokens behind a
---  change in what that sequence holds are moved to where the prompt has them; near to evaluating them, not the same),
---  max_ms (milliseconds, or { prompt =, tokens = }), shift (a
---  full sequence forgets its middle: true, or { keep = tokens at the start }), draft (guess ahead: "prompt", from
---  what the text held before, or a smaller model of the same vocabulary), draft_tokens 8, lora (scales of the model's
---  adapters for this text, in their order), logprobs (n: log probabilities of what is made, with the n most probable
---  tokens), echo (those of the prompt too), threads, on_end(stats). A function among the stages of `sampler` gets the
---  candidates (wane.sample); what it raises ends the generation and comes out of the pull.
---@return wane.Generation
---@error what the world does wrong, as an iterator has no other way; after model:close
function M.stream(model, prompt, opts)
  local gen, message = M.new(model, prompt, opts, "generate", 2)
  if not gen then raise(message, 2) end
  return gen
end

-- Notes how it ended, frees what it holds, calls on_end. Once.
local function finish(self, state)
  if self.ended then return end
  self.ended = self.gen:stats()
  self.ended.state = state or self.ended.state
  self.ended.ids, self.ended.notes = self.gen:ids(), self.notes
  if self.logs then
    self.ended.logprobs = self.gen:logprobs()
    if self.echo then self.ended.prompt_logprobs = self.gen:logprobs(1, true) end
  end
  self.gen:close()
  for _, x in ipairs(self.closing) do x:close() end
  if self.on_end then self.on_end(self.ended) end
end

-- Stages that are functions: it is their turn when the model has given logits.
-- One that raises ends the generation, and so does one that closes it.
local function run_stages(self)
  local place = self.gen:stage()
  while place do
    local c = self.sampler:candidates()
    self.in_stage = true
    local ok, why = pcall(self.functions[place], c)
    self.in_stage = false
    c:close()
    if not ok then
      finish(self, "failed")
      error(why, 0)
    end
    if self.ended then return end
    place = self.gen:stage()
  end
end

local function busy(self)
  if self.in_stage then error("wane: generation is busy: its stage runs", 3) end
end

-- For batches: what its functions have to do now.
function M.attend(self)
  if self.functions and not self.ended then run_stages(self) end
end

-- One pull: text, running | nil, message, code. The last text comes with
-- running = false; an error comes once, behind all text.
local function pull(self, budget)
  if self.ended then return "", false end
  local running, text, code = self.gen:step(budget)
  if running == nil then
    local rest = self.gen:take()
    self.message, self.code = text, code
    if rest ~= "" then return rest, true end -- the error is told by the next call
    finish(self)
    return nil, text, code
  end
  if running and self.functions then
    run_stages(self)
    if self.ended then return text, false end
    text = text .. self.gen:take()
  end
  return text, running
end

--- Works for so long, or for one token: the face for frames and editors. Comes
--- back in time in the middle of a prompt too; the text does not depend on how
--- the time is cut.
---
---     local text, running = gen:step { ms = 2 }
---@param budget? table   ms (milliseconds), tokens (most tokens of one step of the context)
---@return string|nil text      "" when nothing is new; nil, message, code when it failed (told once)
---@return boolean|string running   false with the last text
---@return string? code
function Generation:step(budget)
  busy(self)
  local text, running, code = pull(self, budget)
  if text and not running then finish(self) end
  return text, running, code
end

function Generation:__call()
  busy(self)
  while not self.ended do
    if self.over then
      finish(self)
      return nil
    end
    local text, running = pull(self)
    if not text then raise(running, 2) end
    self.over = not running -- the end is told after the last text
    if text ~= "" then return text end
  end
  return nil
end

--- What a batch has made of it since the last time; as step, without working.
---
---     local text, running = gen:take()
---@return string|nil text
---@return boolean|string running
---@return string? code
function Generation:take()
  busy(self)
  if self.ended then return "", false end
  local running = self.gen:stats().state == "running"
  local text = self.gen:take()
  if running then return text, true end
  local message, code = select(2, self.gen:error())
  if message and text ~= "" then return text, true end
  finish(self)
  if message then return nil, message, code end
  return text, false
end

local function rest_of(all, from)
  local list = {}
  for i = from or 1, #(all or list) do list[#list + 1] = all[i] end
  return list
end

--- Ids generated so far, from number `from` on (an end token is not among them).
---
---     print(#gen:ids())
---@param from? integer
---@return integer[]
---@error a number below 1
function Generation:ids(from)
  if not self.ended then return self.gen:ids(from) end
  return rest_of(self.ended.ids, from)
end

--- Log probabilities of what is generated, with option logprobs: from the
--- model's logits, before all stages. One entry an id, from number `from` on:
--- { id, text (the token's bytes), logprob, top = { { id, text, logprob }, ... } }.
---
---     local gen = model:generate("Once", { max_tokens = 4, logprobs = 2 })
---     for _ in gen do end
---     for _, t in ipairs(gen:logprobs()) do print(t.text, t.logprob, t.top[1].text) end
---@param from? integer
---@return table[]
---@error a number below 1
function Generation:logprobs(from)
  if not self.ended then return self.gen:logprobs(from) end
  return rest_of(self.ended.logprobs, from)
end

--- The same of the prompt, with option echo: as far as it was evaluated. The
--- first token of a sequence has no logprob and an empty top.
---
---     local gen = model:generate("Once upon", { max_tokens = 1, echo = true, logprobs = 1 })
---     for _ in gen do end
---     print(gen:prompt_logprobs()[2].logprob)
---@param from? integer
---@return table[]
---@error a number below 1
function Generation:prompt_logprobs(from)
  if not self.ended then return self.gen:logprobs(from, true) end
  return rest_of(self.ended.prompt_logprobs, from)
end

--- Facts: state ("running", "eog", "stop", "length", "context", "time",
--- "cancelled", "failed"), n_prompt, n_prompt_done, n_reused (prompt tokens
--- taken over from the context), n_tokens, n_drafted, n_accepted, n_shifted,
--- prompt_seconds, token_seconds, seq; when it has ended, ids and, where they
--- were asked for, logprobs and prompt_logprobs; notes (a list: what a schema asks
--- for and the grammar does not check, as an unknown format).
---
---     print(gen:stats().state, gen:stats().n_tokens)
---@return table
---@error none
function Generation:stats()
  if self.ended then return self.ended end
  local s = self.gen:stats()
  s.notes = self.notes
  return s
end

--- Ends it; what was made can still be taken.
---
---     gen:cancel()
---@error none
function Generation:cancel()
  if not self.ended then self.gen:cancel() end
end

--- Ends it and frees what it holds.
---
---     gen:close()
---@error none; closing twice is fine
function Generation:close()
  finish(self)
  return true
end
Generation.__close = Generation.close
function Generation:__tostring() return ("wane.Generation (%s)"):format(self:stats().state) end

---@class wane.Job
---@field poll fun(self): string?, boolean|string, string?   new text ("" for none) and whether more may come;
---  once nil, message, code when it failed, "" and false from then on: a loop until not running ends
---@field fd fun(self): integer     readable while poll has news
---@field cancel fun(self)          ends within a layer of the step in hand
---@field stats fun(self): table    as Generation:stats
---@field ids fun(self, from: integer?): integer[]
---@field logprobs fun(self, from: integer?, prompt: boolean?): table[]   as Generation:logprobs; of the prompt
---@field close fun(self)           does not wait

--- Starts generating in the background: for event loops and game frames. Jobs
--- on one context (option `context`) share its steps.
---
---     local job = assert(model:start("Once", { max_tokens = 32 }))
---     repeat local text, running = job:poll(); io.write(text or "") until not running
---     print(job:stats().state)   -- "failed" when it failed: then one poll gave nil, message, code
---@param model wane.Model
---@param prompt string|integer[]
---@param opts? table   as M.stream, without on_end. threads: one fewer than the cores, unless the model was loaded
---  with a number
---@return wane.Job|nil
---@return string? message
---@return string? code
function M.start(model, prompt, opts)
  opts = opts == nil and {} or opts
  if type(opts) == "table" and opts.on_end then error("wane: start: a job has no on_end: ask its stats", 2) end
  local threads = type(opts) == "table" and opts.threads or model.opts.threads or math.max(1, core.cpu().threads - 1)
  local made, message, code = prepare(model, prompt, opts, threads, "start", 2)
  if not made then return nil, message, code end
  local job
  job, message, code = begin(made, core.job.start)
  if not job then
    if code == "EARG" then raise(message, 2) end
    return nil, message, code
  end
  for _, x in ipairs(made.closing) do x:close() end -- the job has references of its own
  return job
end

return M
