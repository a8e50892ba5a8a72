--- Games: the talking character of examples/love in a real LÖVE on a virtual
--- screen, and wane.love without one.
local support = require "spec.support"
local speakers = require "wane.love"

local DEMO = "examples/models/demo-f16.gguf"

local function has(program)
  local status = os.execute(("command -v %s > /dev/null 2>&1"):format(program))
  return status == true or status == 0
end

describe("wane.love", function()
  support.check_leaks()

  -- Frames until the answer is there; the text.
  local function play(speaker, prompt)
    local text, done, calls, message
    speaker:say(prompt, function(t, d, m) text, done, calls, message = t, d, (calls or 0) + 1, m end)
    local frames = 0
    while not done do
      speaker:update()
      frames = frames + 1
      assert(frames < 1e7)
    end
    assert.is_nil(message)
    return text, frames, calls
  end

  local options = { max_tokens = 24, temperature = 0 }

  it("says the same in slices of a frame and in a thread", function()
    local wane = require "wane"
    local model = assert(wane.load(DEMO, { context = 128 }))
    local want = {}
    for text in model:generate("Once upon a time", options) do want[#want + 1] = text end
    for _, ms in ipairs { 0.2, 5, false } do
      local speaker = assert(speakers.new(nil, { model = model, ms = ms or nil, raw = true, options = options }))
      local text, frames, calls = play(speaker, "Once upon a time")
      assert.equals(table.concat(want), text)
      assert.is_true(frames >= calls)
      speaker:close()
    end
    model:close()
  end)

  it("answers again after it was cut off, in conversations too", function()
    for _, ms in ipairs { 2, false } do
      local speaker = assert(speakers.new(DEMO, { ms = ms or nil, options = options }))
      speaker:say("Once", function() end)
      speaker:update()
      local text = play(speaker, "Once upon a time")
      assert.is_true(#text > 10)
      speaker:say("And then", function() end)
      speaker:close() -- in the middle
      speaker:close()
    end
  end)

  it("tells why there is no model", function()
    local speaker, message, code = speakers.new("nowhere.gguf", { ms = 2 })
    assert.is_nil(speaker)
    assert.matches("nowhere.gguf", message)
    assert.is_string(code)
    assert.error_matches(function() speakers.new(DEMO, { mz = 2 }) end, "unknown option 'mz'")
  end)
end)

if support.elsewhere() then return end

describe("LÖVE", function()
  it("plays a talking character, frame by frame", function()
    if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
    if not has "love" then support.skip "LÖVE is not installed (apt install love)" end
    if not has "xvfb-run" then support.skip "xvfb-run is not installed (apt install xvfb)" end
    if not has "xauth" then support.skip "xauth is not installed (apt install xauth)" end
    if not support.exists "build/luajit/wane/core.so" then support.skip "no LuaJIT build in build/" end
    local p = io.popen "pwd"
    local root = p:read "*l"
    p:close()
    local out, shot, log = support.tmp "love.out", support.tmp "love.png", support.tmp "love.log"
    os.execute(("timeout 100 xvfb-run -a -s '-screen 0 640x360x24' love spec/support/love %s %s %s/%s %s/%s > %s 2>&1"):format(
      root, os.getenv "WANE_FRAMES" or "200", root, out, root, shot, log))
    assert(support.exists(out), support.slurp(log))
    local lines = {}
    for line in io.lines(out) do lines[#lines + 1] = line end
    -- the answer drove the character
    local mood, action, say = lines[1]:match "^(%a+) (%a+) (.*)$"
    assert(({ happy = 1, sad = 1, angry = 1 })[mood] and ({ jump = 1, walk = 1, wait = 1 })[action], lines[1])
    assert.is_true(#say >= 20, lines[1])
    -- quitting in the middle of an answer does not wait for it
    assert.is_true(tonumber(lines[2]) < 0.5, lines[2])
    local whole, work, model, processor = {}, {}, {}, {}
    for i = 3, #lines do
      local a, b, c, d = lines[i]:match "^(%S+) (%S+) (%S+) (%S+)$"
      whole[i - 2], work[i - 2], model[i - 2], processor[i - 2] = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
    end
    assert.is_true(#work >= 200)
    local function at(times, share)
      table.sort(times)
      return times[math.ceil(#times * share)] * 1000
    end
    local function told(times)
      return ("median %.1f, p95 %.1f, p99 %.1f, most %.1f ms"):format(at(times, 0.5), at(times, 0.95), at(times, 0.99), at(times, 1))
    end
    -- Two milliseconds are the model's, by the processor's clock: what else runs on
    -- the machine of the specs does not count.
    assert(at(processor, 0.5) < 4 and at(processor, 0.99) < 8, "the model's share of a frame: " .. told(processor))
    if os.getenv "WANE_SHOW" then
      print(("%d frames, from one to the next: %s; work: %s; update: %s; its processor time: %s; quit %.4f s; %s"):format(#work,
        told(whole), told(work), told(model), told(processor), lines[2], shot))
      local bins = {}
      for _, t in ipairs(whole) do
        local ms = math.min(math.floor(t * 1000), 40)
        bins[ms] = (bins[ms] or 0) + 1
      end
      for ms = 0, 40 do
        if bins[ms] then print(("%5d frames of %d ms%s"):format(bins[ms], ms, ms == 40 and " and more" or "")) end
      end
    else
      os.remove(shot)
    end
    os.remove(out)
    os.remove(log)
  end)
end)
