--- The reference: docs/reference.md, doc/wane.txt (vimdoc),
--- docs/architectures.md and lua/wane/types.lua (for the Lua language server),
--- made from the comments in lua/wane and csrc/lua; the manual page and the
--- completions, made from the rows of the command line (wane.cli.verbs).
---
---     for path, text in pairs(require("spec.support.reference").files()) do ... end
---
--- What is read: the comment at the head of a file, classes with their fields,
--- and comments right above functions (LuaCATS: @param, @return, @field, and
--- @error, ours: when a function raises, or "none"; at the head of a file it
--- holds for all functions of the page; lines indented by two spaces or more are
--- examples). Functions
--- whose name begins with "_" and functions without a comment are left out.
--- `make reference` writes the files, spec/reference_spec.lua compares them.
local M = {}

-- What users call, in the order of the reference: file, name, how methods of
-- its table are called.
local MODULES = {
  { "init", "wane" }, { "demo", "wane.demo", single = true }, { "gguf", "wane.gguf" }, { "quant", "wane.quant" },
  { "quant/custom", "wane.quant" }, { "quant/make", "wane.quant" },
  { "recipe", "wane.recipe" }, { "recipe/view", "the tensor that a recipe sees" }, { "quantize", "wane.quantize" },
  { "provenance", "wane.provenance" }, { "imatrix", "wane.imatrix" }, { "calibrate/init", "wane.calibrate" },
  { "calibrate/gptq", "wane.calibrate.gptq", single = true }, { "calibrate/awq", "wane.calibrate.awq" },
  { "calibrate/learn", "wane.calibrate.learn", single = true },
  { "calibrate/guide", "wane.calibrate" }, { "tune", "wane.tune" },
  { "search/sensitivity", "wane.eval.sensitivity" }, { "search/solve", "wane.recipe" }, { "eval", "wane.eval" },
  { "eval/perplexity", "wane.eval.perplexity", single = true }, { "eval/divergence", "wane.eval.divergence", single = true },
  { "eval/compare", "wane.eval.compare" }, { "eval/comparison", "wane.eval.compare" },
  { "eval/shrink", "wane.eval.shrink" }, { "eval/tasks", "wane.eval.tasks" },
  { "fit", "wane.fit" }, { "explain", "wane.explain" }, { "model", "wane" }, { "generate", "wane.generate" },
  { "batch", "wane.batch" }, { "lora", "wane.lora" }, { "sample", "wane.sample" }, { "grammar", "wane.grammar" },
  { "schema", "wane.schema" }, { "chat", "wane.chat" }, { "reply", "wane.reply" }, { "answer", "wane.answer" },
  { "template", "wane.template" }, { "embed", "wane.embed" }, { "vocab", "wane.vocab" }, { "convert", "wane.convert" },
  { "report", "wane.report" }, { "json", "wane.json" }, { "arch/init", "wane.arch" }, { "arch/graph", "wane.arch.graph" },
  { "serve/init", "wane.serve" }, { "sweep", "wane.sweep" },
}

