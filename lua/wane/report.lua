--- Tables for people and machines: one table of rows, shown as text,
--- Markdown, CSV or JSON.
local json = require "wane.json"
local options = require "wane.options"

local M = {}

---@class wane.Table
---@field columns wane.Column[]
---@field rows table[]      one table of values per row, keyed by column
local Table = {}
Table.__index = Table

---@class wane.Column
---@field key string        field of the row
---@field title string      what stands above it
---@field format? string|fun(v: any): string   how a value is written
---@field align? "left"|"right"
---@field unit? string      of its numbers, for pages
---@field drop? integer     where there is no room for all, columns with the largest number go first (default: the
---  column's place; 0: never)

--- A table with these columns; add rows with `table:add { key = value }`.
---
---     local t = report.table { { key = "n", title = "n" } }
---     t:add { n = 1 };  print(t)
---@param columns wane.Column[]
---@return wane.Table
---@error none
function M.table(columns)
  options.argument("report.table", "columns", columns, options.list "table")
  return setmetatable({ columns = columns, rows = {} }, Table)
end

---@param row table
---@return wane.Table self
function Table:add(row)
  options.argument("table:add", "row", row, "table")
  self.rows[#self.rows + 1] = row
  return self
end

local function cell(column, row)
  local v = row[column.key]
  if v == nil then return "" end
  local f = column.format
  if type(f) == "string" then return f:format(v) end
  if f then return f(v) end
  return tostring(v)
end

local function is_right(column, rows)
  if column.align then return column.align == "right" end
  for _, row in ipairs(rows) do
    if row[column.key] ~= nil then return type(row[column.key]) == "number" end
  end
  return false
end

--- Characters of a UTF-8 string: what a terminal column shows.
local function width(s)
  local _, continuation = s:gsub("[\128-\191]", "")
  return #s - continuation
end

local function layout(t)
  local cells, widths = {}, {}
  for c, column in ipairs(t.columns) do
    widths[c] = width(column.title)
  end
  for r, row in ipairs(t.rows) do
    cells[r] = {}
    for c, column in ipairs(t.columns) do
      cells[r][c] = cell(column, row)
      widths[c] = math.max(widths[c], width(cells[r][c]))
    end
  end
  return cells, widths
end

local function pad(s, n, right)
  local fill = (" "):rep(n - width(s))
  return right and fill .. s or s .. fill
end

--- A text cut to so many columns of a terminal, "..." where something is missing.
---
---     print(report.clip("a long name", 8))   --> a lon...
---@param s string     UTF-8
---@param n integer
---@return string
---@error none
function M.clip(s, n)
  options.argument("report.clip", "s", s, "string")
  if width(s) <= n then return s end
  local dots = n > 3 and "..." or ""
  local left, at = math.max(0, n - #dots), 0
  for start in s:gmatch "()[^\128-\191]" do
    at = start - 1
    if left == 0 then break end
    left = left - 1
  end
  return s:sub(1, at) .. dots
end

--- A sentence in lines of so many columns at most; a longer word stands alone.
---
---     print(report.wrap("  - as wide as it may be", 16, "    "))
---@param s string      UTF-8, on one line; spaces at its start stay
---@param n? integer    columns; as it is without
---@param hang? string  what the further lines begin with
---@return string
---@error none
function M.wrap(s, n, hang)
  options.argument("report.wrap", "s", s, "string")
  if not n or width(s) <= n then return s end
  local lines, line = {}, s:match "^%s*"
  local empty = true
  for word in s:gmatch "%S+" do
    if not empty and width(line) + 1 + width(word) > n then
      lines[#lines + 1], line, empty = line, hang or "", true
    end
    line, empty = line .. (empty and "" or " ") .. word, false
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function total(widths, shown)
  local sum = 0
  for c, w in ipairs(widths) do
    if shown[c] then sum = sum + w + 2 end
  end
  return sum - 2
end

-- Which columns a width has room for; how many are left out. The last to stay
-- is the first one.
local function fitting(t, widths, room)
  local shown, out = {}, 0
  for c in ipairs(t.columns) do shown[c] = true end
  while room and total(widths, shown) > room do
    local worst, at = 0, nil
    for c, column in ipairs(t.columns) do
      local drop = column.drop or c - 1
      if shown[c] and drop > worst then worst, at = drop, c end
    end
    if not at then break end
    shown[at], out = false, out + 1
  end
  return shown, out
end

--- Plain text: columns padded, a rule under the titles. In a narrow place
--- columns are left out, as their `drop` says, and the last line tells.
---
---     local t = report.table { { key = "n", title = "n" }, { key = "note", title = "note" } }
---     t:add { n = 1, note = "a rather long remark" }
---     print(t:text(20))
---@param room? integer   columns of the terminal (default: as many as it takes)
---@return string
---@error none
function Table:text(room)
  local cells, widths = layout(self)
  local shown, n_out = fitting(self, widths, room)
  if room then -- what alone is too wide is cut
    local over = total(widths, shown) - room
    for c in ipairs(self.columns) do
      if shown[c] and over > 0 then widths[c] = math.max(4, widths[c] - over) break end
    end
  end
  local lines = {}
  local function add(values)
    local line = {}
    for c, column in ipairs(self.columns) do
      if shown[c] then line[#line + 1] = pad(M.clip(values[c], widths[c]), widths[c], is_right(column, self.rows)) end
    end
    lines[#lines + 1] = table.concat(line, "  "):gsub("%s+$", "")
  end
  local titles, rule = {}, {}
  for c, column in ipairs(self.columns) do titles[c], rule[c] = column.title, ("-"):rep(widths[c]) end
  add(titles)
  add(rule)
  for _, row in ipairs(cells) do add(row) end
  if n_out > 0 then
    lines[#lines + 1] = M.clip(("(%d column%s left out: --wide)"):format(n_out, n_out > 1 and "s" or ""), room)
  end
  return table.concat(lines, "\n")
end

--- A Markdown table.
---
---     print(t:markdown())
---@return string
---@error none
function Table:markdown()
  local cells, widths = layout(self)
  local function row_of(values)
    local line = {}
    for c, column in ipairs(self.columns) do
      line[c] = pad((values[c]:gsub("|", "\\|")), widths[c], is_right(column, self.rows))
    end
    return "| " .. table.concat(line, " | ") .. " |"
  end
  local titles, rule = {}, {}
  for c, column in ipairs(self.columns) do
    titles[c] = column.title
    rule[c] = ("-"):rep(math.max(3, widths[c]) - 1) .. (is_right(column, self.rows) and ":" or "-")
  end
  local lines = { row_of(titles), "| " .. table.concat(rule, " | ") .. " |" }
  for _, row in ipairs(cells) do
    lines[#lines + 1] = row_of(row)
  end
  return table.concat(lines, "\n")
end

--- CSV (RFC 4180), raw values: numbers are not rounded for show.
---
---     io.write(t:csv())
---@return string
---@error none
function Table:csv()
  local function quote(v)
    local s = v == nil and "" or type(v) == "number" and ("%.17g"):format(v) or tostring(v)
    return s:find '[",\r\n]' and '"' .. s:gsub('"', '""') .. '"' or s
  end
  local lines, line = {}, {}
  for c, column in ipairs(self.columns) do
    line[c] = quote(column.key)
  end
  lines[1] = table.concat(line, ",")
  for _, row in ipairs(self.rows) do
    for c, column in ipairs(self.columns) do
      line[c] = quote(row[column.key])
    end
    lines[#lines + 1] = table.concat(line, ",")
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

--- Names that a report may have: their ending says the form.
M.name = options.type("a name ending in .html, .md, .csv, .json or .txt", function(v)
  local kind = type(v) == "string" and v:match "%.(%a+)$"
  return kind == "html" or kind == "md" or kind == "csv" or kind == "json" or kind == "txt"
end)

--- One JSON value on one line: wane.json.encode.
---
---     print(wane.report.json { a = 1 })   --> {"a":1}
---@param v any
---@return string
---@error what JSON has not: functions, userdata, tables that contain themselves
function M.json(v) return json.encode(v) end

--- A list of objects, one per row.
---
---     print(t:json())
---@return string
---@error cells that JSON has not
function Table:json()
  local list = {}
  for r, row in ipairs(self.rows) do
    list[r] = {}
    for _, column in ipairs(self.columns) do
      list[r][column.key] = row[column.key]
    end
  end
  return M.json(list)
end

function Table:__tostring() return self:text() end

local function fact(v)
  if type(v) ~= "table" then return M.printable(v) end
  return #v > 0 and ("{ %d }"):format(#v) or "{ ... }"
end

--- Facts that also read well when printed: the table itself, with its fields on
--- one line, sorted by name.
---
---     print(report.facts("model", { n_vocab = 80, path = "x.gguf" }))   -- model: n_vocab 80, path x.gguf
---@param title string
---@param t table<string, any>
---@return table t
---@error none
function M.facts(title, t)
  options.argument("report.facts", "title", title, "string")
  options.argument("report.facts", "t", t, "table")
  return setmetatable(t, { __tostring = function(self)
    local list = {}
    for k, v in pairs(self) do list[#list + 1] = ("%s %s"):format(k, fact(v)) end
    table.sort(list)
    return title .. ": " .. table.concat(list, ", ")
  end })
end

--- 4582880 -> "4,582,880"
---
---     print(wane.report.count(4582880))   --> 4,582,880
---@param n number
---@return string
---@error nan and infinity
function M.count(n)
  options.argument("report.count", "n", n, "number")
  local s = ("%.0f"):format(n)
  local sign, digits = s:match "^(-?)(%d+)$"
  digits = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return sign .. digits
end

--- 4582880 -> "4.4 MiB"
---
---     print(wane.report.bytes(4582880))   --> 4.4 MiB
---@param n number
---@return string
---@error nan and infinity
function M.bytes(n)
  options.argument("report.bytes", "n", n, "number")
  local units, u = { "B", "KiB", "MiB", "GiB", "TiB" }, 1
  while n >= 1024 and u < #units do
    n, u = n / 1024, u + 1
  end
  return (u == 1 and "%.0f %s" or "%.1f %s"):format(n, units[u])
end

--- 75.2 -> "1:15"
---
---     print(wane.report.seconds(75.2))   --> 1:15
---@param s number
---@return string
---@error nan and infinity
function M.seconds(s)
  options.argument("report.seconds", "s", s, "number")
  if s < 60 then return ("%.1f s"):format(s) end
  return ("%d:%02d"):format(math.floor(s / 60), math.floor(s % 60))
end

--- Text from a file made safe for a terminal: control bytes are escaped.
---
---     print(wane.report.printable "a\27[2Jb")   --> a\x1b[2Jb
---@param s string
---@return string
---@error none
function M.printable(s)
  return (tostring(s):gsub("[%c\127]", function(c)
    if c == "\n" then return "\\n" end
    if c == "\t" then return "\\t" end
    return ("\\x%02x"):format(c:byte())
  end):gsub("\194[\128-\159]", "?"))
end

return M
