--- Answers: values as JSON text.
local M = {}

local repr = require "wane.template.repr"
local template = require "wane.template"

--- A text as a JSON string.
---@param s string
---@return string
function M.string(s) return repr.json_string(s) end

--- Any value that templates take as JSON.
---@param v any
---@return string
function M.value(v) return assert(template.render("{{ x|tojson }}", { x = v })) end

return M