local function lines_of(path)
  local f = io.open(path)
  if not f then return nil end
  local list = {}
  for line in f:lines() do list[#list + 1] = line end
  f:close()
  return list
end

-- A comment's line without its dashes, or nil.
local function comment(line) return line:match "^%-%-%-?(.*)$" end

-- A block of comment lines as { text = lines, params =, returns =, fields =, class = }.
local function parse(block)
  local out, last = { text = {}, params = {}, returns = {}, fields = {}, errors = {} }, nil
  for _, line in ipairs(block) do
    local tag, rest = line:match "^@(%w+)%s*(.*)$"
    local list = ({ param = out.params, ["return"] = out.returns, field = out.fields, error = out.errors })[tag]
    if list then
      last = { rest }
      list[#list + 1] = last
    elseif tag == "class" then
      out.class, last = rest:match "^(%S+)", nil
    elseif tag then
      last = nil
    elseif last and line:find "^%s%s" then
      last[#last + 1] = line:match "^%s*(.-)%s*$"
    elseif #out.params + #out.returns + #out.fields + #out.errors == 0 then
      out.text[#out.text + 1] = (line:gsub("^ ", ""))
    end
  end
  return out
end

-- "name type what is said" of a tag, its type kept whole: brackets and what
-- stands between bars belong together.
local function split_type(text)
  local depth, i = 0, 1
  while i <= #text do
    local c = text:sub(i, i)
    if c:find "[%(%[{<]" then depth = depth + 1 end
    if c:find "[%)%]}>]" then depth = depth - 1 end
    if c == " " and depth <= 0 and not text:sub(1, i):find "[:,|]%s*$" and not text:find("^%s*|", i) then break end
    i = i + 1
  end
  return text:sub(1, i - 1), (text:sub(i + 1):gsub("^%s+", ""))
end

-- How a function is called, from its line; nil when it is none that users see.
local function called(line, module, classes)
  local name, arguments = line:match "^function%s+([%w_.:]+)%s*(%b())"
  if not name then
    arguments = line:match "^return function(%b())" or line:match "^return setmetatable%(M, {%s*$" and "(o)"
    if arguments then return module.name .. arguments, module.name end
    name = line:match "^M%.([%w_]+) = %w+%.[%w_]+$"
    if not name then return nil end
    local own = require("wane." .. module[1]:gsub("/init$", ""):gsub("/", "."))[name]
    return ("%s.%s%s"):format(module.name, name, type(own) == "function" and "(...)" or ""), module.name .. "." .. name
  end
  local owner, sep, own = name:match "^([%w_]+)([.:])([%w_]+)$"
  if not owner or own:find "^_" then return nil end
  local base
  if owner == "M" or owner == "wane" then
    base = module.name
  else
    base = classes[owner]
    if not base then return nil end
    base = base:match "[^.]+$":lower()
  end
  return base .. sep .. own .. arguments, base .. sep .. own
end

-- One file as { head =, classes =, functions = }, in the file's order.
local function read(module)
  local lines = lines_of("lua/wane/" .. module[1] .. ".lua")
  if not lines then return nil end
  module.name = module[2]
  local out, block, classes, waiting = { head = nil, items = {} }, {}, {}, nil
  for i, line in ipairs(lines) do
    local said = comment(line)
    if said and not line:find "^#!" then
      if said:find "^@class" and #block > 0 and not block.class then -- fields of one class follow another's
        block.class = true
      end
      block[#block + 1] = said
      block.dashes = block.dashes or line:sub(1, 3) == "---"
    else
      if #block > 0 then
        local p = parse(block)
        if not out.head then
          out.head, out.errors, p.text = p.text, p.errors, p.class and p.text or {}
        end
        if p.class then
          out.items[#out.items + 1] = { class = p.class, text = out.head == p.text and {} or p.text, fields = p.fields }
          waiting = p.class
        end
        local how, tag = called(line, module, classes)
        if how and block.dashes and #p.text > 0 and i > #block + 1 then
          p.how, p.tag = how, tag
          out.items[#out.items + 1] = p
        elseif how and module.single and tag == module.name then
          p.how, p.tag = how, tag
          out.items[#out.items + 1] = p
        end
      end
      local owner = line:match "^local ([%w_]+) = {" or line:match "^local ([%w_]+) = setmetatable"
      if owner and waiting then classes[owner], waiting = waiting, nil end
      block = {}
    end
  end
  return out
end

local function all()
  local list = {}
  for _, module in ipairs(MODULES) do
    local page = read(module)
    if page then
      page.name, page.file = module[2], module[1]
      list[#list + 1] = page
    end
  end
  return list
end

-- ---- Markdown ---------------------------------------------------------------

-- Two spaces more than prose has.
local function is_example(line) return line:find "^  +" ~= nil end

-- Prose and examples of a comment as Markdown lines.
local function prose(out, text)
  local inside = false
  for _, line in ipairs(text) do
    if is_example(line) and line:find "%S" then
      if not inside then out[#out + 1] = "" end
      out[#out + 1] = "    " .. line:gsub("^  ? ?", "")
      inside = true
    else
      if inside and line:find "%S" then out[#out + 1] = "" end
      out[#out + 1] = (line:gsub("<", "&lt;"))
      inside = false
    end
  end
  out[#out + 1] = ""
end

local function tags(out, title, list, named)
  if #list == 0 then return end
  out[#out + 1] = title
  out[#out + 1] = ""
  for _, tag in ipairs(list) do
    local text = table.concat(tag, " ")
    local name, rest = "", text
    if named then
      name, rest = text:match "^(%S+)%s*(.*)$"
    end
    local kind, what = split_type(rest)
    out[#out + 1] = ("* %s`%s`%s"):format(named and "`" .. name .. "` " or "", kind, what ~= "" and " " .. what:gsub("<", "&lt;") or "")
  end
  out[#out + 1] = ""
end

-- What raises; of a page: what does in all of its functions.
local function raising(out, title, list)
  if #list == 0 then return end
  out[#out + 1] = title
  out[#out + 1] = ""
  for _, tag in ipairs(list) do out[#out + 1] = "* " .. table.concat(tag, " "):gsub("<", "&lt;") end
  out[#out + 1] = ""
end

local function markdown(pages)
  local out = { "# Reference", "", "Made from the comments in `lua/wane` by `make reference`. What the world does wrong comes back as",
    "`nil, message, code` ([errors.md](errors.md)); misuse raises. Under \"Raises\" stands what is special;",
    "a wrong type of an argument or an option, and an option that is not known, raise everywhere.", "" }
  for _, page in ipairs(pages) do out[#out + 1] = ("* `%s` (lua/wane/%s.lua)"):format(page.name, page.file) end
  out[#out + 1] = ""
  for _, page in ipairs(pages) do
    out[#out + 1] = "## " .. page.name
    out[#out + 1] = ""
    prose(out, page.head)
    raising(out, "All of it raises:", page.errors)
    for _, item in ipairs(page.items) do
      if item.class then
        if #item.fields > 0 then
          out[#out + 1] = "### " .. item.class
          out[#out + 1] = ""
          prose(out, item.text)
          tags(out, "Fields:", item.fields, true)
        end
      else
        out[#out + 1] = "### " .. item.how
        out[#out + 1] = ""
        prose(out, item.text)
        tags(out, "Takes:", item.params, true)
        tags(out, "Gives:", item.returns, false)
        raising(out, "Raises:", item.errors)
      end
    end
  end
  local text = table.concat(out, "\n"):gsub("[ \t]+\n", "\n"):gsub("\n\n\n+", "\n\n")
  return (text:gsub("%s+$", "")) .. "\n"
end

-- ---- vimdoc -----------------------------------------------------------------

local WIDTH = 78

local function wrap(out, text, indent, hang)
  local line = indent
  for word in text:gmatch "%S+" do
    if #line + #word + 1 > WIDTH and line:find "%S" then
      out[#out + 1] = line
      line = hang
    end
    line = line .. (line:find "%S" and " " or "") .. word
  end
  if line:find "%S" then out[#out + 1] = line end
end

local function vim_prose(out, text)
  local paragraph, inside = {}, false
  local function flush()
    if #paragraph > 0 then wrap(out, table.concat(paragraph, " "):gsub("[*|`]", ""), "", "") end
    paragraph = {}
  end
  for _, line in ipairs(text) do
    if is_example(line) and line:find "%S" then
      flush()
      if not inside then out[#out + 1] = ">lua" end
      out[#out + 1] = "    " .. line:gsub("^  ? ?", "")
      inside = true
    else
      if inside then out[#out + 1] = "<" end
      inside = false
      if line:find "%S" then paragraph[#paragraph + 1] = line else flush(); out[#out + 1] = "" end
    end
  end
  if inside then out[#out + 1] = "<" end
  flush()
  out[#out + 1] = ""
end

local function vim_tags(out, title, list)
  if #list == 0 then return end
  out[#out + 1] = title
  for _, tag in ipairs(list) do wrap(out, (table.concat(tag, " "):gsub("[*|`]", "")), "  - ", "    ") end
  out[#out + 1] = ""
end

local function vimdoc(pages)
  local used = {}
  local out = { "*wane.txt*  Load, shrink, judge and run GGUF language models", "" }
  local function mark(name)
    if used[name] then return "" end
    used[name] = true
    return "*" .. name .. "*"
  end
  for _, page in ipairs(pages) do
    out[#out + 1] = ("="):rep(WIDTH)
    local tag = mark(page.name:gsub("%s", "-") .. (page.file == "model" and "-model" or ""))
    out[#out + 1] = page.name .. (" "):rep(math.max(1, WIDTH - #page.name - #tag)) .. tag
    out[#out + 1] = ""
    vim_prose(out, page.head)
    vim_tags(out, "All of it raises:", page.errors)
    for _, item in ipairs(page.items) do
      if not item.class then
        tag = mark(item.tag .. "()")
        if tag ~= "" then out[#out + 1] = (" "):rep(math.max(1, WIDTH - #tag)) .. tag end
        out[#out + 1] = item.how .. " ~"
        out[#out + 1] = ""
        vim_prose(out, item.text)
        vim_tags(out, "Takes:", item.params)
        vim_tags(out, "Gives:", item.returns)
        vim_tags(out, "Raises:", item.errors)
      elseif #item.fields > 0 then
        tag = mark(item.class .. "-fields")
        if tag ~= "" then out[#out + 1] = (" "):rep(math.max(1, WIDTH - #tag)) .. tag end
        vim_tags(out, item.class .. " has:", item.fields)
      end
    end
  end
  out[#out + 1] = "vim:tw=78:ts=8:ft=help:norl:"
  local text = table.concat(out, "\n"):gsub("[ \t]+\n", "\n"):gsub("\n\n\n+", "\n\n")
  return text .. "\n"
end

-- ---- architectures ----------------------------------------------------------

local function architectures()
  local report, by_page, pages = require "wane.report", {}, {}
  local source = table.concat(assert(lines_of "lua/wane/arch/init.lua"), "\n")
  local listed = assert(source:match "for page, names in pairs (%b{})")
  for page, names in listed:gmatch "([%w_]+) = (%b{})" do
    by_page[page] = names:gsub('[{}"]', ""):match "^%s*(.-),?%s*$"
    pages[#pages + 1] = page
  end
  table.sort(pages)
  local t = report.table { { key = "names", title = "general.architecture" }, { key = "what", title = "what its page says" },
    { key = "page", title = "lua/wane/arch/" } }
  for _, page in ipairs(pages) do
    local words = {}
    for _, line in ipairs(assert(lines_of("lua/wane/arch/" .. page .. ".lua"))) do
      local said = comment(line)
      if not said then break end
      words[#words + 1] = said
    end
    local text = table.concat(words, " "):gsub("%s+", " "):gsub("^%s*[%w_%-, ]+: ", "")
    t:add { names = by_page[page], what = text:match "^(.-)[%.;]%s" or text, page = page .. ".lua" }
  end
  local n = #require("wane.arch").names()
  return table.concat({ "# Architectures", "", ("wane runs files of these %d architectures. Each is a page of Lua"):format(n),
    "([adding-an-architecture.md](adding-an-architecture.md)) whose logits are compared with llama.cpp's on tiny models",
    "(`spec/families_spec.lua`, which lists as pending what it has data for and no page).", "", t:markdown(), "",
    "A file of another architecture can be inspected, quantized and estimated, not run:",
    "`wane.load` says so with `EUNSUP`. Made from the pages by `make reference`.", "" }, "\n")
end

-- ---- types of what C gives ----------------------------------------------------

local CLASSES = { -- the name in C, the name for editors
  ["wane.buffer"] = "wane.Buffer", ["wane.blocks"] = "wane.core.Blocks", ["wane.hessian"] = "wane.core.Hessian",
  ["wane.match"] = "wane.Match", ["wane.grammar"] = "wane.Grammar", ["wane.candidates"] = "wane.Candidates",
  ["wane.context"] = "wane.core.Context", ["wane.model"] = "wane.core.Model", ["wane.sampler"] = "wane.core.Sampler",
  ["wane.generator"] = "wane.core.Generator", ["wane.job"] = "wane.core.Job", ["wane.vocab"] = "wane.core.Vocab",
  ["wane.gguf"] = "wane.core.Gguf", ["wane.program"] = "wane.core.Program",
}
local GIVES = { -- what editors should go on with
  ["wane.Buffer.shape"] = "integer rows, integer cols", ["wane.Buffer.rows"] = "wane.Buffer", ["wane.Buffer.copy"] = "wane.Buffer",
  ["wane.Buffer.set"] = "wane.Buffer", ["wane.Buffer.fill"] = "wane.Buffer", ["wane.Buffer.bytes"] = "string",
  ["wane.Buffer.table"] = "number[]", ["wane.core.Blocks.decode"] = "wane.Buffer", ["wane.core.Blocks.bytes"] = "string",
  ["wane.core.Blocks.type"] = "string", ["wane.core.Blocks.shape"] = "integer rows, integer cols",
  ["wane.Buffer.stats"] = "{ min: number, max: number, mean: number, std: number, absmax: number, n_nonfinite: integer }",
  ["wane.Match.allows"] = "boolean", ["wane.Match.count"] = "integer", ["wane.Match.ids"] = "integer[]",
  ["wane.Match.forced"] = "integer[]", ["wane.Match.complete"] = "boolean", ["wane.Match.may_end"] = "boolean",
  ["wane.Candidates.id"] = "integer", ["wane.core.Job.fd"] = "integer", ["wane.core.Job.ids"] = "integer[]",
}
local KEYWORDS = { ["end"] = true, ["repeat"] = true, ["function"] = true }

-- The comment above a C function, on one line; "" where there is none.
local function c_comment(source, name)
  local at = source:find("\nstatic int " .. name .. "%(lua_State")
  if not at then return "" end
  local text = source:sub(1, at):match "/%*([^/]-)%*/%s*$" or ""
  return (text:gsub("\n%s*%*?", " "):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

-- Names of the arguments that a comment shows: b:rows(first [, last]).
local function c_arguments(said, name)
  local list, seen = {}, {}
  for word in (said:match("[%w_]+:" .. name .. "(%b())") or ""):gmatch "[%a_][%w_]*" do
    if not seen[word] and not KEYWORDS[word] then
      list[#list + 1], seen[word] = word, true
    end
  end
  return table.concat(list, ", ")
end

local function types()
  local p, found = assert(io.popen "ls csrc/lua/*.c"), {}
  for path in p:lines() do
    local source = table.concat(lines_of(path), "\n")
    for name, methods in source:gmatch 'wn_class_def [%w_]+ = {%s*"([%w_.]+)",%s*([%w_]+)' do
      local list = source:match("luaL_Reg " .. methods .. "%[%] = {(.-)};")
      if list and CLASSES[name] then found[#found + 1] = { name = CLASSES[name], list = list, source = source } end
    end
  end
  p:close()
  table.sort(found, function(a, b) return a.name < b.name end)
  local out = { "---@meta wane.core", "--- The handles of the C half, for editors that read LuaCATS: point the language",
    "--- server's workspace.library at the folder of these files. Nothing runs here.", "--- Made from csrc/lua by `make reference`.", "" }
  for _, class in ipairs(found) do
    local own = class.name:match "[%w_]+$"
    out[#out + 1] = "---@class " .. class.name
    if class.name == "wane.Buffer" then
      out[#out + 1] = "---@field [integer] number   the values, row by row; #b of them"
    elseif class.name == "wane.Candidates" then
      out[#out + 1] = "---@field [integer] number   logits; may be set"
    end
    out[#out + 1] = ("local %s = {}"):format(own)
    for method, c_name in class.list:gmatch '{"([%w_]+)",%s*([%w_]+)}' do
      local said = c_comment(class.source, c_name)
      local gives = GIVES[class.name .. "." .. method]
      out[#out + 1] = ""
      if said ~= "" then wrap(out, said, "--- ", "--- ") end
      for value in (gives or ""):gmatch(gives and gives:find "{" and ".+" or "[^,]+") do
        out[#out + 1] = "---@return " .. value:gsub("^%s+", "")
      end
      out[#out + 1] = ("function %s:%s(%s) end -- luacheck: ignore"):format(own, method, c_arguments(said, method))
    end
    out[#out + 1] = ""
  end
  out[#out + 1] = "return {}"
  return table.concat(out, "\n") .. "\n"
end

--- All generated files: path -> content.
---@return table<string, string>
function M.files()
  local pages = all()
  local files = { ["docs/reference.md"] = markdown(pages), ["doc/wane.txt"] = vimdoc(pages), ["docs/architectures.md"] = architectures(),
    ["lua/wane/types.lua"] = types() }
  for path, text in pairs(require("wane.cli.completion").files()) do files[path] = text end
  return files
end

--- Names of public functions that lack an example: for those who write them.
---@return string[]
function M.without_example()
  local list = {}
  for _, page in ipairs(all()) do
    for _, item in ipairs(page.items) do
      local has = not item.how
      for _, line in ipairs(item.text) do has = has or is_example(line) end
      if not has then list[#list + 1] = item.tag end
    end
  end
  return list
end

--- Names of public functions that say nothing of errors: neither a code among
--- what they give, nor what they raise, themselves or by their page.
---@return string[]
function M.without_errors()
  local list = {}
  for _, page in ipairs(all()) do
    for _, item in ipairs(page.items) do
      local said = not item.how or #page.errors + #item.errors > 0
      for _, tag in ipairs(item.returns or {}) do
        local text = table.concat(tag, " ")
        said = said or text:find "%f[%a]code%f[%A]" or text:find "nil, string"
      end
      if not said then list[#list + 1] = page.file .. ": " .. item.tag end
    end
  end
  return list
end

--- Names of public functions with an argument that is not said what it is.
---@return string[]
function M.without_types()
  local list = {}
  for _, page in ipairs(all()) do
    for _, item in ipairs(page.items) do
      for name in (item.how and item.how:match "%((.*)%)$" or ""):gmatch "[%w_]+" do
        local said = false
        for _, tag in ipairs(item.params) do said = said or tag[1]:match "^[%w_]+" == name end
        if not said then list[#list + 1] = ("%s: %s %s"):format(page.file, item.tag, name) end
      end
    end
  end
  return list
end

--- All examples of the reference: { page =, tag =, text = } in its order.
---@return { page: string, tag: string, text: string }[]
function M.examples()
  local list = {}
  local function add(page, tag, text)
    local lines = {}
    for _, line in ipairs(text) do
      if is_example(line) and line:find "%S" then lines[#lines + 1] = (line:gsub("^  ? ?", "")) end
    end
    if #lines > 0 then list[#list + 1] = { page = page.name, tag = tag, text = table.concat(lines, "\n") } end
  end
  for _, page in ipairs(all()) do
    for _, item in ipairs(page.items) do
      if item.how then add(page, item.tag, item.text) end
    end
  end
  return list
end

--- Writes them.
function M.write()
  for path, text in pairs(M.files()) do
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
  end
end

return M
