--- Chat templates: the Jinja that models bring along, interpreted.
---
---   local template = require "wane.template"
---   local t = assert(template.compile(source))
---   local text = assert(t:render {
---     messages = { { role = "user", content = "Hi" } },
---     bos_token = "<s>", eos_token = "</s>", add_generation_prompt = true,
---   })
---
--- A template is data from a stranger: it is never turned into Lua, reaches no
--- value of Lua, and runs with limits on source, depth, steps and output. What
--- it renders is what jinja2 3.1 renders with Hugging Face's settings
--- (trim_blocks, lstrip_blocks, the immutable sandbox, tojson without ASCII
--- escaping, loop controls, raise_exception, strftime_now, generation), and what
--- that refuses is refused. Text of messages and tools stays marked, so that
--- control tokens written by a user can be kept plain text (the option `parts`).
local M = {}

local C = require "wane.template.convert"
local J = require "wane.template.json"
local V = require "wane.template.value"
local globals = require "wane.template.globals"
local eval = require "wane.template.eval"
local keys = require "wane.keys"
local core = require "wane.core"
local lex = require "wane.template.lex"
local options = require "wane.options"
local parse = require "wane.template.parse"

--- Largest source in bytes.
M.MAX_SOURCE = 1048576

---@class wane.Template
---@field source string
local Template = {}
Template.__index = Template
Template.__name = "wane.Template"

