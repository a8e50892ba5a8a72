--- Charts of the report as SVG text. Colours come from the page's style sheet
--- (classes and variables), so that light and dark need one drawing.
local M = {}

local names = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Is s well-formed UTF-8 of printable characters?
local function is_text(s)
  local i = 1
  while i <= #s do
    local b = s:byte(i)
    local n = b < 0x80 and 0 or b >= 0xC2 and b < 0xE0 and 1 or b >= 0xE0 and b < 0xF0 and 2 or b >= 0xF0 and b < 0xF5 and 3
    if not n or (b < 0x20 and b ~= 10 and b ~= 9) or b == 0x7f then return false end
    for k = 1, n do
      local c = s:byte(i + k)
      if not c or c < 0x80 or c > 0xBF then return false end
    end
    i = i + n + 1
  end
  return true
end

--- Text made safe for HTML; bytes that are no text are shown as numbers.
---@param s any
---@return string
function M.escape(s)
  s = tostring(s)
  if not is_text(s) then
    s = s:gsub("[^\32-\126\n]", function(c) return ("\\x%02x"):format(c:byte()) end)
  end
  return (s:gsub("[&<>\"']", names))
end
local escape = M.escape

local function round(v) return ("%.1f"):format(v) end

-- An element: tag, attributes as { name, value, ... } in order, content.
local function element(tag, attributes, content)
  local parts = { "<" .. tag }
  for i = 1, #attributes, 2 do
    local v = attributes[i + 1]
    if type(v) == "number" then v = round(v) end
    parts[#parts + 1] = (' %s="%s"'):format(attributes[i], v)
  end
  parts[#parts + 1] = content and (">" .. content .. "</" .. tag .. ">") or "/>"
  return table.concat(parts)
end
M.element = element

local function text(x, y, class, s, more)
  local a = { "x", x, "y", y, "class", class }
  for _, v in ipairs(more or {}) do a[#a + 1] = v end
  return element("text", a, escape(s))
end

local function svg(width, height, label, parts)
  return ('<svg viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>'):format(width, height, escape(label),
    table.concat(parts, "\n"))
end

-- 1, 2, 5, 10, ... steps for about n ticks of a range.
local function step_for(span, n)
  local raw = span / n
  local power = 10 ^ math.floor(math.log(raw) / math.log(10))
  for _, m in ipairs { 1, 2, 5, 10 } do
    if raw <= m * power then return m * power end
  end
end

-- ---- size against KLD ------------------------------------------------------

local W, H, LEFT, RIGHT, TOP, BOTTOM = 760, 370, 82, 28, 14, 46
local MIB = 1024 * 1024

-- Scales of the scatter: bytes to x, KLD (logarithmic) to y.
local function scatter_scales(rows)
  local lo_x, hi_x, lo_y, hi_y = math.huge, -math.huge, math.huge, -math.huge
  for _, r in ipairs(rows) do
    lo_x, hi_x = math.min(lo_x, r.bytes), math.max(hi_x, r.bytes)
    local k = math.max(r.kld, 1e-9)
    lo_y, hi_y = math.min(lo_y, k), math.max(hi_y, k)
  end
  local pad = math.max((hi_x - lo_x) * 0.12, hi_x * 0.02)
  lo_x, hi_x = lo_x - pad, hi_x + pad * 1.6
  local log = math.log
  lo_y, hi_y = log(lo_y) / log(10) - 0.25, log(hi_y) / log(10) + 0.25
  return {
    lo_x = lo_x, hi_x = hi_x, lo_y = lo_y, hi_y = hi_y,
    x = function(v) return LEFT + (v - lo_x) / (hi_x - lo_x) * (W - LEFT - RIGHT) end,
    y = function(v)
      return H - BOTTOM - (log(math.max(v, 1e-9)) / log(10) - lo_y) / (hi_y - lo_y) * (H - TOP - BOTTOM)
    end,
  }
end

local function scatter_axes(s, out)
  local unit, word = MIB, "MiB"
  if s.hi_x > 4096 * MIB then unit, word = 1024 * MIB, "GiB" end
  local step = step_for((s.hi_x - s.lo_x) / unit, 7)
  for i = math.ceil(s.lo_x / unit / step), math.floor(s.hi_x / unit / step) do
    local x = s.x(i * step * unit)
    out[#out + 1] = element("line", { "class", "grid", "x1", x, "x2", x, "y1", TOP, "y2", H - BOTTOM })
    out[#out + 1] = text(x, H - BOTTOM + 18, "tick mid", ("%g"):format(i * step))
  end
  for e = math.ceil(s.lo_y) - 1, math.floor(s.hi_y) + 1 do
    for _, m in ipairs { 1, 2, 5 } do
      local v = m * 10 ^ e
      local y = s.y(v)
      if y > TOP and y < H - BOTTOM then
        out[#out + 1] = element("line", { "class", "grid", "x1", LEFT, "x2", W - RIGHT, "y1", y, "y2", y })
        out[#out + 1] = text(LEFT - 8, y + 4, "tick end", ("%.6g"):format(v))
      end
    end
  end
  out[#out + 1] = text((LEFT + W - RIGHT) / 2, H - 8, "axis mid", "size, " .. word)
  out[#out + 1] = text(14, (TOP + H - BOTTOM) / 2, "axis mid", "mean KL divergence, nats",
    { "transform", ("rotate(-90 14 %s)"):format(round((TOP + H - BOTTOM) / 2)) })
end

local function front_line(s, front, out)
  local points = {}
  for i, r in ipairs(front) do points[i] = ("%s,%s"):format(round(s.x(r.bytes)), round(s.y(r.kld))) end
  if #points > 1 then
    out[#out + 1] = element("polyline", { "class", "front", "points", table.concat(points, " ") })
  end
end

-- A free place for a label near a point: right, left, above or below it.
local function label_place(x, y, width, taken)
  local places = { { 8, -7 }, { 10, 4 }, { -10 - width, 15 }, { -width / 2, -13 }, { -width / 2, 22 }, { 8, 19 } }
  for _, p in ipairs(places) do
    local a = { x + p[1], y + p[2] - 12, x + p[1] + width, y + p[2] + 3 }
    local free = a[1] > LEFT and a[3] < W - 2 and a[2] > TOP and a[4] < H - BOTTOM
    for _, b in ipairs(taken) do
      if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4] then free = false end
    end
    if free then
      taken[#taken + 1] = a
      return x + p[1], y + p[2]
    end
  end
  return x + 10, y + 4
end

local function mark(s, r, on_front, taken, out)
  local x, y = s.x(r.bytes), s.y(r.kld)
  local top, low = s.y(r.kld + r.kld_err), s.y(math.max(r.kld - r.kld_err, r.kld / 10))
  local tip = ("<title>%s: %.2f bits per weight, KLD %.5f ± %.5f</title>"):format(escape(r.name), r.bpw, r.kld, r.kld_err)
  local lx, ly = label_place(x, y, 7.4 * #r.name, taken)
  out[#out + 1] = "<g class='point" .. (on_front and " best" or "") .. "'>" .. tip
    .. element("line", { "class", "bar", "x1", x, "x2", x, "y1", top, "y2", low })
    .. element("circle", { "cx", x, "cy", y, "r", on_front and 5.5 or 4.5 })
    .. text(lx, ly, "label", r.name) .. "</g>"
end

--- Size against KLD with the front of what nothing beats.
---@param rows table[]   with bytes, bpw, kld, kld_err, name
---@param front table[]  some of them, smallest first
---@return string
function M.scatter(rows, front)
  local s, out, best, taken = scatter_scales(rows), {}, {}, {}
  for _, r in ipairs(front) do best[r] = true end
  scatter_axes(s, out)
  front_line(s, front, out)
  for _, r in ipairs(rows) do
    local x, y = s.x(r.bytes), s.y(r.kld)
    taken[#taken + 1] = { x - 6, y - 6, x + 6, y + 6 }
  end
  for _, r in ipairs(rows) do mark(s, r, best[r], taken, out) end
  return svg(W, H, "Size against KL divergence", out)
end

-- ---- losses of a training ------------------------------------------------------

-- Steps to x; losses to y, a little room above and below.
local function curve_scales(losses, held)
  local lo, hi = math.huge, -math.huge
  for _, l in ipairs(losses) do lo, hi = math.min(lo, l), math.max(hi, l) end
  for _, h in ipairs(held) do lo, hi = math.min(lo, h.loss), math.max(hi, h.loss) end
  local pad = math.max((hi - lo) * 0.06, hi * 1e-3, 1e-9)
  lo, hi = lo - pad, hi + pad
  return {
    lo = lo, hi = hi, x = function(step) return LEFT + step / #losses * (W - LEFT - RIGHT) end,
    y = function(l) return H - BOTTOM - (l - lo) / (hi - lo) * (H - TOP - BOTTOM) end,
  }
end

local function curve_axes(s, n, out)
  local every = math.max(1, step_for(n, 8))
  for i = 0, math.floor(n / every) do
    out[#out + 1] = element("line", { "class", "grid", "x1", s.x(i * every), "x2", s.x(i * every), "y1", TOP, "y2", H - BOTTOM })
    out[#out + 1] = text(s.x(i * every), H - BOTTOM + 18, "tick mid", ("%d"):format(i * every))
  end
  every = step_for(s.hi - s.lo, 6)
  for i = math.ceil(s.lo / every), math.floor(s.hi / every) do
    out[#out + 1] = element("line", { "class", "grid", "x1", LEFT, "x2", W - RIGHT, "y1", s.y(i * every), "y2", s.y(i * every) })
    out[#out + 1] = text(LEFT - 8, s.y(i * every) + 4, "tick end", ("%.6g"):format(i * every))
  end
  out[#out + 1] = text((LEFT + W - RIGHT) / 2, H - 8, "axis mid", "step")
  out[#out + 1] = text(14, (TOP + H - BOTTOM) / 2, "axis mid", "nats per token",
    { "transform", ("rotate(-90 14 %s)"):format(round((TOP + H - BOTTOM) / 2)) })
end

--- Losses of each step as a thin line, those of what was held out as points on a thick one.
---@param losses number[]
---@param held { step: integer, loss: number }[]
---@return string
function M.curve(losses, held)
  local s, out, line = curve_scales(losses, held), {}, {}
  curve_axes(s, #losses, out)
  for i, l in ipairs(losses) do line[i] = ("%s,%s"):format(round(s.x(i)), round(s.y(l))) end
  out[#out + 1] = element("polyline", { "class", "run", "points", table.concat(line, " ") })
  line = {}
  for i, h in ipairs(held) do line[i] = ("%s,%s"):format(round(s.x(h.step)), round(s.y(h.loss))) end
  out[#out + 1] = element("polyline", { "class", "front", "points", table.concat(line, " ") })
  for _, h in ipairs(held) do
    out[#out + 1] = ("<g class='point best'><title>step %d: %.4f nats per token held out</title>"):format(h.step, h.loss)
      .. element("circle", { "cx", s.x(h.step), "cy", s.y(h.loss), "r", 4.5 }) .. "</g>"
  end
  return svg(W, H, "Losses of a training", out)
end

-- ---- heat map ----------------------------------------------------------------

-- Rows (roles) and columns (layers) of a map, and the tensors without a layer.
local function arrange(cells)
  local roles, seen, layers, others, by = {}, {}, 0, {}, {}
  for _, c in ipairs(cells) do
    if c.layer then
      if not seen[c.role] then
        seen[c.role] = true
        roles[#roles + 1] = c.role
      end
      by[c.role] = by[c.role] or {}
      by[c.role][c.layer] = c
      layers = math.max(layers, c.layer + 1)
    else
      others[#others + 1] = c
    end
  end
  return roles, layers, others, by
end

-- KLD to a share of the colour, logarithmic over what occurs.
local function shade(cells)
  local lo, hi = math.huge, 0
  for _, c in ipairs(cells) do
    local k = math.max(c.kld, 1e-9)
    lo, hi = math.min(lo, k), math.max(hi, k)
  end
  local span = math.log(hi / lo)
  return function(k)
    return span > 0 and 0.06 + 0.94 * math.log(math.max(k, 1e-9) / lo) / span or 0.5
  end, lo, hi
end

local function cell(c, x, y, w, h, heat)
  local k = heat(c.kld)
  local inner = w >= 34 and text(x + w / 2, y + h / 2 + 3.5, "cell mid" .. (k > 0.65 and " hot" or ""), c.type) or ""
  return ("<g><title>%s, %s: KLD %.6f ± %.6f</title>"):format(escape(c.name), escape(c.type), c.kld, c.err)
    .. element("rect", { "x", x + 1, "y", y + 1, "width", w - 2, "height", h - 2, "rx", 3, "class", "heat",
      "style", ("--k:%.3f"):format(k) }) .. inner .. "</g>"
end

-- The colours and what they mean.
local function legend(x, y, lo, hi)
  local parts = { text(x - 8, y + 10, "tick end", ("%.2g"):format(lo)) }
  for i = 0, 23 do
    parts[#parts + 1] = element("rect", { "x", x + i * 6, "y", y, "width", 6.4, "height", 12, "class", "heat",
      "style", ("--k:%.3f"):format(0.06 + 0.94 * i / 23) })
  end
  parts[#parts + 1] = text(x + 152, y + 10, "tick", ("%.2g nats"):format(hi))
  return table.concat(parts)
end

--- KLD by layer and tensor.
---@param map wane.Heat
---@return string
function M.heat(map)
  local roles, layers, others, by = arrange(map.cells)
  local heat, lo, hi = shade(map.cells)
  local left, h, out = 104, 26, {}
  local w = math.min(76, (W - left - 8) / math.max(1, layers))
  for r, role in ipairs(roles) do
    local y = 22 + (r - 1) * h
    out[#out + 1] = text(left - 10, y + h / 2 + 4, "name end", role)
    for l = 0, layers - 1 do
      local c = by[role][l]
      if c then out[#out + 1] = cell(c, left + l * w, y, w, h, heat) end
    end
  end
  local every = math.max(1, math.ceil(layers * 24 / (W - left)))
  for l = 0, layers - 1, every do out[#out + 1] = text(left + (l + 0.5) * w, 14, "tick mid", l) end
  if layers > 0 then out[#out + 1] = text(left - 10, 14, "tick end", "layer") end
  local y = 22 + #roles * h + 14
  local wide = math.max(w, 64)
  for i, c in ipairs(others) do
    out[#out + 1] = text(left - 10, y + h / 2 + 4, "name end", c.role)
    out[#out + 1] = cell(c, left, y, wide, h, heat)
    if i < #others then y = y + h end
  end
  out[#out + 1] = legend(W - 248, y + 6, lo, hi)
  return svg(W, y + h + 8, "KL divergence of each tensor shrunk alone", out)
end

-- ---- weights -------------------------------------------------------------------

local function weight_scale(w)
  local edge = w.edge
  for _, v in ipairs(w.original) do edge = math.max(edge, math.abs(v)) end
  for _, v in ipairs(w.grid) do edge = math.max(edge, math.abs(v)) end
  return function(v) return 24 + (v + edge) / (2 * edge) * (W - 48) end, edge
end

-- The histogram as one filled shape.
local function bars(w, x, base, height)
  local most, n = 1, #w.counts
  for _, c in ipairs(w.counts) do most = math.max(most, c) end
  local step = 2 * w.edge / n
  local d = { ("M%s %s"):format(round(x(-w.edge)), round(base)) }
  for i, c in ipairs(w.counts) do
    local y = base - c / most * height
    d[#d + 1] = ("L%s %s"):format(round(x(-w.edge + (i - 1) * step)), round(y))
    d[#d + 1] = ("L%s %s"):format(round(x(-w.edge + i * step)), round(y))
  end
  d[#d + 1] = ("L%s %sZ"):format(round(x(w.edge)), round(base))
  return element("path", { "class", "hist", "d", table.concat(d) })
end

--- The histogram of a tensor, the grid of one block over it, and where each
--- weight of the block went.
---@param w wane.Weights
---@return string
function M.weights(w)
  local x, edge = weight_scale(w)
  local base, from, to, out = 190, 214, 282, {}
  out[#out + 1] = bars(w, x, base, 168)
  for _, v in ipairs(w.grid) do
    out[#out + 1] = element("line", { "class", "level", "x1", x(v), "x2", x(v), "y1", 14, "y2", base })
  end
  out[#out + 1] = element("line", { "class", "base", "x1", 24, "x2", W - 24, "y1", base, "y2", base })
  for i, v in ipairs(w.original) do
    out[#out + 1] = element("line", { "class", "move", "x1", x(v), "y1", from, "x2", x(w.decoded[i]), "y2", to })
    out[#out + 1] = element("circle", { "class", "was", "cx", x(v), "cy", from, "r", 2.2 })
  end
  for _, v in ipairs(w.grid) do
    out[#out + 1] = element("circle", { "class", "is", "cx", x(v), "cy", to, "r", 3 })
  end
  for _, v in ipairs { -1, -0.5, 0, 0.5, 1 } do
    out[#out + 1] = text(x(v * edge), to + 24, "tick " .. (v == -1 and "" or v == 1 and "end" or "mid"),
      ("%.2g"):format(v * edge))
  end
  out[#out + 1] = text(24, from - 8, "tick", ("%d weights of row %d"):format(#w.original, w.row))
  out[#out + 1] = text(W - 24, from - 8, "tick end", ("become %d values"):format(#w.grid))
  return svg(W, to + 32, "Histogram of weights and the grid of the format", out)
end

return M
