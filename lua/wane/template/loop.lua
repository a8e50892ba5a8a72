--- Chat templates: the variable `loop` of a for statement.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local bad = V.bad

local FACTS = {
  index = function(l) return l.i end,
  index0 = function(l) return l.i - 1 end,
  revindex = function(l) return l.n - l.i + 1 end,
  revindex0 = function(l) return l.n - l.i end,
  first = function(l) return l.i == 1 end,
  last = function(l) return l.i == l.n end,
  length = function(l) return l.n end,
  depth = function(l) return l.depth end,
  depth0 = function(l) return l.depth - 1 end,
}

function FACTS.previtem(l)
  if l.i == 1 then return V.undefined "there is no previous item: it" end
  return l.list[l.i - 1]
end

function FACTS.nextitem(l)
  if l.i == l.n then return V.undefined "there is no next item: it" end
  return l.list[l.i + 1]
end

--- loop.changed(values): whether they differ from those of the last call.
local function changed(l)
  return function(st, args)
    local now = V.array({}, 0, true)
    for i = 1, args.n do now[i] = args[i] end
    now.n = args.n
    if l.last and V.equal(l.last, now, st) then return false end
    l.last = now
    return true
  end
end

local function cycle(l)
  return function(_, args)
    if args.n == 0 then bad "no items for cycling given" end
    return args[(l.i - 1) % args.n + 1]
  end
end

--- The loop over the n values of list. `again` runs the loop's body over other
--- values (a recursive loop), or is nil.
function M.new(list, n, depth, again)
  local l = { list = list, n = n, i = 0, depth = depth }
  l.value = { k = "thing", name = "LoopContext", show = function() return ("<LoopContext %d/%d>"):format(l.i, n) end,
    attr = function(_, name)
      if FACTS[name] then return FACTS[name](l) end
      if name == "changed" then return A.fn("changed", changed(l)) end
      if name == "cycle" then return A.fn("cycle", cycle(l)) end
    end,
    call = function(st, args)
      if not again then bad "The loop must have the 'recursive' marker to be called recursively." end
      if args.n ~= 1 or #args.order > 0 then bad "loop() takes one argument" end
      return again(st, args[1])
    end }
  return l
end

return M