--- "line 3, column 14" of a byte in a text.
local function place(source, pos)
  local before = source:sub(1, math.max((pos or 1) - 1, 0))
  local _, lines = before:gsub("\n", "")
  return ("line %d, column %d"):format(lines + 1, #before:match "[^\n]*$" + 1)
end

--- A failure as nil, message, code; text of the template is made printable.
local function failure(source, why)
  local message = why.message:gsub("[%c\127-\255]", function(c) return ("\\x%02x"):format(c:byte()) end)
  if #message > 400 then message = message:sub(1, 400) .. "..." end
  return nil, ("template: %s: %s"):format(place(source, why.pos), message), why.code
end

--- Runs fn; errors that are tables become failures.
local function guarded(source, fn)
  local ok, a, b = pcall(fn)
  if ok then return a, b end
  if type(a) == "table" and a.message then return failure(source, a) end
  if tostring(a):find "stack overflow" then
    return failure(source, { pos = 1, message = "the template nests too deep", code = "ELIMIT" })
  end
  error(a, 0)
end

--- Compiles a template: a reusable object, or nil, "template: line 1, column
--- 4: ...", code.
---
---     local t = assert(wane.template.compile(f.meta["tokenizer.chat_template"]))
---@param source string
---@return wane.Template|nil
---@return string? message
---@return string? code
function M.compile(source)
  if type(source) ~= "string" then error("wane: template: the source is a string", 2) end
  if #source > M.MAX_SOURCE then
    return failure("", { message = ("%d bytes, want at most %d"):format(#source, M.MAX_SOURCE), code = "ELIMIT" })
  end
  return guarded(source, function()
    local tokens, src = lex.tokens(source)
    return setmetatable({ source = source, _src = src, _tree = parse.tree(tokens, src) }, Template)
  end)
end

--- Variables as template values. All text is marked as coming from outside,
--- but for tokens (names that end in _token), which the model itself states.
local function variables(vars)
  local out = {}
  for name, v in pairs(vars) do
    if type(name) ~= "string" then error("wane: template: variables have names", 3) end
    out[name] = C.from_lua(v, not name:find "_token$")
  end
  return out
end

local OPTIONS = { parts = true, time = true }

--- Renders the template.
---
---     local parts = assert(t:render({ messages = messages }, { parts = true }))
---     for _, p in ipairs(parts) do print(p.input and "outside" or "template", p.text) end
---@param vars table<string, any>  strings, numbers, booleans, lists and objects; see also
---  M.json, M.list, M.object for values that keep an order
---@param opts? { parts?: boolean, time?: integer } parts: a list of { text, input } instead of a string;
---  time: what strftime_now takes for now
---@return any text
---@return string? message  "template: line 3, column 7: ..."
---@return string? code     ELIMIT: a limit; EDATA: the template raised, or a value was of no use
function Template:render(vars, opts)
  opts = opts or {}
  options.known("template:render", opts, OPTIONS)
  if type(vars) ~= "table" then error("wane: template: variables are a table", 2) end
  local values = variables(vars)
  local out, why = eval.run(self._tree, values, opts.time)
  if out == nil then return failure(self._src, why) end
  if opts.parts then return V.parts(out) end
  return V.bytes(out)
end

--- Renders source with variables in one go.
---
---     print(wane.template.render("{{ a + 1 }}", { a = 2 }))   --> 3
---@param source string
---@param vars table<string, any>
---@param opts? table  as Template:render
---@return any text
---@return string? message
---@return string? code
function M.render(source, vars, opts)
  local t, message, code = M.compile(source)
  if not t then return nil, message, code end
  return t:render(vars, opts)
end

--- A list, also an empty one (an empty table is an object).
---
---     print(wane.template.render("{{ x | length }}", { x = wane.template.list {} }))   --> 0
---@param t any[]
---@error none
function M.list(t) return setmetatable(t, C.LIST) end

--- An object with its keys in order: { { "name", value }, ... }.
---
---     local o = wane.template.object { { "b", 1 }, { "a", 2 } }
---     print(wane.template.render("{{ o | tojson }}", { o = o }))   --> {"b": 1, "a": 2}
---@param pairs_in_order table
---@error none
function M.object(pairs_in_order) return setmetatable(pairs_in_order, C.ORDERED) end

--- A number that stays a float although it is whole.
---
---     print(wane.template.render("{{ x }}", { x = wane.template.float(2) }))   --> 2.0
---@error anything but a number
M.float = C.float

--- An integer by its decimal digits, exact however long it is.
---
---     print(wane.template.render("{{ x }}", { x = wane.template.integer "9007199254740993" }))   --> 9007199254740993
---@error anything but decimal digits
M.integer = C.integer

--- None.
---
---     print(wane.template.render("{{ x is none }}", { x = wane.template.null }))   --> True
---@error none
M.null = C.NULL

--- JSON text as values that keep the order of keys: for tools and messages.
---
---     local tools = assert(template.json '[{"type": "function"}]')
---@param text string
---@return any
---@return string? message
---@return string? code
function M.json(text)
  local ok, v = pcall(J.decode, text)
  if ok then return v end
  if type(v) ~= "table" then error(v, 0) end
  return nil, ("json: %s: %s"):format(place(text, v.pos), v.message), "EFORMAT"
end

-- ---- looking at a template before trusting it ------------------------------------

--- Whether an expression looks at the content of a message.
local function looks_at_content(node)
  if type(node) ~= "table" then return false end
  if node.t == "attr" and node.name == "content" then return true end
  if node.t == "item" and node.index.t == "const" and node.index.value == "content" then return true end
  for _, key in ipairs(keys.of(node)) do
    if key ~= "body" and type(node[key]) == "table" and looks_at_content(node[key]) then return true end
  end
  return false
end

local function conditions(list, source, found)
  for _, node in ipairs(list) do
    for _, branch in ipairs(node.branches or {}) do
      if looks_at_content(branch[1]) then
        found[#found + 1] = { place = place(source, branch[1].pos), text = source:sub(branch[1].pos):match "^[^\n]*" }
      end
      conditions(branch[2], source, found)
    end
    conditions(node.body or {}, source, found)
    conditions(node.other or {}, source, found)
  end
  return found
end

--- What to know about a template before trusting it: its SHA-256 to compare
--- with that of a known one, and every condition on the content of messages (a way
--- to hide instructions that appear only for certain texts).
---
---     local report = assert(template.check(source))
---     print(report.hash, #report.conditions)
---@param source string
---@return { hash: string, bytes: integer, conditions: { place: string, text: string }[] }|nil
---@return string? message
---@return string? code
function M.check(source)
  local t, message, code = M.compile(source)
  if not t then return nil, message, code end
  return { hash = core.stream.sha256_hex(core.stream.sha256(nil, source)), bytes = #source, conditions = conditions(t._tree, t._src, {}) }
end

--- Names of the functions that templates can call.
---
---     print(table.concat(wane.template.functions(), " "))
---@error none
function M.functions() return keys.sorted(globals.GLOBALS) end

return M
