--- The report of a comparison: one HTML page that needs nothing else. Style,
--- drawings and the few lines of script are inside; light or dark follows the
--- reader's system.
local charts = require "wane.eval.charts"
local report = require "wane.report"
local style = require "wane.eval.page_style"

local escape = charts.escape

local function card(title, note, body, more)
  return ('<section class="card"%s><h2>%s</h2><p class="note">%s</p>%s</section>'):format(more or "", escape(title),
    note, body)
end

-- ---- head --------------------------------------------------------------------

local moon = '<svg class="moon" viewBox="0 0 32 32" aria-hidden="true">'
  .. '<path d="M20 3a13 13 0 1 0 9 17.5A10.5 10.5 0 0 1 20 3z"/></svg>'

local function head(c, title)
  local reference = c.rows[1]
  return ('<header>%s<div><h1>%s</h1><p>%d models against <b>%s</b> on %s tokens, %d a chunk. %s.</p></div></header>')
    :format(moon, escape(title), #c.rows - 1, escape(reference.name), report.count(c.tokens), c.context,
      escape(c.cpu.name))
end

local function tile(label, name, line)
  return ('<div class="tile"><span>%s</span><b>%s</b><em>%s</em></div>'):format(label, escape(name), line)
end

-- The best row by a field, smaller being better.
local function least(rows, key, test)
  local best
  for _, r in ipairs(rows) do
    if r[key] and (not test or test(r)) and (not best or r[key] < best[key]) then best = r end
  end
  return best
end

local function tiles(c)
  local reference = c.rows[1]
  local parts = { tile("reference", reference.name, ("perplexity %.3f, %s"):format(reference.ppl,
    report.bytes(reference.bytes))) }
  local closest = least(c.rows, "kld")
  parts[2] = tile("closest to it", closest.name, ("KLD %.5f, %s"):format(closest.kld, report.bytes(closest.bytes)))
  local small = least(c.rows, "bytes", function(r) return r.ppl_change and r.ppl_change < 0.01 end)
  if small then
    parts[3] = tile("smallest within 1 % of perplexity", small.name, ("%+.2f %%, %.0f %% of the size"):format(
      100 * small.ppl_change, 100 * small.bytes / reference.bytes))
  end
  return '<div class="tiles">' .. table.concat(parts) .. "</div>"
end

-- ---- the table ------------------------------------------------------------------

