--- Loaded models and contexts: `wane.load` and what it returns.
--
--   local m = assert(wane.load("model.gguf", { context = 4096, threads = 4 }))
--   local ctx = m:context { kv = "f32" }
--   local logits = assert(ctx:eval(tokens))     -- of the token after the last
local M = {}

local core = require "wane.core"
local arch = require "wane.arch"
local graph = require "wane.arch.graph"
local hparams = require "wane.arch.hparams"
local lora = require "wane.lora"
local options = require "wane.options"
local report = require "wane.report"
local spare = require "wane.arch.spare"
local vocabs = require "wane.vocab"

---@class wane.Model
---@field hp table hyper-parameters of the file
---@field vocab wane.Vocab|nil its tokenizer; nil: vocab_error says why
local Model = {}
Model.__index = Model

---@class wane.Context
local Context = {}
Context.__index = Context

-- "f16", or { k = "q8_0", v = "f16" }
local kv_type = options.type('the name of a type, or { k =, v = }', function(v)
  if type(v) == "string" then return true end
  if type(v) ~= "table" then return false end
  for key, name in pairs(v) do
    if (key ~= "k" and key ~= "v") or type(name) ~= "string" then return false end
  end
  return true
end)

local replace_type = options.type("buffers or blocks by tensor name", function(v)
  if type(v) ~= "table" then return false end
  for name, data in pairs(v) do
    if type(name) ~= "string" or type(data) ~= "userdata" then return false end
  end
  return true
end)

local activations = options.one_of { "float", "int8", "fp8" }
local check_load = options.checker("load", {
  context = options.context, threads = options.threads, batch = options.batch, kv = kv_type, map = "boolean",
  max_bytes = options.bytes, fuse = "boolean", replace = replace_type, embeddings = "boolean",
  unused = options.one_of { "ignore", "error" }, lora = "any", exact = options.one_of { "trained", "llama.cpp" },
  activations = activations,
})
local CONTEXT = {
  context = options.context, threads = options.threads, batch = options.batch, kv = kv_type,
  sequences = options.integer(1, 65536), outputs = options.integer(1, 16777216), max_bytes = options.bytes,
  marks = options.integer(0, 64), activations = activations,
}
local check_context = options.checker("model:context", CONTEXT)
local check_estimate = options.checker("model:estimate", CONTEXT)
local check_eval = options.checker("ctx:eval", { all = "boolean", seq = options.integer(1, 65536) })

