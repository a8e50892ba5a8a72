--- Sampling stages beside llama.cpp's: the same logits in, the same candidates,
--- probabilities and draws out.
if not (jit and os.getenv "WANE_PEER") then return end
local core = require "wane.core"
local peer = require "spec.support.peer"
local ffi = require "ffi"
local unpack = unpack or table.unpack -- luacheck: ignore
local wane = require "wane"

ffi.cdef [[
typedef struct { int32_t id; float logit, p; } peer_token;
typedef struct { peer_token *data; size_t size; int64_t selected; bool sorted; } peer_tokens;
typedef struct { int32_t token; float bias; } peer_bias;
void llama_sampler_apply(void *, peer_tokens *);
void llama_sampler_accept(void *, int32_t);
void llama_sampler_free(void *);
void *llama_sampler_init_dist(uint32_t seed);
void *llama_sampler_init_top_k(int32_t k);
void *llama_sampler_init_top_p(float p, size_t min_keep);
void *llama_sampler_init_min_p(float p, size_t min_keep);
void *llama_sampler_init_typical(float p, size_t min_keep);
void *llama_sampler_init_temp_ext(float t, float delta, float exponent);
void *llama_sampler_init_xtc(float p, float t, size_t min_keep, uint32_t seed);
void *llama_sampler_init_top_n_sigma(float n);
void *llama_sampler_init_mirostat(int32_t n_vocab, uint32_t seed, float tau, float eta, int32_t m);
void *llama_sampler_init_mirostat_v2(uint32_t seed, float tau, float eta);
void *llama_sampler_init_penalties(int32_t n_vocab, int32_t last_n, float repeat_, float freq, float present);
void *llama_sampler_init_dry(void *vocab, float mult, float base, int32_t allowed, int32_t last_n, const char **breakers, size_t n);
void *llama_sampler_init_adaptive_p(float target, float decay, uint32_t seed);
void *llama_sampler_init_logit_bias(int32_t n_vocab, int32_t n, const peer_bias *);
void *llama_sampler_init_infill(void *vocab);
]]

local VOCAB = "../shared/conformance/tokenizers/gpt-2.gguf"

