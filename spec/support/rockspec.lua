--- Writes wane-dev-1.rockspec from the files of the tree, or returns the text:
---   lua5.4 spec/support/rockspec.lua > wane-dev-1.rockspec
--- A rockspec lists every source; this keeps the list true (rockspec_spec
--- compares).
local M = {}

local function list(command)
  local out, p = {}, assert(io.popen(command))
  for line in p:lines() do
    out[#out + 1] = line
  end
  p:close()
  table.sort(out)
  return out
end

--- The rockspec's text for the tree in the current folder.
function M.text()
  local sources = list "find csrc -name '*.c'"
  local modules = list "find lua/wane -name '*.lua'"
  local out = {
    [[package = "wane"
version = "dev-1"
source = { url = "git+https://github.com/wane-lua/wane.git" }
description = {
  summary = "Load, shrink, judge and run GGUF language models",
  detailed = [=[
    Quantizers for every ggml block format, recipes as Lua programs, calibrated
    quantization, evaluation, and a CPU engine for GGUF language models.]=],
  license = "MIT",
}
supported_platforms = { "unix" }
dependencies = { "lua >= 5.1, < 5.5" }
build = {
  type = "builtin",
  modules = {
    ["wane.core"] = {
      sources = {]],
  }
  for _, path in ipairs(sources) do
    out[#out + 1] = ('        "%s",'):format(path)
  end
  out[#out + 1] = [[
      },
      incdirs = { "csrc" },
      defines = { "_GNU_SOURCE" },
      libraries = { "m", "pthread", "dl" },
    },]]
  for _, path in ipairs(modules) do
    if path ~= "lua/wane/cli/wane.lua" then
      local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
      out[#out + 1] = ('    ["%s"] = "%s",'):format(name, path)
    end
  end
  out[#out + 1] = [[
  },
  install = { bin = { wane = "lua/wane/cli/wane.lua" } },
}
]]
  return table.concat(out, "\n")
end

if arg and arg[0] and arg[0]:find "rockspec.lua$" then io.write(M.text()) end

return M
