-- While a job generates in its thread, its context and its sampler are taken:
-- stepping a second loop, scoring or drawing with them must raise or give
-- EBUSY, never run beside the thread (make check-tsan sees the race).
local S = require "spec.support"
local core = require "wane.core"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

describe("what a running job has taken", function()
  local model, ctx, sampler
  S.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 512, threads = 1 }))
    ctx = assert(model:context { threads = 1 })
    local n_vocab = model.handle:info().n_vocab
    sampler = assert(core.sample.new { n_vocab = n_vocab, temperature = 0 })
  end, function()
    sampler:close()
    ctx:close()
    model:close()
    model, ctx, sampler = nil, nil, nil
  end)

  it("is refused to everybody else", function()
    local ids = model.vocab:encode "Once upon a time"
    local gen = assert(core.job.gen(ctx.handle, sampler, ids, {}))
    local job = assert(core.job.start(ctx.handle, sampler, ids, {}))
    local logits = core.quant.buffer(1, model.handle:info().n_vocab)
    local _, running = job:poll()
    assert.is_true(running)
    assert.error_matches(function() gen:step() end, "busy")
    assert.error_matches(function() core.score.nll(ctx.handle, {}) end, "busy")
    assert.error_matches(function() core.score.compare(ctx.handle, ctx.handle, {}) end, "busy")
    assert.error_matches(function() sampler:pick(logits) end, "busy")
    assert.error_matches(function() sampler:accept(1) end, "busy")
    assert.error_matches(function() sampler:bias(1, 2) end, "busy")
    local nothing, _, code = core.job.gen(ctx.handle, sampler, ids, {})
    assert.is_nil(nothing)
    assert.equal("EBUSY", code)
    job:close()
    assert(gen:step()) -- free again
    gen:close()
    logits:close()
  end)

  it("token lists hold whole numbers", function()
    assert.error_matches(function() core.job.gen(ctx.handle, sampler, { 1.5 }, {}) end, "not an id")
    assert.error_matches(function() core.job.gen(ctx.handle, sampler, { 0 / 0 }, {}) end, "not an id")
    assert.error_matches(function() core.job.gen(ctx.handle, sampler, { "1" }, {}) end, "not an id")
  end)
end)
