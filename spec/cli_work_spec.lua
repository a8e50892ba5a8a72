--- The verbs that make files and vectors: merge, split, meta, embed, rank; and
--- the options of generate.
local json = require "wane.json"
local run = require("spec.support.cli").run
local support = require "spec.support"
local wane = require "wane"
local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local DEMO = "examples/models/demo-f16.gguf"

describe("wane split and merge", function()
  support.check_leaks()

  it("give the same file back", function()
    local base, whole = support.tmp "split", support.tmp "whole.gguf"
    local status, text = run("split", DEMO, base, "--size", "6M")
    assert.equal(0, status)
    local paths = {}
    for path in text:gmatch "[^\n]+" do paths[#paths + 1] = path end
    assert.equal(3, #paths)
    assert.equal(base .. "-00001-of-00003.gguf", paths[1])
    status = run("merge", paths[2], whole)
    assert.equal(0, status)
    local a, b = assert(wane.gguf.open(DEMO)), assert(wane.gguf.open(whole))
    assert.equal(#a.tensors, #b.tensors)
    for i, t in ipairs(a.tensors) do assert(t:raw() == b:tensor(t.name):raw(), ("tensor %d"):format(i)) end
    a:close()
    b:close()
    local refused, _, said = run("merge", paths[2], whole)
    assert.equal(1, refused)
    assert.matches("exists %(%-%-overwrite replaces it%)", said)
    assert.equal(0, (run("merge", paths[2], whole, "--overwrite", "--json")))
    for _, path in ipairs(paths) do os.remove(path) end
    os.remove(whole)
  end)

  it("refuse what makes no sense", function()
    for want, args in pairs {
      ["want one of %-%-size and %-%-tensors"] = {}, ["want a size such as 2G, found 'big'"] = { "--size", "big" },
      ["found '0'"] = { "--size", "0" }, ["want an integer from 1"] = { "--tensors", "0" },
    } do
      local status, _, said = run("split", DEMO, "build/tmp/never", args[1] or "--json", args[2])
      assert.equal(1, status)
      assert.matches(want, said)
    end
    local status, _, said = run("merge", "build/no-such.gguf", "build/tmp/never.gguf")
    assert.equal(1, status)
    assert.matches("no%-such%.gguf", said)
    status, _, said = run("merge", DEMO, "build/tmp/never.gguf", "--lora", DEMO)
    assert.equal(1, status)
    assert.matches("demo%-f16%.gguf", said)
    assert.is_false(support.exists "build/tmp/never.gguf")
  end)

  it("merge an adapter, and generate takes it as it is", function()
    local adapter, whole = support.tmp "adapter.gguf", support.tmp "whole.gguf"
    local n = 0
    local function data(count) -- float32: 0.25 and -0.25 in turns
      local list = {}
      for i = 1, count do
        n = n + 1
        list[i] = n % 3 == 0 and "\0\0\128\62" or "\0\0\128\190"
      end
      return table.concat(list)
    end
    assert(wane.gguf.write { path = adapter,
      meta = { { "general.architecture", "string", "llama" }, { "general.type", "string", "adapter" }, { "adapter.type", "string", "lora" },
        { "adapter.lora.alpha", "f32", 4 } },
      tensors = { { name = "blk.0.attn_q.weight.lora_a", type = "f32", shape = { 256, 2 }, data = data(512) },
        { name = "blk.0.attn_q.weight.lora_b", type = "f32", shape = { 2, 256 }, data = data(512) } } })
    assert.equal(0, (run("merge", DEMO, whole, "--lora", adapter .. ":0.5")))
    local function weights(path)
      local f = assert(wane.gguf.open(path))
      local bytes = f:tensor("blk.0.attn_q.weight"):raw()
      f:close()
      return bytes
    end
    assert.not_equal(weights(DEMO), weights(whole))
    local function told(...)
      local status, text = run("generate", ...)
      assert.equal(0, status)
      return json.decode(text).text
    end
    local how = { "Once upon a time", "-n", "12", "--temperature", "0", "--json" }
    local plain = told(DEMO, unpack(how))
    how[#how + 1] = "--lora"
    how[#how + 1] = adapter .. ":4"
    assert.not_equal(plain, told(DEMO, unpack(how)))
    os.remove(adapter)
    os.remove(whole)
  end)
end)

describe("wane meta", function()
  support.check_leaks()

  it("sets keys with their types, adds and removes some", function()
    local path, template = support.tmp "meta.gguf", support.tmp "t.jinja"
    support.spit(template, "{{ messages }}")
    local status, text, said = run("meta", DEMO, path, "--set", "general.name=Mine=own", "--set", "llama.context_length=256",
      "--set", "x.a=2.5", "--set", "x.b=true", "--set", "x.c=str:7", "--set", "x.d=text", "--set", "llama.rope.freq_base=20000",
      "--set-file", "tokenizer.chat_template=" .. template, "--remove", "general.description")
    assert.equal(0, status, said)
    assert.equal(path .. "\n", text)
    local f = assert(wane.gguf.open(path))
    assert.equal("Mine=own", f.meta["general.name"])
    assert.equal("u32", f:type_of "llama.context_length")
    assert.equal(256, f.meta["llama.context_length"])
    assert.equal("f32", f:type_of "x.a")
    assert.equal("bool", f:type_of "x.b")
    assert.equal("7", f.meta["x.c"])
    assert.equal("text", f.meta["x.d"])
    assert.equal("f32", f:type_of "llama.rope.freq_base")
    assert.equal(20000, f.meta["llama.rope.freq_base"])
    assert.equal("{{ messages }}", f.meta["tokenizer.chat_template"])
    assert.is_nil(f.meta["general.description"])
    f:close()
    os.remove(path)
    os.remove(template)
  end)

  it("says what is wrong, and writes nothing", function()
    local path = support.tmp "meta.gguf"
    for want, args in pairs {
      ["want %-%-set, %-%-set%-file or %-%-remove"] = { "--overwrite" }, ["want KEY=VALUE, found 'x'"] = { "--set", "x" },
      ["the value 'long' is not an integer"] = { "--set", "llama.context_length=long" },
      ["is not a number"] = { "--set", "llama.rope.freq_base=high" }, ["is a list"] = { "--set", "general.languages=de" },
      ["no key 'no.key'"] = { "--remove", "no.key" }, ["no%-such"] = { "--set-file", "a=build/no-such" },
      ["is not true or false"] = { "--set", "tokenizer.ggml.add_bos_token=maybe" },
    } do
      local status, _, said = run("meta", DEMO, path, args[1], args[2])
      assert.equal(1, status, want)
      assert.matches(want, said)
      assert.is_false(support.exists(path))
    end
  end)
end)

describe("wane embed and rank", function()
  support.check_leaks()

  it("prints a vector a text, of length 1, or cosines", function()
    local status, text = run("embed", DEMO, "the sea", "a ship")
    assert.equal(0, status)
    local n = 0
    for line in text:gmatch "[^\n]+" do
      local sum, count = 0, 0
      for x in line:gmatch "%S+" do sum, count = sum + tonumber(x) ^ 2, count + 1 end
      assert.equal(256, count)
      assert.is_true(math.abs(sum - 1) < 1e-4)
      n = n + 1
    end
    assert.equal(2, n)
    status, text = run("embed", DEMO, "the sea", "--raw", "--dimensions", "8", "--json")
    assert.equal(0, status)
    local v = json.decode(text)
    assert.equal("the sea", v.text)
    assert.equal(8, #v.embedding)
    local file = support.tmp "lines.txt"
    support.spit(file, "the sea\nthe sea\na ship\n")
    status, text = run("embed", DEMO, "-f", file, "--similarity", "--json")
    assert.equal(0, status)
    local rows = json.decode(text)
    assert.equal(3, #rows)
    assert.is_true(math.abs(rows[1]["2"] - 1) < 1e-5)
    assert.is_true(rows[1]["3"] < 0.999)
    os.remove(file)
  end)

  it("refuse", function()
    assert.matches("want a text", select(3, run("embed", DEMO)))
    assert.matches("one vector a text", select(3, run("embed", DEMO, "x", "--pooling", "none", "--similarity")))
    assert.matches("%-%-dimensions is 999", select(3, run("embed", DEMO, "x", "--dimensions", "999")))
    assert.matches("no tensors cls", select(3, run("rank", DEMO, "q", "d")))
    assert.matches("want a document", select(3, run("rank", DEMO, "q")))
  end)

  it("rank documents, best first", function()
    local path = support.conformance "families/bert-rank/bert-rank.F32.gguf"
    local status, text, said = run("rank", path, "owls", "Owls hunt at night.", "The bank opens at nine.", "An owl", "--json")
    assert.equal(0, status, said)
    local rows = json.decode(text)
    assert.equal(3, #rows)
    assert.is_true(rows[1].score >= rows[2].score and rows[2].score >= rows[3].score)
    status, text = run("rank", path, "owls", "Owls hunt at night.", "An owl", "-n", "1")
    assert.equal(0, status)
    assert.equal(3, select(2, text:gsub("\n", "\n")))
  end)
end)

describe("wane generate", function()
  support.check_leaks()
  local function text_of(...)
    local status, text, said = run("generate", DEMO, ...)
    assert.equal(0, status, said)
    return json.decode(text)
  end

  it("takes a prompt from a file, stops, grammars, schemas, a cache type and guesses", function()
    local prompt, grammar, schema = support.tmp "p.txt", support.tmp "g.gbnf", support.tmp "s.json"
    support.spit(prompt, "Once upon a time")
    support.spit(grammar, 'root ::= "yes" | "no"')
    support.spit(schema, '{"type": "boolean"}')
    local plain = text_of("Once upon a time", "-n", "24", "--temperature", "0", "--json")
    assert.equal(plain.text, text_of("-f", prompt, "-n", "24", "--temperature", "0", "--json").text)
    local drafted = text_of("-f", prompt, "-n", "24", "--temperature", "0", "--json", "--draft", DEMO)
    assert.equal(plain.text, drafted.text)
    assert.is_true(drafted.accepted > 0)
    assert.equal(plain.text, text_of("-f", prompt, "-n", "24", "--temperature", "0", "--json", "--draft", "prompt").text)
    local word = plain.text:match "^%s*%S+%s+(%S+)"
    local stopped = text_of("-f", prompt, "-n", "24", "--temperature", "0", "--json", "--stop", "never there", "--stop", word)
    assert.equal("stop", stopped.state)
    assert.equal(plain.text:sub(1, plain.text:find(word, 1, true) - 1), stopped.text)
    local said = text_of("Is it?", "--grammar", grammar, "--seed", "3", "--json").text
    assert.is_true(said == "yes" or said == "no")
    for _, how in ipairs { schema, '{"type": "boolean"}' } do
      said = text_of("Is it?", "--json-schema", how, "--seed", "3", "--json").text
      assert.is_true(said == "true" or said == "false")
    end
    assert.equal(3, text_of("Once", "-n", "3", "--kv", "q8_0", "--json").tokens)
    for _, path in ipairs { prompt, grammar, schema } do os.remove(path) end
  end)

  it("refuses", function()
    local function said(...) return select(3, run("generate", DEMO, ...)) end
    assert.matches("want a text, %- or %-f FILE", said())
    assert.matches("want a text, %- or %-f FILE", said("a", "-f", "b"))
    assert.matches("no%-such", said("-f", "build/no-such"))
    assert.matches("no%-such", said("a", "--grammar", "build/no-such"))
    assert.matches("no%-such", said("a", "--lora", "build/no-such:2"))
    assert.matches("no%-such", said("a", "--draft", "build/no-such"))
    assert.matches("grammar and schema together", said("a", "--grammar", "README.md", "--json-schema", "{}"))
    assert.matches("%-%-kv: want a type name", said("a", "--kv", "q9"))
  end)
end)
