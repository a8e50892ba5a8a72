--- What pages have in common: one HTML file that needs nothing else. Style,
--- drawings and the few lines of script are inside; light or dark follows the
--- reader's system.
local escape = require("wane.eval.charts").escape
local style = require "wane.eval.page_style"

local M = {}

local moon = '<svg class="moon" viewBox="0 0 32 32" aria-hidden="true">'
  .. '<path d="M20 3a13 13 0 1 0 9 17.5A10.5 10.5 0 0 1 20 3z"/></svg>'

--- The head of a page; `line` is HTML.
function M.head(title, line)
  return ("<header>%s<div><h1>%s</h1><p>%s</p></div></header>"):format(moon, escape(title), line)
end

--- A card; `note`, `body` and `more` (attributes) are HTML.
function M.card(title, note, body, more)
  return ('<section class="card"%s><h2>%s</h2><p class="note">%s</p>%s</section>'):format(more or "", escape(title),
    note, body)
end

--- A page of parts.
---@param title string
---@param parts string[]
---@return string
function M.page(title, parts)
  return table.concat {
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    "<title>", escape(title), "</title><style>", style.css, "</style></head><body><main>",
    table.concat(parts, "\n"), "<footer>made by wane</footer></main><script>", style.script, "</script></body></html>\n",
  }
end

return M
