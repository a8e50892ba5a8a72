--- The report of a comparison: one HTML page that needs nothing else.
local charts = require "wane.eval.charts"
local frame = require "wane.eval.frame"
local report = require "wane.report"

local escape, card = charts.escape, frame.card

-- ---- head --------------------------------------------------------------------

local function head(c, title)
  return frame.head(title, ("%d models against <b>%s</b> on %s tokens, %d a chunk. %s."):format(#c.rows - 1, escape(c.rows[1].name),
    report.count(c.tokens), c.context, escape(c.cpu.name)))
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

-- The rows whose KLD is within the errors of the best one's: a tie. The
-- smallest file first.
local function tied(rows, best)
  local list = {}
  for _, r in ipairs(rows) do
    if r.kld and r.kld - best.kld <= math.sqrt(r.kld_err ^ 2 + best.kld_err ^ 2) then list[#list + 1] = r end
  end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes < b.bytes end
    return a.name < b.name
  end)
  return list
end

local function names(rows)
  local list = {}
  for i, r in ipairs(rows) do list[i] = r.name end
  return table.concat(list, " = ")
end

local function tiles(c)
  local reference = c.rows[1]
  local parts = { tile("reference", reference.name, ("perplexity %.3f, %s"):format(reference.ppl,
    report.bytes(reference.bytes))) }
  local closest = tied(c.rows, least(c.rows, "kld"))
  parts[2] = tile(#closest > 1 and "closest to it, no difference measured" or "closest to it", names(closest),
    ("KLD %.5f ± %.5f nats, %s"):format(closest[1].kld, closest[1].kld_err, report.bytes(closest[1].bytes)))
  local small = least(c.rows, "bytes", function(r) return r.ppl_change and r.ppl_change < 0.01 end)
  if small then
    local same = {}
    for _, r in ipairs(c.rows) do
      if r.bytes == small.bytes and r.ppl_change and r.ppl_change < 0.01 then same[#same + 1] = r end
    end
    parts[3] = tile("smallest within 1 % of perplexity", names(same), ("%+.2f ± %.2f %%, %.0f %% of the size"):format(
      100 * small.ppl_change, 100 * small.ppl_change_err, 100 * small.bytes / reference.bytes))
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
  for _, column in ipairs(t.columns) do
    parts[#parts + 1] = ("<th>%s<small>%s</small></th>"):format(escape(column.title), column.unit and escape(column.unit) or "&nbsp;")
  end
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

-- A list of the tokens that suffer most.
local function worst_html(m)
  local parts = { '<table class="worst"><thead><tr><th>text, token</th><th>KLD<small>nats</small></th>'
    .. '<th>loss<small>nats</small></th></tr></thead><tbody>' }
  local function line(s) return (escape(s):gsub("\n", "↵")) end
  for _, w in ipairs(m.worst) do
    parts[#parts + 1] = ("<tr><td>%s<mark>%s</mark><small>most likely “%s”, was “%s”</small></td><td>%.3f</td>"
      .. "<td>%.2f<small>was %.2f</small></td></tr>"):format(line(w.before), line(w.text), line(w.top), line(w.was_top), w.kld, w.nll,
      w.was_nll)
  end
  parts[#parts + 1] = "</tbody></table>"
  return table.concat(parts)
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
      "How the text begins. Colour: KL divergence at this token. <u>Underlined</u>: the most likely token is another one "
        .. "than before. Point at a token for numbers. Then the tokens of the whole text that suffer most.",
      ('<div class="beside">%s%s</div>'):format(passage_html(c.passage, m, worst), worst_html(m)))
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
    for _, r in ipairs(c.tasks[row.name] or {}) do
      parts[#parts + 1] = ("<td>%.3f%s</td>"):format(r.score, r.err and (" <small>± %.3f</small>"):format(r.err) or "")
    end
    parts[#parts + 1] = "</tr>"
  end
  parts[#parts + 1] = "</tbody></table></div>"
  return card("Tasks", "Made from seeds or read from files; the same questions for every model.", table.concat(parts))
end

-- ---- where it came from -------------------------------------------------------------

local function origin_html(o)
  local parts = { "<dl>" }
  local function add(what, text) parts[#parts + 1] = ("<dt>%s</dt><dd>%s</dd>"):format(what, text) end
  add("when, with what", ("%s, wane %s"):format(escape(o.date), escape(o.version)))
  if o.command then add("command", "<code>" .. escape(o.command) .. "</code>") end
  add("machine", ("%s, kernels %s, %d threads"):format(escape(o.machine), escape(o.isa), o.threads))
  add("text", ("%s%s tokens scored, %d a chunk%s"):format(o.text.bytes and report.count(o.text.bytes) .. " bytes, " or "",
    report.count(o.text.tokens), o.context, o.text.sha256 and "<br><code>sha256 " .. o.text.sha256 .. "</code>" or ""))
  add("seed", ("%d, for tasks that are made from one; all else has no chance in it"):format(o.seed))
  for _, f in ipairs(o.files) do
    add("file", ("%s, %s bytes<br><code>sha256 %s</code>"):format(escape(f.path), report.count(f.bytes), f.sha256))
  end
  parts[#parts + 1] = "</dl>"
  return card("Where this came from", "What it takes to do it again.", table.concat(parts))
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
    card("Numbers", "The error of the change is paired: the same positions in both models. Memory is the peak of loading and running, with the "
      .. "mapped file. Marked: no other is smaller and closer.",
      table_html(c)),
    tasks_html(c), models_html(c), c.origin and origin_html(c.origin) or "",
  }
  return frame.page(title, body)
end
