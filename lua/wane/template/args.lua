--- Chat templates: calls, and what their arguments are called.
---
--- A call has args = { n, [1..n], named = {}, order = {} }: positional values,
--- named ones and the order of their names. A function that is known by a
--- signature gets its arguments one by one; one too many, a missing or an
--- unknown one raises, as in Python.
local M = {}

local V = require "wane.template.value"
local bad = V.bad

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

--- Empty arguments, or those given.
function M.of(...)
  return { n = select("#", ...), named = {}, order = {}, ... }
end

--- The arguments with another one in front.
function M.with_first(first, args)
  local out = { n = args.n + 1, named = args.named, order = args.order, first }
  for i = 1, args.n do out[i + 1] = args[i] end
  return out
end

--- fn(state, ...) by a signature: a list of "name" (wanted) or { "name",
--- default }; a name that begins with "/" goes by place only.
function M.signature(name, params, fn)
  local n, place, defaults = #params, {}, {}
  for i, p in ipairs(params) do
    local is_table = type(p) == "table"
    local pname = is_table and p[1] or p
    if pname:sub(1, 1) ~= "/" then place[pname] = i end
    if is_table then defaults[i] = p[2] end
  end
  return function(state, args)
    if args.n > n then bad(("%s() takes at most %d arguments (%d given)"):format(name, n, args.n)) end
    local values = {}
    for i = 1, args.n do values[i] = args[i] end
    for _, key in ipairs(args.order) do
      local i = place[key]
      if not i then bad(("%s() got an unexpected keyword argument '%s'"):format(name, key)) end
      if values[i] ~= nil then bad(("%s() got multiple values for argument '%s'"):format(name, key)) end
      values[i] = args.named[key]
    end
    for i = 1, n do
      if values[i] == nil then
        if defaults[i] == nil then
          local p = params[i]
          bad(("%s() misses its argument '%s'"):format(name, ((type(p) == "table" and p[1] or p):gsub("^/", ""))))
        end
        values[i] = defaults[i]
      end
    end
    return fn(state, unpack(values, 1, n))
  end
end

--- A function value.
function M.fn(name, call, show) return { k = "fn", name = name, call = call, show = show } end

--- Calls a value with arguments.
function M.call(state, v, args)
  local k = V.kind(v)
  if k == "fn" or (k == "thing" and v.call) then return v.call(state, args) end
  if k == "undef" then V.not_defined(v) end
  bad(("'%s' object is not callable"):format(V.type_name(v)))
end

return M