-- Names of tensors that the program does not use, in file order. Those that
-- are not known to be meant for something else are an error, unless the caller
-- says otherwise: a model without a part of it gives wrong results in silence.
local function unused(g, used, hp, opts, handle)
  local list, strange = {}, {}
  for i = 1, g:info().n_tensors do
    local name = g:tensor(i).name
    if not used[name] then
      list[#list + 1] = name
      if not spare.purpose(name, hp) then strange[#strange + 1] = name end
    end
  end
  if #strange > 0 and opts.unused ~= "ignore" then
    handle:close()
    hparams.fail("EUNSUP", "%d tensors that %s does not use: %s%s (unused = \"ignore\" loads it without them)",
      #strange, hp.architecture, table.concat(strange, ", ", 1, math.min(#strange, 4)), #strange > 4 and ", ..." or "")
  end
  return list
end

-- The vocabulary, when the file has one. A kind that wane does not know leaves
-- the model usable with token ids; a broken one is an error.
local function vocab_of(g, exact)
  if not g:find_kv "tokenizer.ggml.model" then return nil end
  local v, msg, code = vocabs.of(g, { exact = exact })
  if v or code == "EUNSUP" then return v, msg end
  error({ code = code, msg = msg, named = true }, 0)
end

-- What contexts may want to know later: the options without their data.
local function kept(opts)
  local o = {}
  for key, value in pairs(opts) do
    if key ~= "replace" and key ~= "lora" then o[key] = value end
  end
  return o
end

-- The adapters of option lora, opened; and what their tensors become.
local function adapters_of(opts)
  if opts.lora == nil then return {} end
  local list, msg, code = lora.open_all(opts.lora)
  if not list then error({ code = code, msg = msg, named = true }, 0) end
  return list
end

local function with_adapters(adapters, adapted, given, f)
  local replace = {}
  for name, data in pairs(given or {}) do replace[name] = data end
  local made, ok, msg, code = lora.read_into(replace, adapters, adapted)
  local handle
  if ok then
    handle, msg, code = f(replace)
  end
  for _, buffer in ipairs(made) do buffer:close() end
  if not handle then error({ code = code, msg = msg, named = true }, 0) end
  return handle
end

local function close_adapters(adapters)
  for _, a in ipairs(adapters) do a.file:close() end
end

-- Reads, builds and binds; raises hparams.fail tables about the file.
local function load(g, opts, adapters)
  local name = hparams.architecture(g)
  local describe = arch.find(name)
  if not describe then hparams.fail("EUNSUP", "%s", arch.unknown(name)) end
  local hp = hparams.read(g)
  local prog, used, adapted = graph.build(g, describe, hp, opts.embeddings, adapters)
  local vocab, vocab_error = vocab_of(g, opts.exact)
  local fuse = opts.fuse
  if fuse == nil then fuse = os.getenv "WANE_FUSE" ~= "0" end
  local handle = with_adapters(adapters, adapted, opts.replace, function(replace)
    return core.model.load(g, prog,
      { map = opts.map ~= false, fuse = fuse, max_bytes = opts.max_bytes, n_ctx = hp.context_length,
        replace = next(replace) and replace or nil },
      vocab and vocab.handle)
  end)
  hp.embeddings = handle:info().result == "embeddings"
  local left = unused(g, used, hp, opts, handle) -- after what binding has to say
  local scales = {}
  for i, a in ipairs(adapters) do scales[i] = a.scale end
  return {
    lora = #scales > 0 and scales or nil,
    handle = handle, gguf = g, prog = prog, hp = hp, opts = kept(opts), vocab = vocab, vocab_error = vocab_error,
    unused = left, replaced = opts.replace ~= nil, users = { n = 1 }, -- models that share file and program
  }
end

--- Loads a model.
---
---     local m = assert(wane.load(path, { context = 256, threads = 1 }))
---     print(m:info().architecture)   --> llama
---     m:close()
---@param path string a GGUF file, or any file of a split one, or the directory
--- of a Hugging Face checkpoint (converted without loss to a temporary file)
---@param opts table|nil context, threads, batch, kv, activations: defaults for contexts;
--- map = false: read weights into memory instead of mapping the file;
--- max_bytes: refuse larger weights; fuse = false: one operation a stage;
--- replace = { [tensor name] = buffer or blocks }: data to use instead of the
--- file's (core.quant buffers and blocks; copied); embeddings = true: a causal
--- model that gives embeddings instead of logits, without its output matrix;
--- unused = "ignore": load a file with tensors that the model does not use; lora:
--- adapters, a path, { path =, scale = 1 } or a list of them (wane.lora); exact:
--- whose token ids, "trained" (default) or "llama.cpp" (wane.vocab)
---@return wane.Model|nil model
---@return string|nil message
---@return string|nil code
function M.load(path, opts)
  options.argument("load", "path", path, "path")
  local checkpoints = require "wane.convert.view"
  if checkpoints.is(path) then return checkpoints.load(path, function(made) return M.load(made, opts) end) end
  opts = check_load(opts)
  local g, msg, code = core.gguf.open(path)
  if not g then return nil, msg, code end
  local listed, adapters = pcall(adapters_of, opts)
  local ok, m = listed, adapters
  if listed then
    ok, m = pcall(load, g, opts, adapters)
    close_adapters(adapters)
  end
  if ok then return setmetatable(m, Model) end
  g:close()
  if type(m) ~= "table" then error(m, 0) end
  return nil, m.named and m.msg or path .. ": " .. m.msg, m.code
end

-- { tensor name, type, bytes } lists as blocks by name.
local function blocks_of(g, list)
  local replace = {}
  for _, s in ipairs(list) do
    if not g:find_tensor(s[1]) then options.misuse(("model:variant: the model has no tensor '%s'"):format(s[1])) end
  end
  for _, s in ipairs(list) do
    if not replace[s[1]] then -- the first of a name counts
      local t = g:tensor(g:find_tensor(s[1]))
      local blocks, msg, code = core.quant.blocks(s[2], s[3], t.n_rows, t.shape[1])
      if not blocks then
        for _, other in pairs(replace) do other:close() end
        return nil, msg, code
      end
      replace[s[1]] = blocks
    end
  end
  return replace
end

local stand_in = options.type("{ tensor name, type, bytes }", function(s)
  return type(s) == "table" and type(s[1]) == "string" and type(s[2]) == "string" and type(s[3]) == "string"
end)

--- The same model with other data for some tensors: a list of { tensor name,
--- type, bytes }. Shares the file, the program and the tokenizer, so it is
--- cheap; each of them may be closed first.
---
---     local q = assert(f:tensor("blk.0.attn_q.weight"))
---     local same = assert(model:variant { { q.name, q.type, q:raw() } })
---     same:close()
---@param stand_ins table[]
---@return wane.Model|nil model
---@return string|nil message
---@return string|nil code
function Model:variant(stand_ins)
  options.argument("model:variant", "stand_ins", stand_ins, options.list(stand_in))
  if self.closed then options.misuse "model is closed" end
  local o = self.opts
  local replace, msg, code = blocks_of(self.gguf, stand_ins)
  if not replace then return nil, msg, code end
  local handle
  handle, msg, code = core.model.load(self.gguf, self.prog,
    { map = o.map ~= false, n_ctx = self.hp.context_length, replace = replace }, self.vocab and self.vocab.handle)
  for _, blocks in pairs(replace) do blocks:close() end -- the model has its own copies
  if not handle then return nil, msg, code end
  self.users.n = self.users.n + 1
  return setmetatable({ handle = handle, gguf = self.gguf, prog = self.prog, hp = self.hp, opts = o,
    unused = self.unused, vocab = self.vocab, users = self.users, replaced = true }, Model)
end

--- Facts: what the file is, what it takes, whether it is mapped.
---
---     print(model:info().architecture)   --> llama
---@return table
---@error after model:close
function Model:info()
  local info = self.handle:info()
  info.architecture = self.hp.architecture
  info.unused = self.unused
  info.path = self.gguf:info().path
  return report.facts("model", info)
end

--- The program as text, one line an operation.
---
---     print(model:program())
---@error after model:close
function Model:program()
  return table.concat(self.prog:lines(), "\n")
end

-- Options of the Lua face as the core names them.
local function core_options(model, opts)
  local d = model.opts
  local kv = opts.kv or d.kv or "f16"
  if type(kv) == "string" then kv = { k = kv, v = kv } end
  return {
    n_ctx = opts.context or d.context, n_batch = opts.batch or d.batch, n_seq = opts.sequences,
    n_out = opts.outputs, threads = opts.threads or d.threads, type_k = kv.k, type_v = kv.v,
    max_bytes = opts.max_bytes, marks = opts.marks, activations = opts.activations or d.activations,
  }
end

--- A context: the state of one or more sequences.
---
---     local ctx = assert(model:context { context = 128, kv = "q8_0" })
---     ctx:close()
---@param opts table|nil context (tokens), sequences, batch (tokens a step),
--- outputs (wanted rows a step), threads, kv ("f16", "f32", ... or { k =, v = }), max_bytes,
--- marks (2: positions of a sequence that truncating can return to, where
--- layers keep windows or recurrent states), activations (for judging, slowly: "float"
--- multiplies quantized matrices with float32 values instead of 8-bit blocks; "int8"
--- and "fp8" round what meets a matrix first, with one scale a token, as W8A8 does)
---@return wane.Context|nil, string|nil, string|nil
function Model:context(opts)
  opts = check_context(opts)
  local handle, msg, code = self.handle:context(core_options(self, opts))
  if not handle then return nil, msg, code end
  if self.lora then handle:gains(self.lora) end
  local info = handle:info()
  return setmetatable({
    handle = handle, model = self, n_batch = info.n_batch, n_out = info.n_out,
    n_vocab = self.handle:info().n_vocab,
  }, Context)
end

--- What such a context would take: { cache, buffers } in bytes.
---
---     print(model:estimate({ context = 256 }).cache)
---@param opts? table   as for model:context
---@error after model:close
function Model:estimate(opts)
  opts = check_estimate(opts)
  return self.handle:estimate(core_options(self, opts))
end

--- Generates text piece by piece: wane.generate.stream.
---
---     for piece in model:generate("Once", { max_tokens = 4, seed = 1 }) do io.write(piece) end
---@param prompt string|integer[]   text, or token ids
---@param opts? table   as for wane.generate.stream
---@error as wane.generate.stream: what the world does wrong too, an iterator has no other way; after model:close
function Model:generate(prompt, opts) return require("wane.generate").stream(self, prompt, opts) end

--- Generates text in the background: wane.generate.start.
---
---     local job = assert(model:start("Once", { max_tokens = 4 }))
---     repeat local text, running = job:poll() until not running
---     job:close()
---@param prompt string|integer[]   text, or token ids
---@param opts? table   as for wane.generate.start
---@error after model:close
function Model:start(prompt, opts) return require("wane.generate").start(self, prompt, opts) end

--- A conversation: wane.chat.
---
---     local chat = model:chat { max_tokens = 4, system = "Be brief." }
---     print(chat:ask "Hello")
---     chat:close()
---@param opts? table   as for wane.chat.new
---@error as wane.chat.new; after model:close
function Model:chat(opts) return require("wane.chat").new(self, opts) end

--- Embeddings of texts: wane.embed.
---
---     local v = assert(model:embed("the sea", { pooling = "mean" }))
---     print(#v)   --> 256
---@param texts string|integer[]|(string|integer[])[]
---@param opts? wane.EmbedOptions
---@return userdata|userdata[]|nil, string?, string?
function Model:embed(texts, opts) return require("wane.embed").embed(self, texts, opts) end

--- Scores of documents for a query, by a model made for ranking: wane.embed.
---
---     local scores = assert(model:rank("owls", { "Owls hunt at night.", "The bank opens at nine." }))
---     print(scores.order[1])
---@param query string
---@param documents string[]
---@param opts? { threads?: integer }
---@return table|nil, string?, string?
function Model:rank(query, documents, opts) return require("wane.embed").rank(self, query, documents, opts) end

-- What wane.embed runs: { handle, width, causal, head = {} }. A model that
-- makes logits gets a second program over the same file, which ends before
-- the output matrix. Raises { code, msg }.
function Model:_runner()
  if self.runner then return self.runner end
  local handle, prog = self.handle, nil
  if handle:info().result ~= "embeddings" then
    if self.replaced then hparams.fail("EUNSUP", "embeddings of a model with replaced tensors are not supported") end
    prog = graph.build(self.gguf, arch.find(self.hp.architecture), self.hp, true)
    local o = self.opts
    local made, msg, code = core.model.load(self.gguf, prog,
      { map = o.map ~= false, max_bytes = o.max_bytes, n_ctx = self.hp.context_length }, self.vocab and self.vocab.handle)
    if not made then error({ code = code, msg = msg }, 0) end
    handle = made
  end
  local info = handle:info()
  self.runner = { handle = handle, prog = prog, width = info.n_vocab, causal = info.causal, head = {} }
  return self.runner
end

-- Closes what _runner and wane.embed made.
local function close_runner(self)
  local r = self.runner
  if not r then return end
  self.runner = nil
  if r.kept then r.kept.handle:close() end
  if r.prog then
    r.handle:close()
    r.prog:close()
  end
end

--- The value of a metadata key of the file, or nil.
---
---     print(model:meta "general.architecture")   --> llama
---@param key string
---@error after model:close
function Model:meta(key)
  local i = self.gguf:find_kv(key)
  return i and (select(3, self.gguf:kv(i)))
end

--- Closes the model; contexts made from it keep working.
---
---     wane.load(path):close()
---@error none; closing twice is fine, contexts keep what they need
function Model:close()
  if self.closed then return true end
  self.closed = true
  close_runner(self)
  self.handle:close()
  self.users.n = self.users.n - 1
  if self.users.n > 0 then return true end
  self.prog:close()
  self.gguf:close()
  if self.view then self.view:close() end -- the file of a checkpoint's directory
  return true
end
Model.__close = Model.close

--- "wane.Model (demo-f16.gguf, llama, 75 tensors)"
function Model:__tostring()
  if self.closed then return "wane.Model (closed)" end
  local info = self.gguf:info()
  return ("wane.Model (%s, %s, %d tensors)"):format(info.path, self.hp.architecture, info.n_tensors)
end

-- Calls step on slices of at most n tokens; each(first, last) after each.
local function slices(tokens, n, step)
  for first = 1, #tokens, n do
    local last = math.min(first + n - 1, #tokens)
    local part = {}
    for i = first, last do part[#part + 1] = tokens[i] end
    local ok, msg, code = step(part, last == #tokens)
    if not ok then return nil, msg, code end
  end
  return true
end

--- Appends tokens to a sequence and returns logits: of the token after the
--- last one, or, with `all = true`, one row after each token. Long inputs are
--- cut into batches; the result does not depend on how.
---
---     local logits = assert(ctx:eval(ids))
---     print(#logits, ctx:n_past() == #ids)   --> 2048  true
---@param tokens integer[] ids, from 0
---@param opts table|nil all, seq (from 1)
---@return userdata|nil logits float32 buffer, one row of vocabulary size each
---@return string|nil message
---@return string|nil code
function Context:eval(tokens, opts)
  opts = check_eval(opts)
  if #tokens == 0 then error("ctx:eval: no tokens", 2) end
  local h, out, row = self.handle, nil, 1
  if opts.all then out = core.quant.buffer(#tokens, self.n_vocab) end
  local n = opts.all and math.min(self.n_batch, self.n_out) or self.n_batch
  local ok, msg, code = slices(tokens, n, function(part, is_last)
    local want = opts.all and "all" or is_last and "last" or "none"
    local done, m, c = h:step(part, { seq = opts.seq, want = want })
    if done and out then row = row + h:logits_into(out, row) end
    return done, m, c
  end)
  if not ok then return nil, msg, code end
  return out or h:logits(1)
end

--- Embeddings of a text, by models that make them: the sequence is read anew.
--- (For texts, several at once, and models that make logits: model:embed.)
---
---     local rows = assert(ctx:embed(ids, "none"))   -- of a model that makes embeddings
---@param tokens integer[]
---@param pooling? string "none" (a row for each token), "mean", "first", "last"; default is what the file says
---@return userdata|nil rows
---@return string? message
---@return string? code
function Context:embed(tokens, pooling)
  local h, m = self.handle, self.model
  if m.handle:info().result ~= "embeddings" then
    error("wane: ctx:embed: this model makes logits: use model:embed, or load it with embeddings = true", 2)
  end
  if #tokens == 0 then error("wane: ctx:embed: no tokens", 2) end
  h:truncate(0)
  local out, row = core.quant.buffer(#tokens, self.n_vocab), 1
  local ok, msg, code = slices(tokens, m.handle:info().causal and self.n_batch or #tokens, function(part)
    local done, why, kind = h:step(part, { want = "all" })
    if done then row = row + h:logits_into(out, row) end
    return done, why, kind
  end)
  if not ok then return nil, msg, code end
  if pooling == nil then pooling = m.hp.pooling end
  if pooling == "none" then return out end
  if pooling == "mean" then return core.vector.mean(out, 1, #tokens) end
  if pooling == "last" then return out:rows(#tokens):copy() end
  if pooling == "first" or pooling == "cls" then return out:rows(1):copy() end
  error(("wane: ctx:embed: pooling is %s, want \"none\", \"mean\", \"first\" or \"last\""):format(tostring(pooling)), 2)
end

--- Many generations in the steps of this context: wane.batch.
---
---     local batch = ctx:batch()
---@return wane.Batch
---@error none; a closed context raises when the batch works
function Context:batch() return require("wane.batch").of(self) end

--- Saves what the context, or one sequence of it, holds: to a file (durable:
--- complete or not there), or, without a path, as a string. Exact to the bit.
---
---     assert(ctx:save("story.state", { overwrite = true }))
---     local bytes = assert(ctx:save(nil, { seq = 2 }))
---@param path? string
---@param opts? table   seq (one sequence; default: all that hold something), overwrite (an existing file)
---@return true|string|nil
---@return string? message
---@return string? code
function Context:save(path, opts)
  if path ~= nil and (type(path) ~= "string" or path == "") then error("wane: ctx:save: path: want a string or nil", 2) end
  return self.handle:save(path, opts)
end

--- Puts back what was saved: the whole context (sequences that were empty become
--- empty), or, with `seq`, the one saved sequence into that one. A state of
--- another model, another cache type or a damaged one is refused, and nothing
--- has changed then.
---
---     assert(ctx:load "story.state")
---@param from string   a path, or the bytes that ctx:save returned
---@param opts? table   seq
---@return true|nil
---@return string? message
---@return string? code
function Context:load(from, opts)
  if type(from) ~= "string" then error("wane: ctx:load: want a path or saved bytes", 2) end
  return self.handle:load(from, opts)
end

-- The plain operations of the core context.
for _, name in ipairs { "step", "logits", "n_past", "held", "truncate", "copy" } do
  Context[name] = function(self, ...) return self.handle[name](self.handle, ...) end
end

--- Facts: what it holds, in which types, what it takes.
---
---     print(ctx:info().n_ctx)
---@return table
---@error after ctx:close
function Context:info() return report.facts("context", self.handle:info()) end

function Context:close() return self.handle:close() end
Context.__close = Context.close

--- "wane.Context (512 tokens, 12 used)"
function Context:__tostring()
  local ok, info = pcall(self.handle.info, self.handle)
  if not ok then return "wane.Context (closed)" end
  return ("wane.Context (%d tokens, %d used)"):format(info.n_ctx, self.handle:n_past())
end

return M
