--- Comparing models: the table in its forms, the heat map, the report page in
--- a real browser.
local browser = require "spec.support.browser"
local core = require "wane.core"
local demo = require "spec.support.demo"
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local wane = require "wane"

-- One comparison that several tests look at; it holds no handles.
local made
local function comparison()
  made = made or assert(wane.eval.compare {
    reference = demo.path,
    candidates = { "Q4_K_M", "Q2_K", { name = "<b>odd & name</b>", recipe = wane.recipe "Q8_0" } },
    text = demo.text(), context = 96, chunks = 2, tasks = { wane.eval.tasks.copy { n = 1 } },
    heat = { context = 32, batch = 8 }, passage = 60,
  })
  return made
end

-- What a script in the page finds out about how it looks.
local INSPECT = [[<script>addEventListener("load",function(){
function lum(c){var m=c.match(/[\d.]+/g).map(Number).slice(0,3).map(function(v){v/=255;
return v<=.03928?v/12.92:Math.pow((v+.055)/1.055,2.4)});return .2126*m[0]+.7152*m[1]+.0722*m[2]}
function ratio(a,b){a=lum(a);b=lum(b);return (Math.max(a,b)+.05)/(Math.min(a,b)+.05)}
var card=getComputedStyle(document.querySelector(".card")),out=[];
out.push("ink="+ratio(card.color,card.backgroundColor).toFixed(2));
out.push("note="+ratio(getComputedStyle(document.querySelector(".note")).color,card.backgroundColor).toFixed(2));
out.push("dark="+(lum(getComputedStyle(document.body).backgroundColor)<.2));
out.push("overflow="+(document.documentElement.scrollWidth-innerWidth));
var outside=0;document.querySelectorAll(".pane:not([hidden]) svg text,.card>svg text").forEach(function(t){
var s=t.ownerSVGElement.getBoundingClientRect(),r=t.getBoundingClientRect();
if(s.width&&r.width&&(r.left<s.left-1||r.right>s.right+1||r.top<s.top-1||r.bottom>s.bottom+1))outside++});
out.push("outside="+outside);
var l=[].map.call(document.querySelectorAll(".label"),function(t){return t.getBoundingClientRect()}),over=0;
l.forEach(function(a,i){l.slice(i+1).forEach(function(b){
if(a.left<b.right&&b.left<a.right&&a.top<b.bottom-3&&b.top<a.bottom-3)over++})});
out.push("overlap="+over);
out.push("bold="+document.querySelectorAll("b").length+"/"+[].filter.call(document.querySelectorAll("b"),
function(b){return b.textContent==="odd & name"}).length);
document.querySelectorAll("nav button")[1].click();
out.push("panes="+[].map.call(document.querySelectorAll(".pane"),function(p){return p.hidden?0:1}).join(""));
out.push("requests="+performance.getEntriesByType("resource").length);
out.push("heat="+new Set([].map.call(document.querySelectorAll(".heat"),function(r){return getComputedStyle(r).fill})).size);
document.body.setAttribute("data-found",out.join(";"))})</script></body>]]

local function inspect(html, dark, size)
  local path = support.tmp "page.html"
  support.spit(path, (html:gsub("</body>", function() return INSPECT end)))
  local dom = browser.dom(browser.absolute(path), dark, size)
  os.remove(path)
  local found = {}
  for key, v in (dom:match 'data%-found="([^"]*)"' or ""):gmatch "(%w+)=([^;]*)" do found[key] = v end
  return found
end

