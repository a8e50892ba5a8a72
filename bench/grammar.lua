--- Time to find the tokens that a grammar allows, beside llama.cpp's grammar.
---
---   make bench-grammar [ARGS="--vocab FILE.gguf --tokens N"]
---
--- Each schema is compiled here; llama.cpp gets the same grammar text. Texts are
--- chosen at random from what is allowed. Times are of this thread's processor
--- time, per token: the mask here, llama_sampler_apply there (on every fourth
--- token: it is slow).
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
]]

local args = { vocab = nil, tokens = 400 }
for i = 1, #arg, 2 do args[arg[i]:gsub("^%-%-", "")] = arg[i + 1] end
args.tokens = tonumber(args.tokens)

local VOCAB = args.vocab
if not VOCAB then
  VOCAB = os.tmpname()
  local packed = "../shared/conformance/vocabularies/vocabs/qwen3.gguf.gz"
  assert(os.execute(("gzip -dc %s > %s"):format(packed, VOCAB)) == 0, "no vocabulary: give --vocab FILE.gguf")
end

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

local function summary(t)
  table.sort(t)
  if #t == 0 then return "-", "-" end
  return ("%.1f"):format(t[math.floor(#t / 2) + 1] * 1e6), ("%.0f"):format(t[#t] * 1e6)
end

local function measure(text, vocab, tokens, llama, their_vocab)
  local grammar = assert(schema.compile(text))
  local t0 = os.clock()
  local g = assert(core.grammar.new(grammar))
  local m = assert(core.grammar.match(g, tokens))
  local compile = os.clock() - t0
  local n = #vocab.handle
  local theirs = llama.llama_sampler_init_grammar(their_vocab, grammar, "root")
  assert(theirs ~= nil, "llama.cpp does not take the grammar")
  local data = ffi.new("bench_token[?]", n)
  local mine, other, differ = {}, {}, 0
  for i = 1, args.tokens do
    t0 = os.clock()
    local count = assert(m:count())
    mine[#mine + 1] = os.clock() - t0
    if m:complete() then break end
    local ids = m:ids()
    if i % 4 == 1 then
      for k = 0, n - 1 do data[k].id, data[k].logit = k, 0 end
      local t = ffi.new("bench_tokens", { data, n, -1, false })
      t0 = os.clock()
      llama.llama_sampler_apply(theirs, t)
      other[#other + 1] = os.clock() - t0
      local allowed = 0
      for k = 0, n - 1 do if data[k].logit == 0 then allowed = allowed + 1 end end
      if allowed ~= count then differ = differ + 1 end
    end
    local id = ids[random(#ids) + 1]
    if vocab.handle:is_eog(id) then break end
    assert(m:accept(id))
    llama.llama_sampler_accept(theirs, id)
  end
  llama.llama_sampler_free(theirs)
  m:close()
  g:close()
  return compile, mine, other, differ
end

local vocab = assert(wane.vocab.open(VOCAB))
local tokens = assert(core.grammar.tokens(vocab.handle))
local llama = peer.open()
local p = llama.llama_model_default_params()
peer.set_bool(p, 72, true)
local model = llama.llama_model_load_from_file(VOCAB, p)
assert(model ~= nil, "the peer cannot load the vocabulary")
print(("%d tokens; microseconds of processor time per token"):format(#vocab.handle))
print(("%-18s %10s %10s %10s %12s %12s %8s"):format("schema", "compile ms", "median", "worst", "llama median", "llama worst", "tokens"))
for _, s in ipairs(SCHEMAS) do
  local compile, mine, other = measure(s[2], vocab, tokens, llama, llama.llama_model_get_vocab(model))
  local a, b = summary(mine)
  local c, d = summary(other)
  print(("%-18s %10.2f %10s %10s %12s %12s %8d"):format(s[1], compile * 1e3, a, b, c, d, #mine))
end
llama.llama_model_free(model)
tokens:close()
vocab:close()
if not args.vocab then os.remove(VOCAB) end
