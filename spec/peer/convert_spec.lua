--- Converted checkpoints side by side with llama.cpp: it loads every file that
--- wane.convert writes of the models of support/converted.lua, and gives the
--- same logits (encoders: the file loads).
if not (jit and os.getenv "WANE_PEER") then return end
local checkpoint = require "spec.support.checkpoint"
local converted = require "spec.support.converted"
local families = require "spec.support.families"
local gguf = require "wane.gguf"
local peer = require "spec.support.peer"
local support = require "spec.support"
local wane = require "wane"

local N = 40

local function convert(m)
  local path, dir = support.conformance(converted.path(m)), support.tmp "checkpoint"
  os.execute("mkdir -p " .. dir)
  checkpoint.from_gguf(path, dir, { layout = m.layout })
  local to = dir .. ".gguf"
  local ok, message = wane.convert { from = dir, to = to, type = "f32", metadata = converted.metadata(m, path) }
  os.execute("rm -rf " .. dir)
  assert(ok, message)
  return to
end

describe("peer: converted", function()
  for _, m in ipairs(converted.models) do
    it(m.name .. " loads and gives the same logits", function()
      local to = convert(m)
      local theirs = peer.load(to, { context = 64, kv = "f32", flash = false, threads = 1 })
      local f = assert(gguf.open(to))
      local arch = f.meta["general.architecture"]
      f:close()
      if arch ~= "bert" then
        local tokens = {}
        for i = 1, N do tokens[i] = i * 37 % 250 + 8 end
        local want = theirs:eval(tokens, true)
        local ours = assert(wane.load(to))
        local ctx = assert(ours:context { context = 64, kv = "f32" })
        local logits, worst = assert(ctx:eval(tokens, { all = true })), 0
        for i = 1, #logits do worst = math.max(worst, math.abs(logits[i] - want[i - 1])) end
        ctx:close()
        ours:close()
        -- gemma 2's GELU goes through halves in the peer, as gemma 3's
        local max = families.tolerance(arch == "gemma2" and "gemma3" or arch, "F32")
        assert(worst <= max, ("logits differ by %g, want at most %g"):format(worst, max))
      end
      theirs:close()
      os.remove(to)
    end)
  end
end)