describe("eval.compare", function()
  support.check_leaks()

  it("fills a row for each model", function()
    local c = comparison()
    assert.equals(4, #c.rows)
    local f16, q4, q2 = c.rows[1], c.rows[2], c.rows[3]
    assert.is_nil(f16.kld)
    assert.equals(14762464, f16.bytes)
    assert.is_true(q2.bytes < q4.bytes and q2.kld > q4.kld and q4.kld > c.rows[4].kld)
    assert.near(q4.ppl / f16.ppl - 1, q4.ppl_change, 1e-9)
    for _, row in ipairs(c.rows) do
      assert.is_true(row.prompt_tps > 0 and row.decode_tps > 0 and row.load_seconds > 0)
      assert.is_true(row.peak_bytes > row.bytes and row.peak_bytes < row.bytes + 32 * 2 ^ 20)
      assert.is_true(row.task_1 >= 0 and row.task_1 <= 1)
    end
    -- the size of the file that would be written
    local path = support.tmp "size.gguf"
    local report = assert(wane.quantize { from = demo.path, to = path, recipe = "Q4_K_M" })
    os.remove(path)
    assert.is_true(math.abs(report.file_bytes - q4.bytes) < 256)
  end)

  it("is the same as asking part by part", function()
    local reference, q4 = assert(wane.load(demo.path)), assert(wane.eval.shrink(demo.path, "Q4_K_M"))
    local d = assert(wane.eval.divergence(reference, { q4 }, demo.text(), { context = 96, chunks = 2 }))[1]
    local row = comparison().rows[2]
    assert.equals(d.kld.mean, row.kld)
    assert.equals(d.kld_quantile(0.99), row.kld_p99)
    assert.equals(d.same_top, row.same_top)
    reference:close()
    q4:close()
  end)

  it("prints text, Markdown, CSV and JSON", function()
    local c = comparison()
    assert.matches("Q4_K_M +4,58%d,%d%d%d +4%.92", c:text())
    assert.equals(6, select(2, c:markdown():gsub("\n", "")) + 1)
    local header = c:csv():match "^[^\r]+"
    assert.matches("^name,bytes,bpw,ppl,ppl_err,ppl_change,ppl_change_err,kld,kld_err,kld_median,kld_p99,kld_max,same_top,rms_dp", header)
    local j = require("cjson").decode(c:json())
    assert.equals(4, #j.rows)
    assert.near(c.rows[2].kld, j.rows[2].kld, 1e-15)
    assert.equals(60, #j.passage.tokens)
    for _, ending in ipairs { "html", "md", "csv", "json", "txt" } do
      local path = support.tmp("c." .. ending)
      assert(c:save(path))
      assert.is_true(#support.slurp(path) > 100)
      os.remove(path)
    end
    assert.error_matches(function() c:save "x.pdf" end, "want a name ending in")
    assert.is_nil((c:save "no/such/folder/x.md"))
  end)

  it("finds the front: nothing in it is beaten", function()
    local front = comparison():pareto()
    for i = 2, #front do
      assert.is_true(front[i].bytes > front[i - 1].bytes and front[i].kld < front[i - 1].kld)
    end
    for _, row in ipairs(comparison().rows) do
      if row.kld then
        local covered = false
        for _, f in ipairs(front) do
          if f.bytes <= row.bytes and f.kld <= row.kld then covered = true end
        end
        assert.is_true(covered)
      end
    end
  end)

  it("measures every tensor alone", function()
    local map = comparison().heat.Q4_K_M
    assert.equals(58, #map.cells)
    local seen, worst = {}, 0
    for _, c in ipairs(map.cells) do
      assert.is_nil(seen[c.name])
      seen[c.name] = true
      worst = math.max(worst, c.kld)
      assert.is_true(c.kld > -1e-6 and c.kld < 0.1)
    end
    assert.is_true(seen["output.weight"] and seen["blk.7.ffn_down.weight"])
    -- against a model with only that tensor changed
    local reference = assert(wane.load(demo.path))
    local one = assert(wane.eval.shrink(demo.path, "Q4_K_M", { only = function(d) return d.name == map.worst end }))
    local d = assert(wane.eval.divergence(reference, { one }, demo.text(), { context = 32, chunks = 1 }))
    assert.near(worst, d[1].kld.mean, 1e-9)
    reference:close()
    one:close()
  end)

  it("takes files, loaded models and functions as candidates", function()
    local path = support.tmp "cand.gguf"
    assert(wane.quantize { from = demo.path, to = path, recipe = "Q8_0" })
    local model = assert(wane.load(demo.path))
    local c = assert(wane.eval.compare {
      reference = model, text = demo.text(), context = 64, chunks = 1, speed = false, heat = false,
      candidates = { path, model, function(t) return t.role == "output" and "q8_0" or "keep" end, "Q8_0" },
      tensor = "output.weight",
    })
    assert.equals(c.rows[5].kld, c.rows[2].kld)
    assert.equals(0, c.rows[3].kld)
    assert.is_true(c.rows[4].kld > 0 and c.rows[4].kld < c.rows[2].kld)
    assert.equals("output.weight", c.weights[c.rows[2].name].name)
    -- a row for each kind of activations
    c = assert(wane.eval.compare {
      reference = model, text = demo.text(), context = 64, chunks = 1, speed = false,
      candidates = { path, { path = path, activations = "float" }, { format = "int8", name = "W8A8", activations = "int8" } },
    })
    assert(c.rows[3].name:find(", float activations", 1, true), c.rows[3].name)
    assert.equals("W8A8", c.rows[4].name)
    assert(c.rows[3].kld < c.rows[2].kld and c.rows[4].kld > c.rows[2].kld)
    assert.error_matches(function()
      wane.eval.compare { reference = model, text = demo.text(), candidates = { { model = model, activations = "float" } } }
    end, "option 'activations': a loaded model has its own")
    model:close()
    os.remove(path)
  end)

  it("says what is wrong before it loads anything", function()
    local function compare(o)
      return function() wane.eval.compare(o) end
    end
    assert.error_matches(compare { candidates = { "Q8_0" }, text = "x" }, "'reference' is missing")
    assert.error_matches(compare { reference = demo.path, candidates = {}, text = "x" }, "option 'candidates': want a list, at least 1")
    assert.error_matches(compare { reference = demo.path, candidates = { "Q8_0" } }, "'text' is missing")
    assert.error_matches(compare { reference = demo.path, candidates = { "Q8_0" }, text = "x", heet = 1 }, "unknown option 'heet'")
    assert.error_matches(compare { reference = demo.path, candidates = { "Q11" }, text = demo.text() }, "candidate 1: 'Q11' is no file")
    assert.error_matches(compare { reference = demo.path, candidates = { { recipes = 1 } }, text = demo.text() }, "unknown option 'recipes'")
    assert.error_matches(compare { reference = demo.path, candidates = { "Q8_0" }, text = "x", tasks = { "nap" } }, "no task 'nap'")
    for _, case in ipairs {
      { { "Q8_0" }, "too short", "fewer than one chunk" }, { { "absent.gguf" }, demo.text(), "absent.gguf" },
      { { "IQ1_S" }, demo.text(), "importance matrix" },
    } do
      local c, message = wane.eval.compare { reference = demo.path, candidates = case[1], text = case[2], speed = false }
      assert.is_nil(c)
      assert.truthy(message:find(case[3], 1, true), message)
    end
    local path = tiny.write()
    local c, message = wane.eval.compare { reference = demo.path, candidates = { path }, text = demo.text(), speed = false }
    assert.is_nil(c)
    assert.matches("different vocabularies", message)
    os.remove(path)
  end)

  it("gives memory back when a later part fails", function()
    local before = core.memory().blocks
    local ok = pcall(wane.eval.compare, { reference = demo.path, candidates = { "Q8_0" }, text = demo.text(), context = 64,
      chunks = 1, speed = false, tasks = { function() error "task fails" end } })
    assert.is_false(ok)
    support.collect()
    assert.is_true(core.memory().blocks <= before)
  end)
end)

describe("the report page", function()
  support.check_leaks()

  it("is one file without links out", function()
    local html = comparison():html()
    assert.is_nil(html:find("src=", 1, true))
    assert.is_nil(html:find("href=", 1, true))
    assert.is_nil(html:find("url(", 1, true))
    assert.is_nil(html:find("http", 1, true))
    assert.is_nil(html:find("<b>odd", 1, true)) -- names are text
    assert.truthy(html:find("&lt;b&gt;odd &amp; name&lt;/b&gt;", 1, true))
    assert.equals(3, select(2, html:gsub('class="pane"', "")))
  end)

  it("has a cell for each tensor and a span for each token", function()
    local html = comparison():html()
    local _, cells = html:gsub('class="heat" style="%-%-k:[%d.]+"/></?[gt]', "")
    assert.is_true(cells >= 58)
    local _, spans = html:gsub('<span[^>]* title="KLD', "")
    assert.equals(3 * 60, spans)
  end)

  for _, dark in ipairs { false, true } do
    it("looks right in a browser, " .. (dark and "dark" or "light"), function()
      browser.find()
      local found = inspect(comparison():html(), dark)
      assert.equals(tostring(dark), found.dark)
      assert.is_true(tonumber(found.ink) >= 7, "contrast of text " .. found.ink)
      assert.is_true(tonumber(found.note) >= 4.5, "contrast of notes " .. found.note)
      assert.equals("0", found.overflow)
      assert.equals("0", found.outside)
      assert.equals("0", found.overlap)
      assert.equals("010", found.panes)
      assert.equals("0", found.requests)
      assert.is_true(tonumber(found.heat) > 20)
    end)
  end

  it("fits a telephone: nothing but pictures and tables is wider, and those scroll", function()
    browser.find()
    local found = inspect(comparison():html(), false, "500,900") -- the least that a headless window can be
    assert.equals("0", found.overflow)
    assert.equals("0", found.outside)
  end)

  it("says where it came from", function()
    local c = comparison()
    local o = c.origin
    assert.matches("^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d UTC$", o.date)
    assert.equals(wane.version, o.version)
    assert.equals(1, #o.files) -- the others were made in memory
    local p = assert(io.popen("sha256sum " .. demo.path))
    assert.equals(p:read "*a":match "^%x+", o.files[1].sha256)
    p:close()
    assert.equals(#demo.text(), o.text.bytes)
    assert.equals(c.tokens, o.text.tokens)
    local html = c:html()
    for _, text in ipairs { o.date, o.files[1].sha256, o.text.sha256, "wane " .. wane.version, o.threads .. " threads", "nats" } do
      assert.truthy(html:find(text, 1, true), text)
    end
  end)

  it("lists the tokens that suffer most, from the whole text", function()
    for k, m in ipairs(comparison().passage.models) do
      assert.equals(12, #m.worst)
      for i = 2, 12 do assert.is_true(m.worst[i].kld <= m.worst[i - 1].kld) end
      assert.equals(comparison().rows[k + 1].kld_max, m.worst[1].kld)
    end
    assert.equals(3 * 12, select(2, comparison():html():gsub("<mark>", "")))
  end)

  it("ties tie", function()
    local c = comparison()
    local twin = {}
    for key, v in pairs(c.rows[4]) do twin[key] = v end
    twin.name = "its twin"
    c.rows[5] = twin
    local front, html = c:pareto(), c:html()
    c.rows[5] = nil
    assert.equals("<b>odd & name</b>", front[#front - 1].name .. (front[#front].name == "its twin" and "" or "?"))
    assert.truthy(html:find("no difference measured", 1, true))
    assert.truthy(html:find("&lt;b&gt;odd &amp; name&lt;/b&gt; = its twin", 1, true))
    assert.is_nil(c:html():find("no difference measured", 1, true))
    -- the error of the change is paired: much smaller than those of the perplexities
    for i = 2, 4 do assert.is_true(c.rows[i].ppl_change_err < c.rows[i].ppl_err / c.rows[i].ppl) end
  end)

  it("paints different pictures for light and dark", function()
    browser.find()
    local path = support.tmp "shot.html"
    support.spit(path, comparison():html())
    local light = browser.screenshot(browser.absolute(path))
    local dark = browser.screenshot(browser.absolute(path), true)
    os.remove(path)
    for _, png in ipairs { light, dark } do
      assert.equals("\137PNG\r\n\26\n", png:sub(1, 8))
      local w, h = png:byte(19) * 256 + png:byte(20), png:byte(23) * 256 + png:byte(24)
      assert.equals(1280, w)
      assert.equals(1600, h)
      assert.is_true(#png > 40000) -- an empty page compresses to far less
    end
    assert.not_equals(light, dark)
  end)

  it("shows bytes that are no text, and marks line breaks", function()
    local charts = require "wane.eval.charts"
    assert.equals("&lt;a&gt; &amp; &quot;", charts.escape '<a> & "')
    assert.equals("\\xff\\x00x", charts.escape "\255\0x")
    assert.equals("\195\164", charts.escape "\195\164")
    assert.equals("\\xc3", charts.escape "\195")
  end)
end)
