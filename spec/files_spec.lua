--- Whole files against llama.cpp: conformance/files, byte for byte.
-- Small models run always; WANE_ALL=1 runs every recorded file.
local models = require "spec.support.models"
local quantize = require "wane.quantize"
local sources = require "spec.support.sources"
local support = require "spec.support"

local complete = os.getenv "WANE_ALL" ~= nil

-- Values by tensor name, cut to one vector list per tensor.
local function importance(model, with)
  return with == "imatrix" and sources.imatrix(model) or nil
end

-- One recorded run; returns what differs.
local function compare(path, options, run)
  local out = support.tmp "out.gguf"
  options.from, options.to = path, out
  local report, msg = quantize(options)
  if run.rc ~= 0 then
    if report then return "made a file, want an error" end
    if support.exists(out) or support.exists(out .. ".part") then return "left a file behind" end
    return not msg:find(models.essence(run.error), 1, true) and "another error: " .. msg or nil
  end
  if not report then return msg end
  local sum = models.sha256(out)
  os.remove(out)
  if report.file_bytes ~= run.bytes then return ("%d bytes, want %d"):format(report.file_bytes, run.bytes) end
  if sum ~= run.sha256 then return "other bytes" end
end

-- Runs that llama.cpp really wrote, or really refused.
local function is_real(run) return run.sha256 ~= nil or (run.rc ~= 0 and run.error ~= nil) end

local small = { "llama-oddcols-3L", "bert-3L", "falcon-8L-mqa", "gemma2-5L-tied", "gpt-oss-3L-4x",
  "llama-4L-ffn-odd" }

describe("files as llama.cpp makes them", function()
  support.check_leaks()

  local function check(name)
    local all = sources.all()
    if not all then return end
    local model, expected = all[name], sources.expected(name)
    local path, n, wrong = sources.path(name, model), 0, {}
    assert.equal(expected.source_sha256, models.sha256(path))
    for mix, runs in pairs(expected.results) do
      for with, run in pairs(runs) do
        if is_real(run) then
          n = n + 1
          local difference = compare(path, { recipe = mix, imatrix = importance(model, with) }, run)
          if difference then wrong[#wrong + 1] = ("%s %s: %s"):format(mix, with, difference) end
        end
      end
    end
    assert.same({}, wrong)
    assert(n > 3, "too few files were compared")
  end

  local names = small
  if complete then
    names = {
      "llama-8L-gqa4", "llama-oddcols-3L", "qwen2-5L-gqa2-f16", "mixtral-4L-8x", "gemma2-5L-tied", "phi3-8L",
      "falcon-8L-mqa", "gpt-oss-3L-4x", "bert-3L", "llama-4L-ffn-odd",
    }
  end
  for _, name in ipairs(names) do
    it(name, function() check(name) end)
  end

  it("with llama.cpp's parameters", function()
    local all = sources.all()
    if not all then return end
    local name = "llama-8L-gqa4"
    local model, expected = all[name], sources.expected(name)
    local path = sources.path(name, model)
    local q8 = support.tmp "q8.gguf"
    assert(quantize { from = path, to = q8, recipe = "Q8_0" })
    local wrong, n = {}, 0
    for param, run in pairs(expected.params) do
      if is_real(run) then
        local o = { recipe = not param:find "^only" and "Q4_K_M" or nil }
        for k, v in pairs(assert(models.params[param], param)) do
          if k ~= "from_q8_0" then o[k] = v end
        end
        local difference = compare(param:find "from the Q8_0" and q8 or path, o, run)
        n = n + 1
        if difference then wrong[#wrong + 1] = param .. ": " .. difference end
      end
    end
    os.remove(q8)
    assert.same({}, wrong)
    assert.equal(9, n)
  end)
end)
