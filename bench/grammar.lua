--- Time to find the tokens that a grammar allows, beside llama.cpp's grammar.
---
---   make bench ARGS="--mode grammar [--vocab FILE.gguf] [--tokens N] [--no-peer]"
---
--- Each schema is compiled here; llama.cpp gets the same grammar text. Texts are
--- chosen at random from what is allowed: four begin anew, none over 100 tokens, as
--- long texts of random tokens end in one string. Times are of this thread's
--- processor time, per token: the mask here, when nobody used the grammar before
--- and when another text is read under it; llama_sampler_apply there (on every
--- eighth token of the first round: it is slow).
local core = require "wane.core"
local ffi = require "ffi"
local peer = require "spec.support.peer"
local schema = require "wane.schema"
local wane = require "wane"

ffi.cdef [[
typedef struct { int32_t id; float logit, p; } bench_token;
typedef struct { bench_token *data; size_t size; int64_t selected; bool sorted; } bench_tokens;
void *llama_sampler_init_grammar(void *vocab, const char *text, const char *root);
void llama_sampler_apply(void *, bench_tokens *);
void llama_sampler_accept(void *, int32_t);
void llama_sampler_free(void *);
typedef struct { long s, ns; } bench_time;
int clock_gettime(int, bench_time *);
]]

local M = {}

local PACKED = "../shared/conformance/vocabularies/vocabs/qwen3.gguf.gz"

local SCHEMAS = {
  { "a record", [[{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},
    "email":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string","maxLength":20},"maxItems":5}},
    "required":["name","age","email"],"additionalProperties":false}]] },
  { "a tree", [[{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"label":{"type":"string"},
    "children":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["label","children"]}}}]] },
  { "any JSON object", [[{"type":"object","additionalProperties":true}]] },
  { "choices", [[{"type":"array","items":{"anyOf":[{"enum":["red","green","blue"]},{"type":"number","minimum":0,"maximum":1},
    {"type":"string","format":"date-time"}]},"minItems":3}]] },
}

local x = 7
local function random(n)
  x = x * 16807 % 2147483647
  return x % n
end

local time = ffi.new "bench_time"
local function now() -- microseconds of this thread
  ffi.C.clock_gettime(3, time)
  return tonumber(time.s) * 1e6 + tonumber(time.ns) / 1e3
end

local function summary(t)
  table.sort(t)
  if #t == 0 then return "-", "-" end
  return ("%.1f"):format(t[math.floor(#t / 2) + 1]), ("%.0f"):format(t[#t])
end

--- One call of llama.cpp's grammar; how many tokens it leaves.
local function theirs_now(llama, sampler, data, n, times)
  for k = 0, n - 1 do data[k].id, data[k].logit = k, 0 end
  local t = ffi.new("bench_tokens", { data, n, -1, false })
  local t0 = now()
  llama.llama_sampler_apply(sampler, t)
  times[#times + 1] = now() - t0
  local allowed = 0
  for k = 0, n - 1 do if data[k].logit == 0 then allowed = allowed + 1 end end
  return allowed
end

-- One of the tokens that may come. Lists of a whole vocabulary would be garbage
-- to collect, and that lands in the times: where many may come, it is the next
-- one from a random id on.
local function any(m, n, count)
  if count > 1000 then
    local id = random(n)
    while not m:allows(id) do id = (id + 1) % n end
    return id
  end
  local ids = m:ids()
  return ids[random(#ids) + 1]
end

-- Reads texts of `tokens` tokens in all; adds to the times.
local function read_texts(g, vocab, trie, tokens, mine, peer_of)
  local left, differ = tokens, 0
  while left > 0 do
    local m = assert(core.grammar.match(g, trie))
    local their = peer_of and peer_of()
    for i = 1, math.min(left, 100) do
      left = left - 1
      local t0 = now()
      local count = assert(m:count())
      mine[#mine + 1] = now() - t0
      if m:complete() then break end
      if their and i % 8 == 1 and their.count() ~= count then differ = differ + 1 end
      local id = any(m, #vocab.handle, count)
      if vocab.handle:is_eog(id) then break end
      assert(m:accept(id))
      if their then their.accept(id) end
    end
    if their then their.free() end
    m:close()
  end
  return differ
end

local function measure(text, vocab, trie, tokens, llama, their_vocab)
  local t0 = now()
  local grammar = assert(schema.compile(text))
  local g = assert(core.grammar.new(grammar))
  assert(core.grammar.match(g, trie)):close()
  local compile = now() - t0
  local n = #vocab.handle
  local data, first, again, other = ffi.new("bench_token[?]", n), {}, {}, {}
  local peer_of = llama and function()
    local s = llama.llama_sampler_init_grammar(their_vocab, grammar, "root")
    assert(s ~= nil, "llama.cpp does not take the grammar")
    return { count = function() return theirs_now(llama, s, data, n, other) end,
      accept = function(id) llama.llama_sampler_accept(s, id) end, free = function() llama.llama_sampler_free(s) end }
  end
  local differ = read_texts(g, vocab, trie, tokens, first, peer_of)
  read_texts(g, vocab, trie, tokens, again)
  g:close()
  return compile, first, again, other, differ
end

--- Measures all schemas. o: vocab, tokens (400), no-peer.
function M.run(o)
  local path = o.vocab or os.tmpname()
  if not o.vocab then assert(os.execute(("gzip -dc %s > %s"):format(PACKED, path)) == 0, "no vocabulary: give --vocab FILE.gguf") end
  local vocab = assert(wane.vocab.open(path))
  local trie = assert(core.grammar.tokens(vocab.handle))
  local llama, model, their_vocab = nil, nil, nil
  if not o["no-peer"] then
    llama = peer.open()
    local p = llama.llama_model_default_params()
    peer.set_bool(p, 72, true)
    model = llama.llama_model_load_from_file(path, p)
    assert(model ~= nil, "the peer cannot load the vocabulary")
    their_vocab = llama.llama_model_get_vocab(model)
  end
  local cpu = io.open "/proc/cpuinfo"
  local name = cpu and cpu:read("*a"):match "model name%s*:%s*([^\n]+)" or "?"
  if cpu then cpu:close() end
  print(("%d tokens; microseconds of processor time per token; %s"):format(#vocab.handle, name))
  print "| schema | compile ms | median | worst | median again | worst again | llama.cpp median | worst | tokens | differ |"
  print "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
  for _, s in ipairs(SCHEMAS) do
    local compile, first, again, other, differ = measure(s[2], vocab, trie, tonumber(o.tokens or 400), llama, their_vocab)
    local a, b = summary(first)
    local c, d = summary(again)
    local e, f = summary(other)
    print(("| %s | %.2f | %s | %s | %s | %s | %s | %s | %d | %d |"):format(s[1], compile / 1e3, a, b, c, d, e, f, #first, differ))
  end
  if llama then llama.llama_model_free(model) end
  trie:close()
  vocab:close()
  if not o.vocab then os.remove(path) end
end

return M
