--- Writes spec/golden/families.txt anew: the shapes of the models in
--- ../shared/conformance and what llama.cpp's library makes of them with the
--- weights of models.lua. With the peer (make peer):
---
---     WANE_PEER=... LD_LIBRARY_PATH=... luajit spec/golden/make.lua
---
--- What it writes wane must agree with before it is written.
package.loaded.busted = { subscribe = function() end } -- spec.support counts leaks with it
local gguf = require "wane.gguf"
local model = require "wane.model"
local models = require "spec.golden.models"
local families = require "spec.support.families"
local peer = require "spec.support.peer"

-- `first` and what follows it.
local function lines(first, rest)
  local out = { first }
  for _, line in ipairs(rest) do out[#out + 1] = line end
  return out
end

local SHARED = "../shared/conformance/"
local TMP = "build/tmp/golden.gguf"

local function lines_of(command)
  local list, p = {}, io.popen(command)
  for line in p:lines() do list[#list + 1] = line end
  p:close()
  return list
end

local function word(v) return type(v) == "number" and ("%.9g"):format(v) or (tostring(v):gsub(" ", "_")) end

-- The header of a file, but for its tokenizer and names.
local function keys(out, f, arch)
  for _, key in ipairs(f:keys()) do
    local kind, elem = f:type_of(key)
    if not key:find "^tokenizer%." and not key:find "^general%." then
      local short, v = key:gsub("^" .. arch:gsub("%-", "%%-") .. "%.", "@"), f.meta[key]
      if kind == "array" then
        local words = {}
        for i, x in ipairs(v) do words[i] = word(x) end
        out[#out + 1] = ("k %s[] %s %s"):format(elem, short, table.concat(words, " "))
      else
        out[#out + 1] = ("k %s %s %s"):format(kind, short, word(v))
      end
    end
  end
end

local function tensors(out, f)
  local at, list = {}, {}
  for _, t in ipairs(f.tensors) do
    local shape = table.concat(t.shape, "x")
    local layer, rest = t.name:match "^blk%.(%d+)(%..*)$"
    local key = shape .. (rest or t.name)
    if layer and at[key] then
      at[key].layers = at[key].layers .. "," .. layer
    else
      list[#list + 1] = { shape = shape, layers = layer, rest = rest, name = t.name }
      at[key] = list[#list]
    end
  end
  for _, t in ipairs(list) do
    out[#out + 1] = ("t %s %s"):format(t.shape, t.layers and "blk." .. t.layers .. t.rest or t.name)
  end
end

local function row(kind, who, at, n, get)
  local words = {}
  for i, c in ipairs(models.columns(n)) do words[i] = ("%.6g"):format(get(c)) end
  return ("%s %s %d %s"):format(kind, who, at, table.concat(words, " "))
end

-- Logits behind the 8th and the last token, by the peer; wane agrees.
local function decoder(out, m, d, ids)
  local n = models.vocab(d)
  local p = peer.load(TMP, { context = 64, threads = 1, kv = "f32", flash = false, cpu = os.getenv "PEER_CPU" })
  local theirs = p:eval(ids, true)
  local ctx = assert(m:context { context = 64, kv = "f32", threads = 1 })
  local ours = assert(ctx:eval(ids, { all = true }))
  local worst, scale = 0, 0
  for _, at in ipairs { 8, #ids } do
    for c = 1, n do
      local v = theirs[(at - 1) * n + c - 1]
      worst = math.max(worst, math.abs(v - ours[(at - 1) * n + c]))
      scale = math.max(scale, math.abs(v))
    end
    out[#out + 1] = row("logits", "llama.cpp", at, n, function(c) return theirs[(at - 1) * n + c - 1] end)
  end
  ctx:close()
  p:close()
  return worst, scale
end

local function encoder(out, m, ids)
  local got = assert(m:embed(ids, { pooling = "none", normalize = false }))
  local _, cols = got:shape()
  for _, at in ipairs { 8, #ids } do
    out[#out + 1] = row("rows", "wane", at, cols, function(c) return got[(at - 1) * cols + c] end)
  end
end

local seen, all = {}, {}

local function write(text)
  local file = assert(io.open(models.PATH, "w"))
  file:write(text)
  file:close()
end

-- Adds the model that these lines describe, with its rows.
local function add(name, arch, out)
  if seen[name] then return end
  write(table.concat(out, "\n") .. "\n")
  local d = models.read()[1]
  local good = true
  local ok, why = pcall(function()
    assert(models.write(d, TMP))
    local m = assert(model.load(TMP))
    local ids = models.prompt(d)
    if m:info().result == "embeddings" then
      encoder(out, m, ids)
    else
      local worst, scale = decoder(out, m, d, ids)
      good = worst <= math.max(1, scale / 4) * families.tolerance(arch, "F32")
      io.stderr:write(("%-28s %.2e of %.3g %s\n"):format(name, worst, scale, good and "" or "TOO FAR"))
    end
    m:close()
  end)
  if not ok then io.stderr:write(name, ": ", tostring(why), "\n") end
  if not (ok and good) then return end
  seen[name] = true
  all[#all + 1] = table.concat(out, "\n") .. "\n"
end

-- Families of which ../shared has no model, with a llama's tensors.
local LIKE_LLAMA = { { "nanbeige", "k u32 @num_loops 2" }, { "llama-embed" } }

for _, path in ipairs(lines_of(("ls %sfamilies/*/*.F32.gguf %slogits/*/*.F32.gguf"):format(SHARED, SHARED))) do
  local name = path:match "([^/]+)%.F32%.gguf$"
  local f = assert(gguf.open(path))
  local arch = f.meta["general.architecture"]
  local header = {}
  keys(header, f, arch)
  tensors(header, f)
  f:close()
  add(name, arch, lines(("model %s %s"):format(name, arch), header))
  for _, also in ipairs(name == "llama" and LIKE_LLAMA or {}) do
    local out = lines(("model %s %s"):format(also[1], also[1]), header)
    if also[2] then table.insert(out, 2, also[2]) end
    add(also[1], also[1], out)
  end
end
-- Families of which there is none at all.
local OWN = { { "jamba", [[
k u32 @block_count 4
k u32 @context_length 256
k u32 @embedding_length 64
k u32 @feed_forward_length 96
k u32 @attention.head_count 4
k i32[] @attention.head_count_kv 0 2 0 2
k f32 @attention.layer_norm_rms_epsilon 1e-05
k u32 @ssm.conv_kernel 4
k u32 @ssm.inner_size 128
k u32 @ssm.state_size 16
k u32 @ssm.time_step_rank 8
k u32 @expert_count 4
k u32 @expert_used_count 2
k u32 @vocab_size 288
t 64x288 token_embd.weight
t 64 output_norm.weight
t 64x288 output.weight
t 64 blk.0,1,2,3.attn_norm.weight
t 64x256 blk.0,2.ssm_in.weight
t 4x128 blk.0,2.ssm_conv1d.weight
t 128 blk.0,2.ssm_conv1d.bias
t 128x40 blk.0,2.ssm_x.weight
t 8 blk.0,2.ssm_dt_norm.weight
t 16 blk.0,2.ssm_b_norm.weight
t 16 blk.0,2.ssm_c_norm.weight
t 8x128 blk.0,2.ssm_dt.weight
t 128 blk.0,2.ssm_dt.bias
t 16x128 blk.0,2.ssm_a
t 128 blk.0,2.ssm_d
t 128x64 blk.0,2.ssm_out.weight
t 64x64 blk.1,3.attn_q.weight
t 64x32 blk.1,3.attn_k.weight
t 64x32 blk.1,3.attn_v.weight
t 64x64 blk.1,3.attn_output.weight
t 64 blk.0,1,2,3.ffn_norm.weight
t 64x4 blk.1,3.ffn_gate_inp.weight
t 64x96x4 blk.1,3.ffn_gate_exps.weight
t 64x96x4 blk.1,3.ffn_up_exps.weight
t 96x64x4 blk.1,3.ffn_down_exps.weight
t 64x96 blk.0,2.ffn_gate.weight
t 64x96 blk.0,2.ffn_up.weight
t 96x64 blk.0,2.ffn_down.weight]] } }

for _, own in ipairs(OWN) do
  local name, text = own[1], own[2]
  local header = {}
  for line in text:gmatch "[^\n]+" do header[#header + 1] = line end
  add(name, name, lines(("model %s %s"):format(name, name), header))
end
write(table.concat(all, "\n"))
os.remove(TMP)
