--- PEFT adapters: what the converted adapter adds at run time is what merging
--- B A into the checkpoint's matrices gives; scales by rank, its root, by module;
--- files that lie are refused.
local support = require "spec.support"
local checkpoint = require "spec.support.checkpoint"
local core = require "wane.core"
local json = require "wane.json"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

-- rows x cols numbers from -0.2 to 0.2 as a float32 buffer.
local function numbers(rows, cols, seed)
  local x, b = seed, core.quant.buffer(rows, cols)
  for i = 1, rows * cols do
    x = x * 16807 % 2147483647
    b[i] = (x / 2147483647 * 2 - 1) * 0.2
  end
  return b
end

-- module, outputs, inputs of the demo model
local MODULES = {
  { "model.layers.0.self_attn.q_proj", 256, 256 }, { "model.layers.1.self_attn.k_proj", 128, 256 },
  { "model.layers.2.mlp.down_proj", 256, 768 }, { "lm_head", 2048, 256 },
}

describe("convert: adapters", function()
  support.check_leaks()
  local dir, base
  before_each(function()
    dir = support.tmp "adapter"
    base = dir .. "-base"
    os.execute(("mkdir -p %s %s"):format(dir, base))
    checkpoint.from_gguf(DEMO, base)
  end)
  after_each(function()
    os.execute(("rm -rf %s*"):format(dir))
  end)

  -- Writes an adapter; returns its pairs by module: { a, b, rank }.
  local function write(config, ranks, edit)
    local list, pairs_of = {}, {}
    for i, m in ipairs(MODULES) do
      local rank = ranks[m[1]] or 4
      local a, b = numbers(rank, m[3], 7 + i), numbers(m[2], rank, 70 + i)
      pairs_of[m[1]] = { a = a, b = b, rank = rank, n = m[2], k = m[3] }
      local at = "base_model.model." .. m[1]
      list[#list + 1] = { name = at .. ".lora_A.weight", dtype = "F32", shape = { rank, m[3] }, bytes = a:bytes() }
      list[#list + 1] = { name = at .. ".lora_B.weight", dtype = "F32", shape = { m[2], rank }, bytes = b:bytes() }
    end
    if edit then edit(list) end
    checkpoint.safetensors(dir .. "/adapter_model.safetensors", list)
    config.peft_type = config.peft_type or "LORA"
    checkpoint.write(dir .. "/adapter_config.json", json.encode(config))
    return pairs_of
  end

  -- The checkpoint with scale(module, rank) B A added, as float32.
  local function merge(pairs_of, scale)
    local f = assert(require("wane.convert.safetensors").open(base))
    local list = {}
    for i, name in ipairs(f.names) do
      local t = f.tensors[name]
      local bytes = assert(f:read(t, 0, t.bytes))
      local p = pairs_of[name:gsub("%.weight$", "")]
      list[i] = { name = name, dtype = t.dtype, shape = t.shape, bytes = bytes }
      if p then
        local w = assert(require("wane.convert.safetensors").decode(t.dtype, bytes, p.n, p.k))
        core.lora.add(w, p.a, p.b, scale(name, p.rank))
        list[i].dtype, list[i].bytes = "F32", w:bytes()
        w:close()
      end
    end
    f:close()
    checkpoint.safetensors(base .. "/model.safetensors", list)
  end

  local function logits(path, lora)
    local m = assert(wane.load(path, { context = 32, lora = lora }))
    local ctx = assert(m:context { kv = "f32", threads = 1 })
    local l, out = assert(ctx:eval { 5, 17, 300, 42, 1999 }), {}
    for i = 1, #l do out[i] = l[i] end
    ctx:close()
    m:close()
    return out
  end

  local function adapted_is_merged(pairs_of, scale)
    local plain, adapter, merged = dir .. "-base.gguf", dir .. "-lora.gguf", dir .. "-merged.gguf"
    assert(wane.convert { from = base, to = plain, type = "f32" })
    local r = assert(wane.convert { from = dir, base = base, to = adapter })
    assert.is_true(r.adapter)
    assert.equal(2 * #MODULES, r.n_tensors)
    merge(pairs_of, scale)
    assert(wane.convert { from = base, to = merged, type = "f32" })
    local without, a, b, worst, moved = logits(plain), logits(plain, adapter), logits(merged), 0, 0
    for i = 1, #a do
      worst, moved = math.max(worst, math.abs(a[i] - b[i])), math.max(moved, math.abs(a[i] - without[i]))
    end
    assert(moved > 1, "the adapter changes nothing: " .. moved)
    assert(worst < 1e-3 * moved, ("adapted and merged differ by %g of %g"):format(worst, moved))
  end

  it("alpha over rank", function()
    adapted_is_merged(write({ lora_alpha = 8, r = 4, fan_in_fan_out = false }, {}), function(_, rank) return 8 / rank end)
  end)

  it("alpha over the root of the rank; fan_in_fan_out is the base's", function()
    adapted_is_merged(write({ lora_alpha = 3, r = 4, use_rslora = true, fan_in_fan_out = true }, {}),
      function(_, rank) return 3 / math.sqrt(rank) end)
  end)

  it("ranks and alphas by module", function()
    local p = write({
      lora_alpha = 8, r = 4, rank_pattern = { ["layers.2.mlp.down_proj"] = 6 }, alpha_pattern = { q_proj = 2, ["0.self_attn.q_proj"] = 16 },
    }, { ["model.layers.2.mlp.down_proj"] = 6 })
    adapted_is_merged(p, function(name, rank) return (name:find "q_proj" and 16 or 8) / rank end)
  end)

  it("the base is named by the adapter where nobody gives it", function()
    write({ lora_alpha = 8, r = 4, base_model_name_or_path = base }, {})
    assert(wane.convert { from = dir, to = dir .. ".gguf" })
    local f = assert(wane.gguf.open(dir .. ".gguf"))
    assert.equal("adapter", f.meta["general.type"])
    assert.equal("lora", f.meta["adapter.type"])
    assert.equal(8, f.meta["adapter.lora.alpha"])
    f:close()
  end)

  describe("refuses", function()
    local function refused(pattern, code)
      local ok, message, kind = wane.convert { from = dir, base = base, to = dir .. ".gguf" }
      assert.is_nil(ok)
      assert.truthy(message:find(pattern), message)
      assert.equal(code, kind)
      assert.is_false(support.exists(dir .. ".gguf"))
      assert.is_false(support.exists(dir .. ".gguf.part"))
    end

    it("halves that are alone, of other ranks, or no halves", function()
      write({ lora_alpha = 8, r = 4 }, {}, function(list) table.remove(list) end)
      refused("lm_head: lora_B is missing", "EFORMAT")
      write({ lora_alpha = 8, r = 8 }, {})
      refused("rank 4, adapter_config.json says 8", "EFORMAT")
      write({ lora_alpha = 8, r = 4 }, {}, function(list) list[1].shape, list[1].bytes = { 2, 256 }, list[1].bytes:sub(1, 2048) end)
      refused("lora_A of 2x256 and lora_B of 256x4 make no matrix", "EFORMAT")
      write({ lora_alpha = 8, r = 4 }, {}, function(list) list[1].name = "base_model.model.lm_head.weight" end)
      refused("is no half of an adapter", "EUNSUP")
      write({ lora_alpha = 8, r = 4 }, {}, function(list) list[1].name = "base_model.model.x.lora_magnitude_vector" end)
      refused("DoRA is not supported", "EUNSUP")
      write({ lora_alpha = 8, r = 4 }, {}, function(list)
        for i = 1, 2 do list[i].name = list[i].name:gsub("q_proj", "w_proj") end
      end)
      refused("w_proj.weight is not known in llama", "EFORMAT")
    end)

    it("settings that are none", function()
      write({ lora_alpha = 0, r = 4 }, {})
      refused("lora_alpha is 0, want a number other than 0", "EFORMAT")
      write({ lora_alpha = "x", r = 4 }, {})
      refused("lora_alpha is x", "EFORMAT")
      write({ lora_alpha = 8, r = 4, peft_type = "IA3" }, {})
      refused("adapters of kind IA3 are not supported", "EUNSUP")
      write({ lora_alpha = 8, r = 4, rank_pattern = { ["layers.[0-9]+"] = 4 } }, {})
      refused("is not a plain name", "EUNSUP")
      checkpoint.write(dir .. "/adapter_config.json", "{")
      refused("adapter_config.json:", "EFORMAT")
    end)

    it("a base that is not there", function()
      write({ lora_alpha = 8, r = 4 }, {})
      local ok, message, code = wane.convert { from = dir, to = dir .. ".gguf" }
      assert.is_nil(ok)
      assert.truthy(message:find("the base model's config.json is needed", 1, true), message)
      assert.equal("ENOENT", code)
      assert.has_error(function() wane.convert { from = dir, base = base, to = dir .. ".gguf", type = "q8_0" } end,
        "wane: convert: an adapter's type is f32, f16 or bf16")
    end)
  end)
end)
