--- Chat templates: what all filters need of their arguments.
---
--- A function gets (state, args): positional arguments in args[1..n] (the value
--- it is applied to first), named ones in args.named.
local M = {}

local V = require "wane.template.value"

--- An argument by name or place; UNDEF when it is not given.
function M.arg(args, name, place)
  local v = args.named[name]
  if v == nil then v = args[place + 1] end
  if v == nil then return V.UNDEF end
  return v
end

--- v, which must be of kind k.
function M.want(v, k, what)
  if V.kind(v) ~= k then V.bad(("%s: found %s, want %s"):format(what, V.type_name(v), k)) end
  return v
end

--- The bytes of v, which must be a string.
function M.want_str(v, what) return V.bytes(M.want(v, "str", what)) end

--- v when it is an integer, else a default.
function M.int_or(v, default)
  return V.kind(v) == "int" and v or default
end

return M
