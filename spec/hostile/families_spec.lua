--- Hostile headers of the families with keys of their own: each number of the
-- header set to 0, a small odd one and the largest. A file is refused with a
-- message and a code, or it runs; nothing else.
local support = require "spec.support"
local gguf = require "wane.gguf"
local model = require "wane.model"

local FAMILIES = {
  "qwen35", "qwen3next-ssmin", "lfm2moe", "deepseek2", "gemma4-e", "nemotron_h_moe", "granitehybrid", "rwkv7", "mamba",
  "falcon-h1", "llama4", "apertus",
}

describe("numbers that cannot be in the header of", function()
  support.check_leaks()
  for _, name in ipairs(FAMILIES) do
    it(name, function()
      local f = assert(gguf.open(support.conformance(("families/%s/%s.F32.gguf"):format(name, name))))
      local prefix, path = f.meta["general.architecture"] .. ".", support.tmp "hostile.gguf"
      local n, refused = 0, 0
      for _, key in ipairs(f:keys()) do -- (LuaJIT's pairs knows no __pairs)
        local old = f.meta[key]
        for _, value in ipairs(type(old) == "number" and key:sub(1, #prefix) == prefix and { 0, 3, 2 ^ 32 - 1 } or {}) do
          if f:write(path, { set = { [key] = value }, overwrite = true }) then
            n = n + 1
            local m, message, code = model.load(path)
            if m then
              local ctx = m:context { context = 64 }
              if ctx then
                assert(ctx:eval { 1, 2, 3 })
                ctx:close()
              end
              m:close()
            else
              refused = refused + 1
              assert.is_string(message, key)
              assert.is_string(code, key)
            end
          end
        end
      end
      os.remove(path)
      f:close()
      assert(n > 20 and refused > n / 3, ("%d of %d refused"):format(refused, n))
    end)
  end
end)
