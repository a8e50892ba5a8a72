--- llama.cpp v0.5.0 as a shared library, through LuaJIT's ffi: the yardstick of
--- spec/peer and bench. Declared in our own words, only what is used; structs
--- that it passes by value are opaque bytes with the offsets of its defaults
--- checked when the library is loaded.
local ffi = require "ffi"

local M = {}

local dir = os.getenv "WANE_PEER" or "build/peer/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"
M.dir = dir

ffi.cdef [[
typedef struct { uint8_t b[80]; } peer_model_params;
typedef struct { uint8_t b[160]; } peer_ctx_params;
typedef struct { uint8_t b[64]; } peer_quant_params;
typedef struct { int32_t n; int32_t *token; float *embd; int32_t *pos; int32_t *n_seq; int32_t **seq; int8_t *want; } peer_batch;
void ggml_backend_load_all_from_path(const char *);
void *ggml_backend_load(const char *);
size_t ggml_quantize_chunk(int type, const float *src, void *dst, int64_t start, int64_t rows, int64_t cols, const float *imatrix);
void llama_backend_init(void);
void llama_log_set(void *cb, void *data);
peer_model_params llama_model_default_params(void);
peer_ctx_params llama_context_default_params(void);
peer_quant_params llama_model_quantize_default_params(void);
uint32_t llama_model_quantize(const char *from, const char *to, const peer_quant_params *);
void *llama_model_load_from_file(const char *, peer_model_params);
void llama_model_free(void *);
void *llama_init_from_model(void *, peer_ctx_params);
void llama_free(void *);
void *llama_model_get_vocab(void *);
int32_t llama_vocab_n_tokens(void *);
int32_t llama_vocab_bos(void *);
int32_t llama_tokenize(void *, const char *, int32_t, int32_t *, int32_t, bool, bool);
int32_t llama_token_to_piece(void *, int32_t, char *, int32_t, int32_t, bool);
peer_batch llama_batch_init(int32_t, int32_t, int32_t);
void llama_batch_free(peer_batch);
int32_t llama_decode(void *, peer_batch);
float *llama_get_logits(void *);
float *llama_get_logits_ith(void *, int32_t);
void *llama_get_memory(void *);
void llama_memory_clear(void *, bool);
bool llama_memory_seq_rm(void *, int32_t, int32_t, int32_t);
typedef struct { uint8_t b[640]; } peer_pool_params;
void ggml_threadpool_params_init(peer_pool_params *, int);
void *ggml_threadpool_new(peer_pool_params *);
void ggml_threadpool_pause(void *);
void ggml_threadpool_free(void *);
void llama_attach_threadpool(void *, void *, void *);
int abs(int);
]]

local base = ffi.load(dir .. "/libggml-base.so")
M.base = base

local ggml, llama
--- Loads the inference side. `cpu` names one CPU library ("haswell",
--- "zen4", "x64"...); nil lets llama.cpp choose the best for this machine.
function M.open(cpu)
  if llama then return llama end
  ggml = ffi.load(dir .. "/libggml.v0.5.0.so")
  llama = ffi.load(dir .. "/libllama.v0.5.0.so")
  -- its log goes to a C function that does nothing with its arguments
  if not os.getenv "WANE_PEER_LOG" then llama.llama_log_set(ffi.cast("void *", ffi.C.abs), nil) end
  if cpu then
    assert(ggml.ggml_backend_load(dir .. "/libggml-cpu-" .. cpu .. ".so") ~= nil, "no such CPU library: " .. cpu)
  else
    ggml.ggml_backend_load_all_from_path(dir)
  end
  llama.llama_backend_init()
  local c = llama.llama_context_default_params()
  assert(M.u32(c, 8) == 2048 or M.u32(c, 8) == 512, "the peer's context parameters moved")
  assert(M.u32(c, 24) == 1, "the peer's context parameters moved (n_outputs_max_per_seq)")
  return llama
end

--- Fields of an opaque struct by offset.
local function at(s, off, ctype) return ffi.cast(ctype .. " *", ffi.cast("uint8_t *", s) + off) end
function M.u32(s, off) return tonumber(at(s, off, "uint32_t")[0]) end
function M.set_i32(s, off, v) at(s, off, "int32_t")[0] = v end
function M.set_bool(s, off, v) at(s, off, "uint8_t")[0] = v and 1 or 0 end
function M.set_ptr(s, off, p) at(s, off, "const void *")[0] = p end

