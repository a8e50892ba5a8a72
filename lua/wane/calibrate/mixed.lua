--- The calibration text that is used when none is given: prose, programs,
--- markup, dialogue, twenty-seven languages and numbers, 77 kB.
---
--- Correlations that come from one kind of text serve other kinds badly: on a
--- model of 135 M weights, files calibrated on children's books alone lost more
--- on other texts than they won on books. So the default is a little of
--- everything, in an order where both halves hold several kinds (the halves are
--- what calibrate/trust.lua validates on).
local M = {}

-- Half of the kinds come before the other half.
local KINDS = { "prose", "markup", "code", "numbers", "languages" }

--- The text, the dialogues in the model's own chat format where it has one.
---
---     local wane = require "wane"
---     local m = assert(wane.load(wane.demo()))
---     local im = assert(wane.calibrate.imatrix(m, require("wane.calibrate.mixed").text(m)))
---@param model wane.Model?  for its chat template; nil: dialogues as plain text
---@return string
function M.text(model)
  local parts = {}
  for i, kind in ipairs(KINDS) do
    parts[#parts + 1] = require("wane.calibrate.mixed." .. kind)
    if i == 3 then parts[#parts + 1] = M.dialogue(model) end
  end
  return table.concat(parts, "\n\n")
end

-- One conversation as { role, content } messages.
local function messages_of(c)
  local list = {}
  for i = 1, #c, 2 do list[#list + 1] = { role = c[i], content = c[i + 1] } end
  return list
end

-- The model's own template, compiled, when it renders such conversations.
local function template_of(model)
  local source = model and model:meta "tokenizer.chat_template"
  if type(source) ~= "string" then return nil end
  local template = require "wane.template"
  local compiled = template.compile(source)
  if not compiled then return nil end
  local vocab = model.vocab
  return function(messages)
    return compiled:render {
      messages = template.list(messages), add_generation_prompt = false,
      bos_token = vocab.bos and vocab:text(vocab.bos) or "", eos_token = vocab.eos and vocab:text(vocab.eos) or "",
    }
  end
end

--- The dialogues alone.
---@param model wane.Model?
---@return string
function M.dialogue(model)
  local render, parts = template_of(model), {}
  for i, c in ipairs(require "wane.calibrate.mixed.dialogue") do
    local text = render and render(messages_of(c))
    parts[i] = text or table.concat(c, "\n\n")
  end
  return table.concat(parts, "\n")
end

return M
