--- :checkhealth wane: what works in this editor, and what to do about the rest.
local M = {}

--- Runs the checks; called by Neovim.
function M.check()
  local h = vim.health or require "health"
  local start, ok = h.start or h.report_start, h.ok or h.report_ok
  local warn, bad = h.warn or h.report_warn, h.error or h.report_error
  local native, config = require "wane.nvim.native", require "wane.nvim.config"

  start "wane"
  local v = vim.version()
  if require("wane.nvim.compat").inline then
    ok(("Neovim %d.%d.%d"):format(v.major, v.minor, v.patch))
  else
    warn(("Neovim %d.%d.%d: ghost text within a line is drawn over it before 0.10"):format(v.major, v.minor, v.patch))
  end
  local loaded, message = native.load()
  if not loaded then return bad(message) end
  local cpu = require("wane").cpu()
  ok(("native part: %s"):format(native.file() or "loaded"))
  ok(("processor: %d threads, %s"):format(cpu.threads, tostring(cpu.isa or cpu.name)))

  local fine, o = pcall(config.get)
  if not fine then return bad(tostring(o)) end
  local engine = require "wane.nvim.engine"
  local path = engine.path()
  if not path then return warn 'no model: vim.g.wane = { model = "/path/of/a.gguf" }, or :Wane model PATH' end
  local g, why = require("wane").gguf.open(path)
  if not g then return bad(tostring(why)) end
  g:close()
  ok("model: " .. path)
  local model = engine.facts().model
  if not model then return ok "the model is loaded when it is first used" end
  if require("wane.nvim.around").fills(model.vocab) then
    ok "the model fills in the middle"
  else
    warn "the model has no tokens for filling in: completions see only what is before the cursor"
  end
end

return M