--- Bytes of `rows` x `cols` floats (cdata) in ggml type `id`.
function M.quantize_chunk(id, src, rows, cols, imatrix, n_bytes)
  local dst = ffi.new("uint8_t[?]", n_bytes)
  local n = base.ggml_quantize_chunk(id, src, dst, 0, rows, cols, imatrix)
  assert(tonumber(n) == n_bytes, "the peer wrote another number of bytes")
  return ffi.string(dst, n_bytes)
end

--- Quantizes a whole file. opts: threads, ftype (number), imatrix (a cdata
--- array { name, data, size }, ended by a null name), pure, ...
function M.quantize_file(from, to, ftype, opts)
  M.open()
  opts = opts or {}
  local p = ffi.new("peer_quant_params[1]")
  p[0] = llama.llama_model_quantize_default_params()
  M.set_i32(p, 0, opts.threads or 2)
  M.set_i32(p, 4, ftype)
  if opts.imatrix then M.set_ptr(p, 24, opts.imatrix) end
  if opts.pure then M.set_bool(p, 19, true) end
  return llama.llama_model_quantize(from, to, p)
end

--- Path of the CPU library that llama.cpp chose: the one in memory.
local function cpu_library()
  for line in io.lines "/proc/self/maps" do
    local path = line:match "(/%S*/libggml%-cpu%-[%w_]+%.so)$"
    if path then return path end
  end
  error "the peer has no CPU library loaded"
end

--- The name of that library: "zen4", "haswell", ...
function M.cpu_name() return cpu_library():match "libggml%-cpu%-([%w_]+)%.so$" end

--- A pool of n threads that lives as long as a context, as llama.cpp's own
--- programs use; without one the library starts threads for every step.
--- Returns functions that put its spinning threads to sleep until the next
--- step, and that end it.
local function make_pool(ctx, n)
  local cpu = ffi.load(cpu_library())
  local params = ffi.new "peer_pool_params"
  base.ggml_threadpool_params_init(params, n)
  local pool = cpu.ggml_threadpool_new(params)
  assert(pool ~= nil, "the peer cannot start threads")
  llama.llama_attach_threadpool(ctx, pool, pool)
  return function() cpu.ggml_threadpool_pause(pool) end, function() cpu.ggml_threadpool_free(pool) end
end

local Model = {}
Model.__index = Model

--- Loads a model and makes a context.
--- opts: context, threads, batch, cpu, kv ("f16" | "f32"), flash (bool),
--- pool (bool: keep threads between steps), sequences
function M.load(path, opts)
  opts = opts or {}
  M.open(opts.cpu)
  local mp = llama.llama_model_default_params()
  local model = llama.llama_model_load_from_file(path, mp)
  assert(model ~= nil, "the peer cannot load " .. path)
  local cp = llama.llama_context_default_params()
  local n_ctx = opts.context or 512
  M.set_i32(cp, 0, n_ctx)
  M.set_i32(cp, 4, opts.batch or n_ctx)
  M.set_i32(cp, 8, opts.ubatch or math.min(512, n_ctx))
  M.set_i32(cp, 24, n_ctx)
  M.set_i32(cp, 28, opts.threads or 2)
  M.set_i32(cp, 32, opts.threads or 2)
  if opts.sequences then
    M.set_i32(cp, 12, opts.sequences)
    M.set_bool(cp, 133, true) -- they share the context
  end
  if opts.flash ~= nil then M.set_i32(cp, 52, opts.flash and 1 or 0) end
  if opts.kv == "f32" then
    M.set_i32(cp, 104, 0)
    M.set_i32(cp, 108, 0)
  end
  local ctx = llama.llama_init_from_model(model, cp)
  assert(ctx ~= nil, "the peer cannot make a context")
  local vocab = llama.llama_model_get_vocab(model)
  local rest, free_pool
  if opts.pool then
    rest, free_pool = make_pool(ctx, opts.threads or 2)
  end
  return setmetatable({
    model = model,
    ctx = ctx,
    rest = rest,
    free_pool = free_pool,
    vocab = vocab,
    n_vocab = llama.llama_vocab_n_tokens(vocab),
    bos = llama.llama_vocab_bos(vocab),
    n_past = 0,
    batch = llama.llama_batch_init(math.max(n_ctx, 512), 0, 1),
  }, Model)
