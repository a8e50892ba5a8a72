--- Families side by side with llama.cpp: the tiny models of
--- conformance/families with their weights dealt out anew, fresh tokens, logits
--- of every position and greedy tokens. Prints a table at its end.
if not (jit and os.getenv "WANE_PEER") then return end
local arch = require "wane.arch"
local core = require "wane.core"
local families = require "spec.support.families"
local gguf = require "wane.gguf"
local peer = require "spec.support.peer"
local report = require "wane.report"
local support = require "spec.support"
local wane = require "wane"

local SEED = tonumber(os.getenv "WANE_SEED") or os.time() % 100000
local N, GREEDY = 70, 24

-- Park and Miller's generator: 0 <= x < 1.
local function random(seed)
  local x = seed % 2147483646 + 1
  return function()
    x = x * 16807 % 2147483647
    return (x - 1) / 2147483646
  end
end

-- The values of a tensor in another order.
local function shuffled(t, next_value)
  local b = t:read()
  for i = #b, 2, -1 do
    local k = math.floor(next_value() * i) + 1
    b[i], b[k] = b[k], b[i]
  end
  return b:bytes()
end

-- A file of the same shapes with the values of matrices dealt out anew.
local function deal(from, to, seed)
  local g = assert(core.gguf.open(from))
  local meta, tensors, next_value = {}, {}, random(seed)
  for i = 1, g:info().n_kv do meta[i] = { g:kv(i) } end
  g:close()
  local f = assert(gguf.open(from))
  for i, t in ipairs(f.tensors) do
    local plain = t.type ~= "f32" or not t.shape[2]
    tensors[i] = { name = t.name, type = t.type, shape = t.shape, data = plain and assert(t:raw()) or shuffled(t, next_value) }
  end
  f:close()
  assert(gguf.write { path = to, meta = meta, tensors = tensors })
end

describe("peer: families", function()
  local index, rows = families.index(), {}
  for n, name in ipairs(families.names(index)) do
    local x = index[name]
    local v = x.variants.F32
    if v and not v.prompts[1].embeddings and arch.find(x.arch) then
      it(name .. " agrees on fresh weights and tokens", function()
        local path = support.tmp(name .. ".gguf")
        deal(support.conformance("families/" .. name .. "/" .. v.model), path, SEED + n)
        local tokens, next_value = {}, random(SEED * 7 + n)
        for i = 1, N do tokens[i] = math.floor(next_value() * families.VOCAB) end
        local theirs = peer.load(path, { context = 256, kv = "f32", flash = false, threads = 1 })
        local ours = assert(wane.load(path))
        local ctx = assert(ours:context { context = 256, kv = "f32" })
        local logits = assert(ctx:eval(tokens, { all = true }))
        local want, worst = theirs:eval(tokens, true), 0
        for i = 1, #logits do worst = math.max(worst, math.abs(logits[i] - want[i - 1])) end
        ctx:close()
        local ids, margins = theirs:greedy(tokens, GREEDY)
        ctx = assert(ours:context { context = 256, kv = "f32" })
        local same, row = 0, assert(ctx:eval(tokens))
        for i = 1, GREEDY do
          local best = 1
          for k = 2, families.VOCAB do
            if row[k] > row[best] then best = k end
          end
          if best - 1 ~= ids[i] and margins[i] > 0.05 then break end
          same = i
          if i < GREEDY then row = assert(ctx:eval { ids[i] }) end
        end
        rows[#rows + 1] = { name = name, worst = worst, same = ("%d/%d"):format(same, GREEDY) }
        ctx:close()
        theirs:close()
        ours:close()
        os.remove(path)
        local max = 5 * families.tolerance(x.arch, "F32")
        assert(worst <= max, ("seed %d: logits differ by %g, want at most %g"):format(SEED, worst, max))
        assert.equal(GREEDY, same)
      end)
    end
  end

  it("table", function()
    local t = report.table { { key = "name", title = "family" }, { key = "worst", title = "largest difference", format = "%.1e" },
      { key = "same", title = "greedy tokens", align = "right" } }
    for _, row in ipairs(rows) do t:add(row) end
    print(("fresh weights, %d tokens, seed %d\n%s"):format(N, SEED, t:text()))
  end)
end)
