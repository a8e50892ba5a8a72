-- In a REPL everything tells what it is; a closed handle too.
local support = require "spec.support"
local wane = require "wane"

describe("in a REPL", function()
  support.check_leaks()
  local demo = "examples/models/demo-f16.gguf"

  it("every object tells what it is", function()
    local m = assert(wane.load(demo))
    local ctx = assert(m:context { context = 64 })
    local job = assert(m:start("Once", { max_tokens = 1 }))
    local chat = m:chat()
    local sampler = assert(wane.sample.new(m, {}))
    local stream = m.vocab:stream()
    local to = support.tmp "q.gguf"
    local quantizing = assert(wane.quantize.start { from = demo, to = to, recipe = "Q8_0" })
    for _, case in ipairs {
      { wane, "wane " .. wane.version }, { m, "wane.Model (" .. demo .. ", llama, 75 tensors)" },
      { ctx, "wane.Context (64 tokens, 0 used)" }, { chat, "wane.Chat (plain, 0 messages)" }, { job, "wane.job" },
      { ctx:batch(), "wane.Batch of wane.Context (64 tokens, 0 used)" }, { sampler, "wane.Sampler" },
      { stream, "wane.token_stream" }, { quantizing, "wane.QuantizeJob (" .. to .. ", 0 %)" },
      { wane.imatrix.new { a = { 1, 2 } }, "wane.Imatrix (memory, 1 entries)" },
    } do
      assert.equals(case[2], tostring(case[1]))
    end
    assert.matches("^model: .*architecture llama, .*n_vocab 2048, .*path examples/models/demo%-f16.gguf", tostring(m:info()))
    assert.matches("^context: .*n_ctx 64, ", tostring(ctx:info()))
    for _, handle in ipairs { job, stream, sampler, chat } do handle:close() end
    assert.equals("wane.job (closed)", tostring(job))
    assert.equals("wane.token_stream (closed)", tostring(stream))
    assert.equals("wane.Sampler (closed)", tostring(sampler))
    quantizing:cancel()
    assert.equals("wane.QuantizeJob (" .. to .. ", failed: cancelled)", tostring(quantizing))
    os.remove(to .. ".part")
    os.remove(to .. ".part.journal")
    for _, handle in ipairs { ctx, m } do handle:close() end
    assert.equals("wane.Model (closed)", tostring(m))
  end)

  it("a sampler wants a model", function()
    for _, bad in ipairs { {}, "x", 5 } do
      local ok, why = pcall(wane.sample.new, bad)
      assert.is_false(ok)
      assert.truthy(why:find("wane: sample.new: model: want a model (wane.load), got ", 1, true), why)
    end
  end)
end)
