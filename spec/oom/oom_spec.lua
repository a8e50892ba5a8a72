--- Memory that runs out: for every allocation of an operation, one run in
--- which it fails, and one in which it and all later ones fail. Each must end
--- in an error value, leak nothing, and leave the library usable.
local core = require "wane.core"
local rows = require "spec.support.rows"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

--- Runs `action` with the n-th allocation failing until one run gets through
--- without meeting its failure; `action` returns nil, message, code or a
--- result that `release` frees.
local function exhaust(action, release, later)
  local n, failures, most = 0, 0, 4000
  repeat
    n = n + 1
    support.collect()
    local before = core.memory()
    core.fail_alloc(n, later)
    local ok, result, message, code = pcall(action)
    core.fail_alloc(0)
    local used = core.memory().n_allocs - before.n_allocs
    local failed = not ok or result == nil
    if failed then
      failures = failures + 1
      local text = ok and message or result
      assert(ok and code == "ENOMEM" or tostring(text):find "memory", ("allocation %d: %s"):format(n, tostring(text)))
    elseif release then
      release(result)
    end
    result = nil -- luacheck: ignore
    support.collect()
    local after = core.memory()
    assert(after.blocks <= before.blocks, ("allocation %d leaked %d blocks"):format(n, after.blocks - before.blocks))
    assert(n < most, "too many allocations to try them all")
  until used < n
  assert.is_true(failures > 0)
end

local function close(x) x:close() end

describe("out of memory", function()
  support.check_leaks()

  for _, later in ipairs { false, true } do
    local kind = later and "that one and all later ones" or "one allocation"

    it("opening a file: " .. kind, function()
      exhaust(function() return core.gguf.open(DEMO) end, close, later)
    end)

    it("loading a model: " .. kind, function()
      exhaust(function() return wane.load(DEMO, { context = 64 }) end, close, later)
    end)

    it("making a context: " .. kind, function()
      local model = assert(wane.load(DEMO, { context = 64 }))
      exhaust(function() return model:context() end, close, later)
      model:close()
    end)

    it("tokenizing: " .. kind, function()
      local model = assert(wane.load(DEMO, { context = 64 }))
      exhaust(function() return model.vocab:encode "Once upon a time there was" end, nil, later)
      model:close()
    end)

    it("encoding: " .. kind, function()
      local w = core.quant.buffer(4, 256, rows.make(rows.kinds[1], 1, 4, 256))
      for _, t in ipairs { "q4_K", "q8_0", "iq4_nl" } do
        exhaust(function() return core.quant.encode(t, w) end, close, later)
      end
    end)

    it("generating: " .. kind, function()
      local model = assert(wane.load(DEMO, { context = 64 }))
      exhaust(function()
        local parts = {}
        for text in model:generate("Once upon", { max_tokens = 4, temperature = 0, stop = "zebra" }) do
          parts[#parts + 1] = text
        end
        return table.concat(parts)
      end, nil, later)
      model:close()
    end)

    it("a background job: " .. kind, function()
      local model = assert(wane.load(DEMO, { context = 64 }))
      exhaust(function()
        local job, message, code = model:start("Once upon", { max_tokens = 4, temperature = 0 })
        if not job then return nil, message, code end
        while true do
          local text, running, why = job:poll()
          if not text then
            job:close()
            return nil, running, why
          end
          if not running and text == "" then break end
        end
        job:close()
        return true
      end, nil, later)
      model:close()
    end)

    it("an edge of a tap: " .. kind, function()
      local model = assert(wane.load(DEMO, { context = 64 }))
      local ctx = assert(model:context { context = 16, outputs = 16 })
      exhaust(function()
        return core.tap.open(ctx.handle, { "blk.1.ffn_down.weight" }, { rows = true, enter = "blk.1.", leave = "blk.2." })
      end, close, later)
      ctx:close()
      model:close()
    end)

    it("rebuilding blocks: " .. kind, function()
      local w = core.quant.buffer(2, 256, rows.make(rows.kinds[1], 1, 2, 256))
      exhaust(function()
        local h, message, code = core.calib.hessian(256)
        if not h then return nil, message, code end
        h:add(w)
        local ok
        ok, message, code = h:factor(0.1)
        if ok then ok, message, code = core.calib.rebuild("q4_K", w, h, {}) end
        if ok then ok, message, code = core.calib.error(w, nil, h) end
        h:close()
        return ok, message, code
      end, nil, later)
    end)
  end
end)
