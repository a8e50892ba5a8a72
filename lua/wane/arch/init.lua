--- The architectures that wane knows, by their exact name in
--- general.architecture. A file's name is only ever a key of this table: it
--- never becomes a path or a module name.
local M = {}

local builtin = {
  llama = "wane.arch.llama",
  qwen2 = "wane.arch.qwen2",
  qwen3 = "wane.arch.qwen3",
  gemma2 = "wane.arch.gemma2",
  phi3 = "wane.arch.phi3",
  gpt2 = "wane.arch.gpt2",
  stablelm = "wane.arch.stablelm",
  falcon = "wane.arch.falcon",
  bert = "wane.arch.bert",
  ["gpt-oss"] = "wane.arch.gpt_oss",
}

local registered = {}

--- Adds or replaces an architecture.
---@param name string as in general.architecture
---@param describe fun(m: wane.arch.Graph): wane.arch.Value, string|nil
function M.register(name, describe)
  if type(name) ~= "string" or name == "" then error("wane.arch.register: want a name", 2) end
  if type(describe) ~= "function" then error("wane.arch.register: want a function", 2) end
  registered[name] = describe
end

--- The description of an architecture, or nil.
---@param name string
---@return function|nil
function M.find(name)
  if registered[name] then return registered[name] end
  local module = builtin[name]
  return module and require(module)
end

--- Names of all architectures, sorted.
function M.names()
  local list, seen = {}, {}
  for _, t in ipairs { builtin, registered } do
    for name in pairs(t) do
      if not seen[name] then list[#list + 1] = name end
      seen[name] = true
    end
  end
  table.sort(list)
  return list
end

return M
