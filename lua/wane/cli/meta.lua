--- `wane meta FROM TO --set KEY=VALUE`: a copy with other metadata.
local read = require "wane.cli.read"

local M = { summary = "write a copy with other metadata",
  notes = [[VALUE is a text, a number, true or false, as the key has it in the file; a new key gets the type that the value looks
like, or the one that is named: KEY=TYPE:VALUE with TYPE int, float, bool or str. What is there already: `wane inspect --meta`.]] }

function M.describe(p)
  p:argument("from", "GGUF file"):as "model"
  p:argument("to", "file to write"):as "file"
  p:option("--set", "KEY=VALUE or KEY=TYPE:VALUE (may be given several times)"):count "*"
  p:option("--set-file", "KEY=FILE: the text of a file, as for a chat template (may be given several times)"):count "*"
  p:option("--remove", "a key to leave out (may be given several times)"):count "*"
  p:flag("--overwrite", "replace an existing output")
end

-- Types of numbers, by their first letter.
local function is_number(kind) return kind and (kind:find "^[ui]%d" or kind:find "^f%d") end

-- The value of --set for a key of the file: { value } or { value, type }.
local function value_of(f, key, text)
  local kind, rest = text:match "^(%a+):(.*)$"
  if kind and read.overrides[kind] then return read.override("--set", kind, rest) end
  local has = f:type_of(key)
  if has == "array" then return nil, ("--set: '%s' is a list, which cannot be set here"):format(key) end
  if has == "string" then return { value = text } end
  if has == "bool" or not has and (text == "true" or text == "false") then return read.override("--set", "bool", text) end
  if is_number(has) or not has and tonumber(text) then
    return read.override("--set", (has and has:find "^f" or not has and not text:find "^[+-]?%d+$") and "float" or "int", text)
  end
  return { value = text }
end

-- The changes that the arguments name; nil, message.
local function changes(f, args)
  local set = {}
  for _, text in ipairs(args.set) do
    local key, value = text:match "^([^=]+)=(.*)$"
    if not key then return nil, ("--set: want KEY=VALUE, found '%s'"):format(text) end
    local v, why = value_of(f, key, value)
    if not v then return nil, why end
    if v.value == nil then return nil, ("--set: '%s' wants a value"):format(key) end
    set[key] = v.value
  end
  for _, text in ipairs(args.set_file) do
    local key, path = text:match "^([^=]+)=(.+)$"
    if not key then return nil, ("--set-file: want KEY=FILE, found '%s'"):format(text) end
    local content, why = read.text(path)
    if not content then return nil, why end
    set[key] = content
  end
  return set
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  if #args.set + #args.set_file + #args.remove == 0 then return nil, "meta: want --set, --set-file or --remove" end
  local f, why = require("wane.gguf").open(args.from)
  if not f then return nil, why end
  local set, fine, paths
  set, why = changes(f, args)
  if set then
    fine, paths, why = pcall(f.write, f, args.to, { set = set, remove = args.remove, overwrite = args.overwrite or false,
      split = #f.shards > 1 and "keep" or nil, progress = read.copying(out) })
    if not fine then why = paths end
  end
  f:close()
  out.progress(nil)
  if not fine or not paths then return nil, why end
  if args.json then out.print(require("wane.report").json { files = paths }) else out.print(table.concat(paths, "\n")) end
  return true
end

return M