local function table_html(c)
  local t = c:table()
  for i = #t.columns, 1, -1 do -- tasks have a table of their own
    if t.columns[i].key:find "^task_" then table.remove(t.columns, i) end
  end
  local parts = { "<div class='wide'><table><thead><tr>" }
  for _, column in ipairs(t.columns) do parts[#parts + 1] = "<th>" .. escape(column.title) .. "</th>" end
  parts[#parts + 1] = "</tr></thead><tbody>"
  local front = {}
  for _, r in ipairs(c:pareto()) do front[r] = true end
  for _, row in ipairs(t.rows) do
    parts[#parts + 1] = front[row] and "<tr class='best'>" or "<tr>"
    for _, column in ipairs(t.columns) do
      local v, f = row[column.key], column.format
      local shown = v == nil and "" or type(f) == "string" and f:format(v) or f and f(v) or tostring(v)
      parts[#parts + 1] = "<td>" .. escape(shown) .. "</td>"
    end
    parts[#parts + 1] = "</tr>"
  end
  parts[#parts + 1] = "</tbody></table></div>"
  return table.concat(parts)
end

-- ---- the passage -----------------------------------------------------------------

-- What a reader sees of a token: line breaks are marked.
local function visible(s) return (escape(s):gsub("\n", "↵\n")) end

local function token(p, m, i, worst)
  local t = p.tokens[i]
  local k = worst > 0 and math.min(1, math.sqrt(m.kld[i] / worst)) or 0
  local other = m.top[i] ~= t.top
  local tip = ("KLD %.4f; loss %.2f, was %.2f; most likely %s%s"):format(m.kld[i], m.nll[i], t.nll,
    "“" .. m.top[i] .. "”", other and ", was “" .. t.top .. "”" or "")
  return ('<span%s style="--k:%.3f" title="%s">%s</span>'):format(other and ' class="other"' or "", k,
    escape(tip):gsub("\n", "↵"), visible(t.text))
end

local function passage_html(p, m, worst)
  local parts = {}
  for i = 1, #p.tokens do parts[i] = token(p, m, i, worst) end
  return "<div class='passage'>" .. table.concat(parts) .. "</div>"
end

-- The KLD that gets the full colour: the same for all models.
local function worst_of(p)
  local all = {}
  for _, m in ipairs(p.models) do
    for _, k in ipairs(m.kld) do all[#all + 1] = k end
  end
  return require("wane.stats").quantiles(all)(0.995)
end

-- ---- one model at a time ------------------------------------------------------------

local function pictures_of(c, name, m, worst)
  local parts = {}
  if c.heat[name] then
    parts[#parts + 1] = card("Where the loss comes from",
      "Each tensor shrunk alone, all others as they were: mean KL divergence. The scale is logarithmic.",
      charts.heat(c.heat[name]))
  end
  if m then
    parts[#parts + 1] = card("Token by token",
      "Colour: KL divergence at this token. <u>Underlined</u>: the most likely token is another one than before. "
        .. "Point at a token for numbers.", passage_html(c.passage, m, worst))
  end
  local w = c.weights[name]
  if w then
    parts[#parts + 1] = card("Weights and grid",
      ("<code>%s</code> as %s: histogram of the whole tensor, and the values that one block of it can take. "
        .. "Relative error %.4f."):format(escape(w.name), escape(w.type), w.relative), charts.weights(w))
  end
  return table.concat(parts)
end

local function models_html(c)
  local by_name, worst, buttons, panes = {}, 0, {}, {}
  if c.passage then
    worst = worst_of(c.passage)
    for _, m in ipairs(c.passage.models) do by_name[m.name] = m end
  end
  for i = 2, #c.rows do
    local name = c.rows[i].name
    buttons[#buttons + 1] = ('<button data-pane="%d" aria-pressed="%s">%s</button>'):format(i, tostring(i == 2),
      escape(name))
    panes[#panes + 1] = ('<div class="pane" id="pane%d"%s>%s</div>'):format(i, i == 2 and "" or " hidden",
      pictures_of(c, name, by_name[name], worst))
  end
  return "<nav>" .. table.concat(buttons) .. "</nav>" .. table.concat(panes)
end

-- ---- tasks -----------------------------------------------------------------------

local function tasks_html(c)
  local first = c.tasks[c.rows[1].name]
  if not first then return "" end
  local parts = { "<div class='wide'><table><thead><tr><th>model</th>" }
  for _, r in ipairs(first) do
    parts[#parts + 1] = ("<th>%s<small>%s, %s is better</small></th>"):format(escape(r.name), escape(r.unit), r.better)
  end
  parts[#parts + 1] = "</tr></thead><tbody>"
  for _, row in ipairs(c.rows) do
    parts[#parts + 1] = "<tr><td>" .. escape(row.name) .. "</td>"
    for _, r in ipairs(c.tasks[row.name]) do
      parts[#parts + 1] = ("<td>%.3f%s</td>"):format(r.score, r.err and (" <small>± %.3f</small>"):format(r.err) or "")
    end
    parts[#parts + 1] = "</tr>"
  end
  parts[#parts + 1] = "</tbody></table></div>"
  return card("Tasks", "Made from seeds or read from files; the same questions for every model.", table.concat(parts))
end

--- The page.
---@param c wane.Comparison
---@param title? string
---@return string
return function(c, title)
  title = title or "What shrinking cost"
  local rows = {}
  for _, r in ipairs(c.rows) do
    if r.kld then rows[#rows + 1] = r end
  end
  local body = {
    head(c, title), tiles(c),
    card("Size against loss", "Mean KL divergence from the reference, lower is better. The line joins the models that "
      .. "no other beats in both; bars are standard errors.", charts.scatter(rows, c:pareto())),
    card("Numbers", "Losses are in nats. Memory is the peak of loading and running, with the mapped file.",
      table_html(c)),
    tasks_html(c), models_html(c),
  }
  return table.concat {
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    "<title>", escape(title), "</title><style>", style.css, "</style></head><body><main>",
    table.concat(body, "\n"), "<footer>made by wane</footer></main><script>", style.script, "</script></body></html>\n",
  }
end
