--- Sweeps: jobs of many processes make what one process makes.
local cli = require "wane.cli"
local core = require "wane.core"
local demo = require "spec.support.demo"
local json = require "wane.json"
local support = require "spec.support"
local sweep = require "wane.sweep"
local wane = require "wane"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")
local BUILD, LUA = os.getenv "WANE_BUILD" or "build", os.getenv "WANE_LUA" or "luajit"
local TEXT, CALIB = "examples/text/heldout.txt", "examples/text/calib.txt"
local OPTS = { model = demo.path, text = TEXT, calibrate = CALIB, recipes = { "Q4_K_M", "Q8_0" }, context = 64, chunks = 3,
  calibrate_chunks = 5, per_job = 2, shards = 2 }

-- A program that other processes call, in a folder.
local function program(folder)
  local path = folder .. "/wane"
  support.spit(path, ([[#!/bin/sh
LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH='%s/%s/?.so;;' exec %s lua/wane/cli/wane.lua "$@"
]]):format(BUILD, LUA, LUA))
  os.execute("chmod +x " .. path)
  return path
end

local function run(...)
  if not pcall(require, "argparse") then support.skip "argparse is absent" end
  local lines, notes = {}, {}
  local status = cli.main({ ... }, {
    print = function(s) lines[#lines + 1] = tostring(s) end, write = function(s) lines[#lines + 1] = s end,
    note = function(s) notes[#notes + 1] = s end, progress = function() end,
  })
  return status, table.concat(lines, "\n"), table.concat(notes, "\n")
end

local function succeeds(command)
  local ok = os.execute(command)
  return ok == true or ok == 0
end

describe("sweep", function()
  local folders = {}

  local function folder()
    local path = support.tmp("sweep" .. #folders)
    os.execute("rm -rf " .. path .. " && mkdir -p " .. path)
    folders[#folders + 1] = path
    return path
  end

  local function plan(more)
    local o = { folder = folder() }
    for k, v in pairs(OPTS) do o[k] = v end
    for k, v in pairs(more or {}) do o[k] = v end
    return assert(sweep.plan(o))
  end

  support.check_leaks(nil, function()
    for _, path in ipairs(folders) do os.execute("rm -rf " .. path) end
    folders = {}
  end)

  -- Every result of a folder, by name.
  local function results(p)
    local out = {}
    for _, job in ipairs(p.jobs) do
      local name = job.output:match "[^/]*$"
      out[name] = support.slurp(job.output)
    end
    for _, ending in ipairs { "html", "md", "csv", "txt" } do out["report." .. ending] = support.slurp(p.folder .. "/report." .. ending) end
    return out
  end

  -- The files of a plan that one process made, job after job.
  local function whole(more)
    local p = plan(more)
    for _, job in ipairs(p.jobs) do assert.equals("done", assert(p:run(job.name, { threads = 1 }))) end
    return results(p), p
  end

  local function same(want, got)
    for name, bytes in pairs(want) do assert.is_true(bytes == got[name], name .. " differs") end
  end

  it("makes what the other commands make", function()
    local files, p = whole()
    -- the matrix of one run of `wane imatrix`
    local model = assert(wane.load(demo.path, { threads = 1 }))
    local path = p.folder .. "/one.gguf"
    assert(wane.calibrate.imatrix(model, support.slurp(CALIB), { context = 64, chunks = 5, save = path, save_every = 2, dataset = CALIB }))
    assert.is_true(files["imatrix.gguf"] == support.slurp(path))
    -- the files of one run of `wane quantize --split 2`
    for _, recipe in ipairs(OPTS.recipes) do
      assert(require "wane.quantize" { from = demo.path, to = p.folder .. "/" .. recipe .. "-split.gguf", recipe = recipe,
        split = 2, imatrix = path })
      for i = 1, 2 do
        local one = support.slurp(("%s/%s-split-0000%d-of-00002.gguf"):format(p.folder, recipe, i))
        assert.is_true(files[("%s-0000%d-of-00002.gguf"):format(recipe, i)] == one)
      end
    end
    -- the numbers of one run of `wane compare`, to the last bit
    local c = assert(wane.eval.compare { reference = model, text = support.slurp(TEXT), context = 64, chunks = 3, speed = false,
      candidates = { p.folder .. "/Q4_K_M-00001-of-00002.gguf", p.folder .. "/Q8_0-00001-of-00002.gguf" } })
    model:close()
    local r = json.decode(files["report.json"])
    assert.equals(3 * 31, r.tokens)
    for i, row in ipairs(c.rows) do
      for _, key in ipairs { "bytes", "bpw", "ppl", "ppl_err", "ppl_change", "kld", "kld_err", "kld_max", "kld_median", "kld_p99",
        "same_top", "rms_dp" } do
        assert.equals(row[key], r.rows[i][key], key)
      end
    end
    assert.equals("Q8_0", r.rows[3].name)
    assert.equals(json.encode(c.passage.models[1].kld), json.encode(r.passage.models[1].kld))
    assert.truthy(files["report.html"]:find("Q4_K_M", 1, true))
    -- and nothing twice
    for _, job in ipairs(p.jobs) do assert.equals("there", assert(p:run(job.name))) end
  end)

  it("gives the same bytes from several processes of make and of parallel", function()
    local more = { calibrate_chunks = 3, recipes = { "Q4_0" }, chunks = 2, per_job = 1 }
    local want = whole(more)
    local p = plan(more)
    local makefile = assert(p:emit("make", program(p.folder)))
    assert.is_true(succeeds(("make -s -j3 -f %s >%s/log 2>&1"):format(makefile, p.folder)), support.slurp(p.folder .. "/log"))
    same(want, results(p))
    assert.is_true(succeeds(("make -q -f %s"):format(makefile))) -- nothing is left to do
    os.remove(p.folder .. "/report.json")
    os.remove(p.folder .. "/Q4_0-00002-of-00002.gguf") -- one machine was lost: its part is made again
    assert.is_true(succeeds(("make -s -j3 -f %s >%s/log 2>&1"):format(makefile, p.folder)), support.slurp(p.folder .. "/log"))
    same(want, results(p))
    if not succeeds "command -v parallel >/dev/null" then support.skip "GNU parallel is not installed" end
    p = plan(more)
    local script = assert(p:emit("parallel", program(p.folder)))
    assert.is_true(succeeds(("sh %s --jobs 3 >%s/log 2>&1"):format(script, p.folder)), support.slurp(p.folder .. "/log"))
    same(want, results(p))
  end)

  it("runs from Slurm's scripts, in arrays that wait for one another", function()
    local o = { folder = folder(), model = demo.path, text = TEXT, recipes = { "Q4_0" }, context = 64, chunks = 2, per_job = 1, shards = 2 }
    local one = assert(sweep.plan(o))
    for _, job in ipairs(one.jobs) do assert(one:run(job.name, { threads = 1 })) end
    local want = results(one)
    o.folder = folder()
    local p = assert(sweep.plan(o))
    local script = assert(p:emit("slurm", program(p.folder)))
    -- an sbatch that runs each task of an array at once, and checks what it is told
    support.spit(p.folder .. "/sbatch", ([[#!/bin/sh
for last; do :; done
echo "$@" >> %s/calls
n=$(sed -n 's/^#SBATCH --array=1-//p' "$last")
i=1
while [ $i -le $n ]; do SLURM_ARRAY_TASK_ID=$i sh "$last" >&2 || exit 1; i=$((i + 1)); done
echo "$n$(wc -l < %s/calls)"
]]):format(p.folder, p.folder))
    os.execute("chmod +x " .. p.folder .. "/sbatch")
    assert.is_true(succeeds(("PATH=%s:$PATH sh %s --mem=1G >%s/log 2>&1"):format(p.folder, script, p.folder)), support.slurp(p.folder .. "/log"))
    same(want, results(p))
    local calls = support.slurp(p.folder .. "/calls")
    assert.truthy(calls:find "^%-%-parsable %-%-kill%-on%-invalid%-dep=yes %-%-mem=1G [^\n]*stage%-1%.sbatch\n")
    assert.truthy(calls:find("\n--parsable --dependency=afterok:21 --kill-on-invalid-dep=yes", 1, true), calls)
    assert.truthy(calls:find("\n--parsable --dependency=afterok:22 --kill-on-invalid-dep=yes", 1, true), calls)
  end)

  it("refuses what would give other results", function()
    local text = support.tmp "sweep.txt"
    support.spit(text, support.slurp(TEXT))
    local p = plan { text = text, calibrate = text, per_job = 9, shards = 1, recipes = { "Q4_0" } }
    local function refused(job, code, pattern)
      local ok, message, kind = p:run(job)
      assert.is_nil(ok)
      assert.equals(code, kind)
      assert.truthy(message:find(pattern, 1, true), message)
    end
    refused("nothing", "EARG", "there is no job 'nothing'")
    refused("Q4_0-1", "ENOENT", "imatrix.gguf, the output of imatrix")
    refused("report", "ENOENT", "the output of measure-Q4_0-1")
    support.spit(text, support.slurp(TEXT) .. "x")
    refused("imatrix-1", "EDATA", "this is not the text that was planned with")
    local changed = json.decode(support.slurp(p.folder .. "/plan.json"))
    changed.isa = core.cpu().isa .. "x"
    support.spit(p.folder .. "/plan.json", json.encode(changed))
    p = assert(sweep.open(p.folder))
    refused("imatrix-1", "EUNSUP", "set WANE_ISA=" .. changed.isa)
    changed.isa, changed.model.digest = core.cpu().isa, ("0"):rep(32)
    support.spit(p.folder .. "/plan.json", json.encode(changed))
    p = assert(sweep.open(p.folder))
    refused("imatrix-1", "EDATA", "this is not the model that was planned with")
    os.remove(text)
  end)

  it("refuses plans and parts that are none", function()
    local where = folder()
    for _, bad in ipairs { "", "[]", '{"model":1}', '{"isa":"avx2","names":["a"],"recipes":["b"]}',
      '{"model":{"path":"a","digest":"b"},"text":{"path":"a","digest":"b","chunks":0},"context":1,"per_job":1,"shards":1,'
        .. '"recipes":["a"],"names":["a"],"isa":"x"}' } do
      support.spit(where .. "/plan.json", bad)
      local ok, message, code = sweep.open(where)
      assert.is_nil(ok)
      assert.equals("EFORMAT", code)
      assert.truthy(message:find("plan.json: this is no plan of wane sweep", 1, true))
    end
    local p = plan { recipes = { "Q8_0" }, chunks = 1, calibrate_chunks = 1, shards = 1 }
    for _, name in ipairs { "imatrix-1", "imatrix", "Q8_0-1" } do assert(p:run(name)) end
    for _, bad in ipairs { "x", "{}", '{"first":1,"n":1,"positions":{"target":"1 2"}}',
      '{"first":1,"n":1,"positions":{"target":"1 2","nll_p":"a b"}}', '{"first":1,"n":1,"positions":{"target":"1 2","nll_p":"1"}}' } do
      support.spit(p.folder .. "/measure-Q8_0-1.json", bad)
      local ok, message, code = p:run "report"
      assert.is_nil(ok)
      assert.equals("EFORMAT", code)
      assert.truthy(message:find("measure-Q8_0-1.json", 1, true))
    end
  end)

  it("tells of what it is asked wrongly", function()
    local o = { folder = folder() }
    for k, v in pairs(OPTS) do o[k] = v end
    local function refused(pattern, more)
      local c = {}
      for k, v in pairs(o) do c[k] = v end
      for k, v in pairs(more) do c[k] = v end
      local ok, message = sweep.plan(c)
      assert.is_nil(ok)
      assert.truthy(message:find(pattern, 1, true), message)
    end
    refused("two recipes have the name 'Q4_0'", { recipes = { "Q4_0", "x/Q4_0.lua" } })
    refused("want a name of letters", { recipes = { "a b" } })
    refused("no_such", { recipes = { "no_such" } })
    refused("fewer than one chunk of 4000000", { context = 4000000 })
    refused("plan.json", { folder = o.folder .. "/none" })
    assert.error_matches(function() sweep.plan { folder = "x" } end, "sweep.plan: option '%w+'")
    assert.error_matches(function() plan():emit "ninja" end, "want \"make\", \"parallel\" or \"slurm\"")
  end)

  it("is a command", function()
    local where = folder()
    local status, out, notes = run("sweep", "Q4_0", "--model", demo.path, "--text", TEXT, "-c", "64", "--chunks", "1", "--emit", "make", "-o", where)
    assert.equals(0, status, notes)
    assert.truthy(out:find("/Makefile: 3 jobs: 0 of importance, 1 of shrinking, 1 of measuring, 1 report", 1, true), out)
    status, out, notes = run("sweep", "job", where, "Q4_0-1", "-t", "1")
    assert.equals(0, status, out .. notes)
    assert.truthy(notes:find("Q4_0-1: done", 1, true))
    status, out = run("sweep", "all", where)
    assert.equals(0, status)
    assert.truthy(out:find "Q4_0 +%d")
    for _, case in ipairs { { "sweep wants --model", "Q4_0" }, { "job wants a folder", "job", where }, { "all wants a folder", "all" },
      { "there is no job 'x'", "job", where, "x" } } do
      status, out, notes = run("sweep", unpack(case, 2))
      assert.equals(1, status, out)
      assert.truthy(notes:find(case[1], 1, true), notes)
    end
    status, out, notes = run("sweep", "Q4_0", "--model", demo.path, "--text", TEXT, "--emit", "ninja", "-o", where)
    assert.equals(1, status, out)
    assert.truthy(notes:find("--emit: want make, parallel or slurm, found 'ninja'", 1, true))
  end)
end)
