--- `wane inspect FILE`: metadata and tensors of a GGUF file, or the entries
-- of an importance matrix. Everything that comes from the file is printed
-- with control characters escaped.
local M = { summary = "show what is in a GGUF file", tables = true }

function M.describe(p)
  p:argument("file", "GGUF file (any file of a split), or an importance matrix"):as "model"
  p:flag("--meta", "metadata only")
  p:flag("--tensors", "tensors only")
  p:option("--key", "print the whole value of one metadata key")
end

local MAX_SHOWN = 60

local function shorten(text)
  return #text > MAX_SHOWN and text:sub(1, MAX_SHOWN) .. "..." or text
end

-- A number in as few digits as tell a float from its neighbours: 1e-05 and not
-- 9.9999997473788e-06.
local function brief(value)
  if type(value) ~= "number" or value == math.floor(value) then return (tostring(value):gsub("%.0$", "")) end
  return ("%.7g"):format(value)
end

-- A metadata value on one line; long ones are cut.
local function shown(value, printable)
  if type(value) ~= "table" then return printable(shorten(brief(value))) end
  local parts = {}
  for i = 1, math.min(#value, 6) do parts[i] = shown(value[i], printable) end
  local more = #value > 6 and (", ... (%d in all)"):format(#value) or ""
  return "[" .. table.concat(parts, ", ") .. more .. "]"
end

local function show_key(f, key, out, printable)
  local value = f.meta[key]
  if value == nil then return nil, ("no key '%s'"):format(key) end
  if type(value) ~= "table" then
    out.print(printable(tostring(value)))
    return true
  end
  for _, v in ipairs(value) do
    out.print(type(v) == "table" and shown(v, printable) or printable(tostring(v)))
  end
  return true
end

local function show_meta(f, args, out, printable)
  local clip = require("wane.report").clip
  for _, key in ipairs(f:keys()) do
    local kind, elem = f:type_of(key)
    local value = shown(f.meta[key], printable)
    local line = ("%-8s %s = %s"):format(elem and elem .. "[]" or kind, printable(key), value)
    out.print(out.width and not args.wide and clip(line, out.width) or line)
  end
end

local function show_tensors(f, args, out, printable, human)
  local by_type, order, bytes, values = {}, {}, 0, 0
  local t = require("wane.report").table { { key = "name", title = "tensor" }, { key = "type", title = "type", drop = 0 },
    { key = "shape", title = "shape" }, { key = "bytes", title = "bytes", format = human, align = "right" } }
  for _, x in ipairs(f.tensors) do
    t:add { name = printable(x.name), type = x.type, shape = table.concat(x.shape, " x "), bytes = x.bytes }
    if not by_type[x.type] then
      by_type[x.type] = 0
      order[#order + 1] = x.type
    end
    by_type[x.type] = by_type[x.type] + 1
    bytes, values = bytes + x.bytes, values + x.shape[1] * x.n_rows
  end
  if #f.tensors > 0 then out.table(t, args) end
  local parts = {}
  for i, name in ipairs(order) do parts[i] = ("%d %s"):format(by_type[name], name) end
  out.print(("%d tensors (%s), %s, %.2f bits per weight"):format(
    #f.tensors, table.concat(parts, ", "), human(bytes), values > 0 and bytes * 8 / values or 0))
end

local function as_json(f)
  local tensors, meta = {}, {}
  for i, t in ipairs(f.tensors) do
    tensors[i] = { name = t.name, type = t.type, shape = t.shape, bytes = t.bytes, off = t.off,
      shard = t.shard }
  end
  for i, key in ipairs(f:keys()) do
    local kind, elem, count = f:type_of(key)
    meta[i] = { key = key, type = kind, elem = elem, count = count, value = not elem and f.meta[key] or nil }
  end
  return { version = f.version, alignment = f.alignment, files = f.shards, meta = meta, tensors = tensors }
end

local function show_imatrix(im, args, out, printable)
  out.print(("importance matrix (%s): %d entries, %d chunks%s"):format(
    im.format, #im:names(), im.chunks, im.datasets[1] and " of " .. printable(im.datasets[1]) or ""))
  local t = require("wane.report").table {
    { key = "name", title = "entry" }, { key = "n", title = "values", align = "right" }, { key = "min", title = "min", format = "%.4g" },
    { key = "max", title = "max", format = "%.4g" }, { key = "mean", title = "mean", format = "%.4g", drop = 0 },
    { key = "zeros", title = "zeros", align = "right" }, { key = "bad", title = "not finite", align = "right" },
  }
  for _, name in ipairs(im:names()) do
    local s, msg = im:stats(name)
    if not s then return nil, msg end
    t:add { name = printable(name), n = s.n, min = s.min, max = s.max, mean = s.mean, zeros = s.zeros, bad = s.bad }
  end
  out.table(t, args)
  return true
end

-- A GGUF imatrix says so itself; a legacy one is not a GGUF file at all.
local function try_imatrix(args, out, printable)
  local im = require("wane.imatrix").open(args.file)
  if not im then return nil end
  local ok, msg = show_imatrix(im, args, out, printable)
  im:close()
  return ok, msg
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local report = require "wane.report"
  local printable, human = report.printable, require("wane.recipe.plan").human
  local f, msg = require("wane.gguf").open(args.file, { look = true })
  if not f then
    if try_imatrix(args, out, printable) then return true end
    return nil, msg
  end
  local ok = true
  if args.key then
    ok, msg = show_key(f, args.key, out, printable)
  elseif args.json then
    out.print(report.json(as_json(f)))
  else
    if not args.tensors then show_meta(f, args, out, printable) end
    if not args.meta then show_tensors(f, args, out, printable, human) end
  end
  f:close()
  return ok or nil, msg
end

return M