end

local Vocab = {}
Vocab.__index = Vocab

--- A model file's vocabulary alone: no weights, no context.
function M.vocab(path)
  M.open()
  local mp = llama.llama_model_default_params()
  M.set_bool(mp, 72, true) -- vocab_only
  local model = llama.llama_model_load_from_file(path, mp)
  assert(model ~= nil, "the peer cannot load " .. path)
  return setmetatable({ model = model, vocab = llama.llama_model_get_vocab(model) }, Vocab)
end

--- How many tokens a text has; special tokens are not parsed.
function Vocab:count(text)
  if not self.ids or self.cap < #text + 8 then
    self.cap = #text + 8
    self.ids = ffi.new("int32_t[?]", self.cap)
  end
  return llama.llama_tokenize(self.vocab, text, #text, self.ids, self.cap, false, false)
end

function Vocab:close() llama.llama_model_free(self.model) end

function Model:close()
  llama.llama_batch_free(self.batch)
  llama.llama_free(self.ctx)
  if self.free_pool then self.free_pool() end
  llama.llama_model_free(self.model)
end

--- Token ids (a Lua list) of a text.
function Model:tokenize(text, add_special, parse_special)
  local cap = #text + 8
  local ids = ffi.new("int32_t[?]", cap)
  local n = llama.llama_tokenize(self.vocab, text, #text, ids, cap, add_special or false, parse_special or false)
  assert(n >= 0, "the peer cannot tokenize this")
  local out = {}
  for i = 1, n do
    out[i] = ids[i - 1]
  end
  return out
end

function Model:clear()
  llama.llama_memory_clear(llama.llama_get_memory(self.ctx), true)
  self.n_past = 0
end

--- Evaluates tokens[a..b] after what is there; all = logits of each.
--- Returns the float pointer of the logits (rows of n_vocab).
function Model:eval(tokens, all, a, b)
  a, b = a or 1, b or #tokens
  local n = b - a + 1
  local batch = self.batch
  batch.n = n
  for i = 0, n - 1 do
    batch.token[i] = tokens[a + i]
    batch.pos[i] = self.n_past + i
    batch.n_seq[i] = 1
    batch.seq[i][0] = 0
    batch.want[i] = (all or i == n - 1) and 1 or 0
  end
  assert(llama.llama_decode(self.ctx, batch) == 0, "the peer's decode failed")
  self.n_past = self.n_past + n
  return llama.llama_get_logits(self.ctx)
end

--- Greedy continuation: n ids and the top-1 minus top-2 margin of each.
function Model:greedy(tokens, n)
  self:clear()
  local logits = self:eval(tokens)
  local ids, margins = {}, {}
  for i = 1, n do
    local best, first, second = 0, -math.huge, -math.huge
    for v = 0, self.n_vocab - 1 do
      local l = logits[v]
      if l > first then
        best, second, first = v, first, l
      elseif l > second then
        second = l
      end
    end
    ids[i], margins[i] = best, first - second
    if i < n then logits = self:eval { best } end
  end
  return ids, margins
end

--- Mean negative log-likelihood over the second halves of `chunks` chunks of
--- n_ctx tokens, the first token of each replaced by BOS: llama.cpp's
--- perplexity tool.
function Model:perplexity(ids, n_ctx, chunks)
  local nll, count = 0, 0
  chunks = math.min(chunks or math.huge, math.floor(#ids / n_ctx))
  local first = math.floor(n_ctx / 2)
  for c = 0, chunks - 1 do
    local t = {}
    for i = 1, n_ctx do
      t[i] = ids[c * n_ctx + i]
    end
    t[1] = self.bos
    self:clear()
    local logits = self:eval(t, true)
    for i = first, n_ctx - 2 do
      local row, max, sum = logits + i * self.n_vocab, -math.huge, 0
      for v = 0, self.n_vocab - 1 do
        if row[v] > max then max = row[v] end
      end
      for v = 0, self.n_vocab - 1 do
        sum = sum + math.exp(row[v] - max)
      end
      nll = nll - (row[t[i + 2]] - max - math.log(sum))
      count = count + 1
    end
  end
  return math.exp(nll / count), nll / count
end

return M