-- The peer's stage for a name of ours.
local make = {
  penalties = function(l, o)
    return l.llama_sampler_init_penalties(o.n_vocab, o.repeat_last_n, o.repeat_penalty, o.frequency_penalty,
      o.presence_penalty)
  end,
  dry = function(l, o, vocab)
    local list = ffi.new("const char *[?]", #o.dry_breakers)
    for i, s in ipairs(o.dry_breakers) do list[i - 1] = s end
    return l.llama_sampler_init_dry(vocab, o.dry_multiplier, o.dry_base, o.dry_allowed_length, o.dry_last_n, list,
      #o.dry_breakers)
  end,
  top_n_sigma = function(l, o) return l.llama_sampler_init_top_n_sigma(o.top_n_sigma) end,
  top_k = function(l, o) return l.llama_sampler_init_top_k(o.top_k) end,
  typical = function(l, o) return l.llama_sampler_init_typical(o.typical_p, o.min_keep) end,
  top_p = function(l, o) return l.llama_sampler_init_top_p(o.top_p, o.min_keep) end,
  min_p = function(l, o) return l.llama_sampler_init_min_p(o.min_p, o.min_keep) end,
  xtc = function(l, o) return l.llama_sampler_init_xtc(o.xtc_probability, o.xtc_threshold, o.min_keep, o.seed) end,
  temperature = function(l, o) return l.llama_sampler_init_temp_ext(o.temperature, o.dynatemp_range, o.dynatemp_exponent) end,
  infill = function(l, _, vocab) return l.llama_sampler_init_infill(vocab) end,
  adaptive_p = function(l, o) return l.llama_sampler_init_adaptive_p(o.adaptive_target, o.adaptive_decay, o.seed) end,
  mirostat = function(l, o) return l.llama_sampler_init_mirostat(o.n_vocab, o.seed, o.mirostat_tau, o.mirostat_eta, 100) end,
  mirostat_v2 = function(l, o) return l.llama_sampler_init_mirostat_v2(o.seed, o.mirostat_tau, o.mirostat_eta) end,
}

local PLAIN = {
  temperature = 1, dynatemp_range = 0, dynatemp_exponent = 1, top_k = 0, top_p = 1, min_p = 0, typical_p = 1,
  top_n_sigma = -1, xtc_probability = 0, xtc_threshold = 0.1, adaptive_target = -1, adaptive_decay = 0.9,
  mirostat_tau = 5, mirostat_eta = 0.1, repeat_penalty = 1, frequency_penalty = 0, presence_penalty = 0,
  repeat_last_n = 64, dry_multiplier = 0, dry_base = 1.75, dry_allowed_length = 2, dry_last_n = 256, min_keep = 0,
  seed = 7,
}

local function options(given)
  local o = {}
  for k, v in pairs(PLAIN) do o[k] = v end
  for k, v in pairs(given) do o[k] = v end
  o.history, o.spread, o.random = nil, nil, nil -- the spec's own
  return o
end

local x = 12345
local function random(n) -- 0 .. n - 1
  x = x * 16807 % 2147483647
  return x % n
end

--- n logits, all different, about normal with deviation `spread`.
local function logits(n, spread)
  local v, seen = ffi.new("float[?]", n), {}
  for i = 0, n - 1 do
    repeat
      local s = 0
      for _ = 1, 6 do s = s + random(1000003) / 1000003 - 0.5 end
      v[i] = s * spread * 1.4
    until not seen[v[i]]
    seen[v[i]] = true
  end
  return core.quant.buffer(1, n, ffi.string(v, n * 4))
end

describe("sampling stages beside llama.cpp", function()
  local llama, model, vocab, ours

  setup(function()
    llama = peer.open()
    local f = io.open(VOCAB)
    if not f then return end
    f:close()
    local p = llama.llama_model_default_params()
    peer.set_bool(p, 72, true)
    model = llama.llama_model_load_from_file(VOCAB, p)
    assert(model ~= nil)
    vocab = llama.llama_model_get_vocab(model)
    ours = assert(wane.vocab.open(VOCAB))
  end)
  teardown(function()
    if model then llama.llama_model_free(model) end
    if ours then ours:close() end
  end)

  -- The peer's candidates after stages, as { [id] = p }, and what it selected.
  local function theirs(chain, b)
    local n = #b
    local data = ffi.new("peer_token[?]", n)
    for i = 0, n - 1 do
      data[i].id, data[i].logit = i, b[i + 1]
    end
    local t = ffi.new("peer_tokens", { data, n, -1, false })
    for _, s in ipairs(chain) do llama.llama_sampler_apply(s, t) end
    local list, max, sum = {}, -math.huge, 0
    for i = 0, tonumber(t.size) - 1 do max = math.max(max, t.data[i].logit) end
    for i = 0, tonumber(t.size) - 1 do sum = sum + math.exp(t.data[i].logit - max) end
    for i = 0, tonumber(t.size) - 1 do
      local p = math.exp(t.data[i].logit - max) / sum
      if p > 0 then list[t.data[i].id] = p end
    end
    return list, t.selected >= 0 and t.data[t.selected].id or nil
  end

  local function mine(s)
    local c, list, max, sum = s:candidates(), {}, -math.huge, 0
    for i = 1, #c do max = math.max(max, c[i]) end
    for i = 1, #c do sum = sum + math.exp(c[i] - max) end
    for i = 1, #c do
      local p = math.exp(c[i] - max) / sum
      if p > 0 then list[c:id(i)] = p end
    end
    return list
  end

  local function same(a, b, what)
    local n, m = 0, 0
    for id, p in pairs(a) do
      n = n + 1
      if not b[id] then error(("%s: only wane has %d (p %g)"):format(what, id, p)) end
      if math.abs(p - b[id]) > 1e-5 * math.max(p, 1e-3) then
        error(("%s: token %d: %.9g here, %.9g there"):format(what, id, p, b[id]))
      end
    end
    for id, p in pairs(b) do
      m = m + 1
      if not a[id] then error(("%s: only the peer has %d (p %g)"):format(what, id, p)) end
    end
    assert(n == m and n > 0)
  end

  --- Runs a chain `steps` times on both sides; the draw of each is compared.
  local function compare(names, given, n, steps, what)
    local o = options(given)
    o.n_vocab, o.stages = n, names
    local needs_vocab = false
    for _, name in ipairs(names) do needs_vocab = needs_vocab or name == "infill" or name == "dry" end
    o.dry_breakers = o.dry_breakers or {}
    if needs_vocab and ours then o.vocab = ours.handle end
    local a, b = assert(core.sample.new(o)), assert(core.sample.new(o))
    local chain, draws = {}, true
    for i, name in ipairs(names) do
      chain[i] = make[name](llama, o, vocab)
      if name == "mirostat" or name == "mirostat_v2" or name == "adaptive_p" then draws = false end
    end
    if draws then chain[#chain + 1] = llama.llama_sampler_init_dist(o.seed) end
    for _, id in ipairs(given.history or {}) do
      a:accept(id)
      b:accept(id)
      for _, s in ipairs(chain) do llama.llama_sampler_accept(s, id) end
    end
    for step = 1, steps do
      local l = logits(n, given.spread or 3)
      local list, selected = theirs(chain, l)
      if draws and not given.random then
        assert(a:apply(l))
        same(mine(a), list, what .. " step " .. step)
      end
      local id = assert(b:pick(l))
      same(mine(b), list, what .. " drawn, step " .. step)
      assert(id == selected, ("%s step %d: drew %d, the peer %d"):format(what, step, id, tonumber(selected)))
      assert(b:take(id))
      for _, s in ipairs(chain) do llama.llama_sampler_accept(s, id) end
      if draws then a:accept(id) end
    end
    for _, s in ipairs(chain) do llama.llama_sampler_free(s) end
    a:close()
    b:close()
  end

  local SIZES = { 8, 100, 1000, 32000, 152000 }

  local CASES = {
    { "nothing but a draw", {}, {} },
    { "temperature", { "temperature" }, { temperature = 0.7 } },
    { "temperature 0", { "temperature" }, { temperature = 0 } },
    { "dynamic temperature", { "temperature" }, { temperature = 1.2, dynatemp_range = 0.6, dynatemp_exponent = 1.3 } },
    { "top_k", { "top_k" }, { top_k = 40 } },
    { "top_k of all", { "top_k" }, { top_k = 200000 } },
    { "top_p", { "top_p" }, { top_p = 0.9 } },
    { "top_p of much", { "top_p" }, { top_p = 0.995, spread = 1 } },
    { "top_p and min_keep", { "top_p" }, { top_p = 0.1, min_keep = 5 } },
    { "min_p", { "min_p" }, { min_p = 0.05 } },
    { "min_p and min_keep", { "min_p" }, { min_p = 0.9, min_keep = 7 } },
    { "typical", { "typical" }, { typical_p = 0.6 } },
    { "typical and min_keep", { "typical" }, { typical_p = 0.1, min_keep = 4 } },
    { "top_n_sigma", { "top_n_sigma" }, { top_n_sigma = 1.3 } },
    { "xtc", { "xtc" }, { xtc_probability = 1, xtc_threshold = 0.05, spread = 5 } },
    { "xtc now and then", { "xtc" }, { xtc_probability = 0.5, xtc_threshold = 0.02, spread = 5, random = true } },
    { "mirostat", { "temperature", "mirostat" }, { temperature = 0.9, mirostat_tau = 3, mirostat_eta = 0.2 } },
    { "mirostat 2", { "temperature", "mirostat_v2" }, { temperature = 0.9, mirostat_tau = 3, mirostat_eta = 0.2 } },
    { "adaptive_p", { "min_p", "adaptive_p" }, { min_p = 0.01, adaptive_target = 0.4 } },
    { "adaptive_p, plain", { "top_k", "adaptive_p" }, { top_k = 50, adaptive_target = -1 } },
    { "penalties", { "penalties" }, { repeat_penalty = 1.3, frequency_penalty = 0.2, presence_penalty = 0.4, repeat_last_n = 5 } },
    { "penalties after top_k", { "top_k", "penalties" }, { top_k = 20, repeat_penalty = 1.3, presence_penalty = 0.4, repeat_last_n = 20 } },
    { "the usual chain", { "penalties", "dry", "top_n_sigma", "top_k", "typical", "top_p", "min_p", "xtc", "temperature" },
      { temperature = 0.8, top_k = 40, top_p = 0.95, min_p = 0.05 } },
    { "all at once", { "penalties", "top_k", "typical", "top_p", "min_p", "xtc", "temperature" },
      { temperature = 0.8, top_k = 60, top_p = 0.95, min_p = 0.02, typical_p = 0.9, repeat_penalty = 1.1,
        xtc_probability = 1, xtc_threshold = 0.1, spread = 4 } },
    { "top_n_sigma and what follows", { "top_n_sigma", "top_k", "top_p", "min_p", "temperature" },
      { top_n_sigma = 2, top_k = 60, top_p = 0.95, min_p = 0.02, temperature = 1.3 } },
    { "another order", { "temperature", "min_p", "typical", "top_p", "top_k", "penalties" },
      { temperature = 1.5, top_k = 30, top_p = 0.9, min_p = 0.01, typical_p = 0.9, repeat_penalty = 1.2 } },
  }

  for _, c in ipairs(CASES) do
    it(c[1] .. ", over 8 to 152,000 tokens", function()
      for _, n in ipairs(SIZES) do
        local given = {}
        for k, v in pairs(c[3]) do given[k] = v end
        given.history = { 1, 2, 3, 1, 2, 7, 5, 1 }
        compare(c[2], given, n, n > 10000 and 1 or 12, ("%s, %d tokens"):format(c[1], n))
      end
    end)
  end

  it("biases", function()
    for _, n in ipairs(SIZES) do
      local l, s = logits(n, 3), core.sample.new { n_vocab = n, stages = { "top_k" }, top_k = 20 }
      local b = ffi.new("peer_bias[3]", { { 3, 2.5 }, { 0, -math.huge }, { 7, 9 } })
      for i = 0, 2 do s:bias(b[i].token, b[i].bias) end
      local chain = { llama.llama_sampler_init_logit_bias(n, 3, b), llama.llama_sampler_init_top_k(20) }
      local list = theirs(chain, l)
      assert(s:apply(l))
      same(mine(s), list, "bias")
      for _, p in ipairs(chain) do llama.llama_sampler_free(p) end
      s:close()
    end
  end)

  it("repetitions (dry), with sequence breakers", function()
    if not model then return pending "skipped: no ../shared/conformance" end
    local n = llama.llama_vocab_n_tokens(vocab)
    local text = "the cat sat on the mat. the cat sat on\nthe cat sat on the mat. the cat sat"
    local words = ours:encode(text)
    for _, breakers in ipairs { {}, { "\n", ":", "\"", "*" }, { "mat. the" }, { " on\nthe" } } do
      for _, cut in ipairs { #words, #words - 1, #words - 3, 7 } do
        local history = {}
        for i = 1, cut do history[i] = words[i] end
        for i = 1, 40 do history[#history + 1] = words[1 + (i * 7) % 3] end
        for _, h in ipairs { history, { unpack(words, 1, cut) } } do
          compare({ "dry" }, { dry_multiplier = 0.8, dry_last_n = 64, dry_breakers = breakers, history = h }, n, 2,
            "dry with " .. #breakers .. " breakers")
        end
      end
    end
    for seed = 1, 20 do -- few letters: much is repeated
      local h = {}
      x = seed * 7919
      for i = 1, 100 do h[i] = words[1 + random(4)] end
      compare({ "dry" }, { dry_multiplier = 0.5, dry_base = 1.4, dry_allowed_length = random(4), dry_last_n = 90,
        dry_breakers = { "at" }, history = h }, n, 1, "dry, random " .. seed)
    end
  end)

  it("infill", function()
    if not model then return pending "skipped: no ../shared/conformance" end
    local n = llama.llama_vocab_n_tokens(vocab)
    for _, spread in ipairs { 1, 3, 6 } do
      compare({ "top_k", "infill" }, { top_k = 40, spread = spread }, n, 8, "infill")
    end
  end)
end)
