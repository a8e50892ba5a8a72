--- Chat templates: the functions that templates can call: jinja2's range,
--- dict, namespace, cycler, joiner, lipsum, and the two that Hugging Face adds.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local attrs = require "wane.template.attrs"
local repr = require "wane.template.repr"
local bad, bytes, kind = V.bad, V.bytes, V.kind

local G = {}
M.GLOBALS = G

-- ---- lists and objects --------------------------------------------------------------

local function range(_, args)
  if #args.order > 0 then bad "range() takes no keyword arguments" end
  if args.n < 1 or args.n > 3 then bad "range expected 1 to 3 arguments" end
  local start, stop, step = 0, V.index(args[1]), 1
  if args.n > 1 then start, stop = stop, V.index(args[2]) end
  if args.n > 2 then step = V.index(args[3]) end
  if step == 0 then bad "range() arg 3 must not be zero" end
  local n = math.max(math.ceil((stop - start) / step), 0)
  if n > V.MAX_LIST then
    V.fail(nil, ("range: %.0f elements, want at most %d"):format(n, V.MAX_LIST), "ELIMIT")
  end
  return attrs.range(start, stop, step, n)
end
G.range = A.fn("range", range, "<class 'range'>")

--- Fills an object from dict()'s arguments.
local function fill(st, out, args)
  if args.n > 1 then bad(("dict expected at most 1 argument, got %d"):format(args.n)) end
  local from = args[1]
  if from ~= nil and kind(from) == "undef" then V.not_defined(from) end
  if from ~= nil and kind(from) == "obj" then
    for i = 1, from.n do V.set(out, from.keys[i], from.vals[i]) end
  elseif from ~= nil then
    local list, n = V.each(from, st)
    for i = 1, n do
      local pair, np = V.each(list[i], st)
      if np ~= 2 then bad "dictionary update sequence element has the wrong length; 2 is required" end
      V.set(out, pair[1], pair[2])
    end
  end
  for _, key in ipairs(args.order) do V.set(out, key, args.named[key]) end
  return out
end

G.dict = A.fn("dict", function(st, args) return fill(st, V.object(), args) end, "<class 'dict'>")
G.dict.attrs = {}

G.namespace = A.fn("namespace", function(st, args)
  local ns = fill(st, V.object(), args)
  ns.k = "ns"
  return ns
end, "<class 'jinja2.utils.Namespace'>")

-- ---- things with a memory -------------------------------------------------------------

G.cycler = A.fn("cycler", function(_, args)
  if #args.order > 0 then bad "cycler() takes no keyword arguments" end
  if args.n == 0 then bad "at least one item has to be provided" end
  local at = 1
  local function advance()
    local v = args[at]
    at = at % args.n + 1
    return v
  end
  local methods = {
    next = A.fn("next", A.signature("next", {}, advance)),
    reset = A.fn("reset", A.signature("reset", {}, function()
      at = 1
      return V.NONE
    end)),
  }
  return { k = "thing", name = "Cycler", show = "<jinja2.utils.Cycler object at 0x7f0000000000>", attr = function(_, name)
    if name == "current" then return args[at] end
    if name == "pos" then return at - 1 end
    return methods[name]
  end }
end, "<class 'jinja2.utils.Cycler'>")

G.joiner = A.fn("joiner", A.signature("joiner", { { "sep", ", " } }, function(_, sep)
  local used = false
  return { k = "thing", name = "Joiner", show = "<jinja2.utils.Joiner object at 0x7f0000000000>",
    attr = function(_, name)
      if name == "sep" then return sep end
      if name == "used" then return used end
    end,
    call = A.signature("joiner", {}, function()
      if not used then
        used = true
        return ""
      end
      return sep
    end) }
end), "<class 'jinja2.utils.Joiner'>")

G.lipsum = A.fn("lipsum", function() bad "lipsum: random text is not supported" end, "<function generate_lorem_ipsum at 0x7f0000000000>")

-- ---- Hugging Face's ---------------------------------------------------------------------

G.raise_exception = A.fn("raise_exception", A.signature("raise_exception", { "message" }, function(st, message)
  bad(bytes(repr.str(message, st)))
end))

--- Conversions of strftime that Lua's own os.date has everywhere.
local PLAIN = "^[aAbBcdHIjmMpSUwWxXyYZ%%]$"

--- strftime: also the ones that Lua refuses or has not everywhere.
local function strftime(f, time)
  return (f:gsub("%%([-#_0]?)(.)", function(flag, c)
    local out
    if c == "e" then
      out = ("%2d"):format(tonumber(os.date("%d", time)))
    elseif c == "F" then
      out = os.date("%Y-%m-%d", time)
    elseif c == "T" then
      out = os.date("%H:%M:%S", time)
    elseif c == "R" then
      out = os.date("%H:%M", time)
    elseif c == "D" then
      out = os.date("%m/%d/%y", time)
    elseif c == "h" then
      out = os.date("%b", time)
    elseif c == "n" or c == "t" then
      out = c == "n" and "\n" or "\t"
    elseif c == "C" then
      out = ("%02d"):format(math.floor(tonumber(os.date("%Y", time)) / 100))
    elseif c == "u" then
      out = tostring((tonumber(os.date("%w", time)) + 6) % 7 + 1)
    elseif c == "f" then
      out = "000000"
    elseif c == "s" then
      out = ("%.0f"):format(time)
    elseif c == "l" or c == "k" then
      out = ("%2d"):format(tonumber(os.date(c == "l" and "%I" or "%H", time)))
    elseif c == "z" or c == "Z" then
      out = "" -- Python's naive time has no zone
    elseif c:find(PLAIN) then
      out = os.date("%" .. c, time)
    else
      return "%" .. flag .. c
    end
    if flag == "-" then out = out:gsub("^[0 ]+(.)", "%1") end
    return out
  end))
end

G.strftime_now = A.fn("strftime_now", A.signature("strftime_now", { "format" }, function(st, f)
  if kind(f) ~= "str" then bad "strftime_now: want a format" end
  st:spend(#bytes(f))
  return strftime(bytes(f), st.time)
end))

return M
