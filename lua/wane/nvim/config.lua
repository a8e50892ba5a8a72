--- What the user has set, checked. Nobody has to call anything: options are
--- read from vim.g.wane when first needed, or given to setup.
---
---     vim.g.wane = { model = "~/models/coder.gguf" }
---
--- A model's path is absolute or begins with ~: what it names never depends on
--- the directory that the editor happens to be in, so that no project brings a
--- model with it.
local M = {}

---@class wane.nvim.Options
M.defaults = {
  model = nil, -- path of a GGUF file
  context = 4096, -- tokens
  threads = nil, -- one fewer than the cores
  max_tokens = 64, -- of a completion
  max_ms = { prompt = 3000, tokens = 3000 }, -- of a completion
  temperature = 0,
  auto = false, -- complete while typing
  delay = 150, -- milliseconds after the last key, for auto
  filetypes = nil, -- list of those to complete in, or { markdown = false }: all but these
  prefix = 6000, -- bytes of text before the cursor, about
  suffix = 2000, -- and behind it
  buffers = 2, -- other buffers that are shown to the model
  buffer_bytes = 1500, -- of each of them
  chat = {}, -- options of model:chat
  edit = {}, -- as chat, for edits
}

local number = { context = true, threads = true, max_tokens = true, delay = true, prefix = true, suffix = true,
  buffers = true, buffer_bytes = true, temperature = true }
local kinds = { model = "string", auto = "boolean", filetypes = "table", chat = "table", edit = "table" }

local function refuse(name, want, got)
  error(("wane: nvim: option '%s': want %s, got %s"):format(name, want, got), 0)
end

local function check_one(name, v)
  if number[name] then
    if type(v) ~= "number" or v < 0 or v ~= v or v == math.huge then refuse(name, "a number, 0 or more", tostring(v)) end
  elseif name == "max_ms" then
    if type(v) ~= "number" and type(v) ~= "table" then refuse(name, "milliseconds or { prompt =, tokens = }", type(v)) end
  elseif not kinds[name] then
    error(("wane: nvim: unknown option '%s'"):format(tostring(name)), 0)
  elseif type(v) ~= kinds[name] then
    refuse(name, "a " .. kinds[name], type(v))
  end
end

--- The absolute path of a model as the configuration names it.
---@param path string
---@return string
function M.model_path(path)
  local full = path:match "^~" and vim.fn.expand(path) or path
  if not full:match "^/" and not full:match "^%a:[/\\]" then
    error(("wane: nvim: option 'model': want an absolute path or one with ~, got '%s' (projects bring no models)"):format(path), 0)
  end
  return full
end

local current

--- Sets options; those not named get their defaults.
---@param opts? wane.nvim.Options
function M.set(opts)
  if opts ~= nil and type(opts) ~= "table" then error("wane: nvim: setup: want a table, got a " .. type(opts), 0) end
  local made = {}
  for name, v in pairs(M.defaults) do made[name] = v end
  for name, v in pairs(opts or {}) do
    check_one(name, v)
    made[name] = v
  end
  if made.model then made.model = M.model_path(made.model) end
  current = made
  return made
end

--- The options in force.
---@return wane.nvim.Options
function M.get() return current or M.set(vim.g.wane) end

--- Forgets them: vim.g.wane is read again.
function M.forget() current = nil end

return M
