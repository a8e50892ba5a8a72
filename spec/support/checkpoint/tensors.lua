--- Tensors of checkpoints for specs: rows of bytes with a shape, and the ways in
--- which Hugging Face's modules order them differently from GGUF. Written from the
--- modules' side and apart from the product's rows.lua, so that a mistake in one
--- shows against the other.
local M = {}

local core = require "wane.core"

--- A tensor of a GGUF file: shape in the order of PyTorch, one string a row.
function M.of(t)
  local shape = {}
  for i = #t.shape, 1, -1 do shape[#shape + 1] = t.shape[i] end
  return M.new(shape, assert(t:raw()))
end

--- From bytes of float32.
function M.new(shape, bytes)
  local cols, rows = shape[#shape] * 4, {}
  for at = 1, #bytes, cols do rows[#rows + 1] = bytes:sub(at, at + cols - 1) end
  return { shape = shape, rows = rows, dtype = "F32" }
end

function M.bytes(t) return table.concat(t.rows) end

--- The same values under another shape.
function M.shaped(t, ...) return M.new({ ... }, M.bytes(t)) end

--- Row i is row order[i] of t.
function M.pick(t, order)
  local rows = {}
  for i, k in ipairs(order) do rows[i] = t.rows[k] end
  local shape = { #order, t.shape[#t.shape] }
  return { shape = shape, rows = rows, dtype = t.dtype }
end

--- Rows a .. b.
function M.part(t, a, b)
  local order = {}
  for i = a, b do order[#order + 1] = i end
  return M.pick(t, order)
end

--- The rows of all, one below the other.
function M.join(list)
  local rows = {}
  for _, t in ipairs(list) do
    for _, r in ipairs(t.rows) do rows[#rows + 1] = r end
  end
  return { shape = { #rows, list[1].shape[#list[1].shape] }, rows = rows, dtype = list[1].dtype }
end

--- transformers rotates value j of a head together with value j + size / 2
--- (rotate_half); GGUF's llama with its neighbour.
function M.halves(t, heads)
  local column = #t.shape == 1
  local m = column and M.shaped(t, t.shape[1], 1) or t
  local size, order = #m.rows / heads, {}
  for h = 0, heads - 1 do
    for j = 0, size - 1, 2 do order[#order + 1] = h * size + j + 1 end
    for j = 1, size - 1, 2 do order[#order + 1] = h * size + j + 1 end
  end
  local out = M.pick(m, order)
  return column and M.shaped(out, #order) or out
end

-- Every value through f.
local function map(t, f)
  local b = core.quant.buffer(#t.rows, t.shape[#t.shape], M.bytes(t))
  for i = 1, #b do b[i] = f(b[i]) end
  local out = M.new(t.shape, b:bytes())
  b:close()
  return out
end

--- Norms that multiply by 1 + weight.
function M.less_one(t) return map(t, function(v) return v - 1 end) end

--- Decay -exp(A_log).
function M.log_of_minus(t) return map(t, function(v) return math.log(-v) end) end

--- Matrix x of a stack.
function M.matrix(t, x)
  local n = t.shape[2]
  return M.part(t, x * n + 1, (x + 1) * n)
end

--- Two stacks, (n, r, c) each, as (n, 2r, c): first the rows of a, then of b.
function M.over(a, b)
  local list, n, r = {}, a.shape[1], a.shape[2]
  for x = 0, n - 1 do
    list[#list + 1] = M.matrix(a, x)
    list[#list + 1] = M.matrix(b, x)
  end
  return M.shaped(M.join(list), n, 2 * r, a.shape[3])
end

--- As over, but a row of a, a row of b in turns.
function M.in_turns(a, b)
  local rows = {}
  for i = 1, #a.rows do
    rows[#rows + 1] = a.rows[i]
    rows[#rows + 1] = b.rows[i]
  end
  local shape = { a.shape[1], 2 * a.shape[2], a.shape[3] }
  return { shape = shape, rows = rows, dtype = a.dtype }
end

--- (n, r, c) as (n, c, r).
function M.turned(t)
  local n, r, c = t.shape[1], t.shape[2], t.shape[3]
  local rows = {}
  for x = 0, n - 1 do
    for k = 0, c - 1 do
      local parts = {}
      for i = 1, r do parts[i] = t.rows[x * r + i]:sub(k * 4 + 1, k * 4 + 4) end
      rows[#rows + 1] = table.concat(parts)
    end
  end
  return { shape = { n, c, r }, rows = rows, dtype = t.dtype }
end

--- The order in which value heads stand by key head (k = 0: its heads 0 .. per-1,
--- then k = 1), of `n` rows each behind `first`, when GGUF deals them in turns
--- (key heads 0 .. nk-1, and again).
function M.grouped(t, nk, nv, n, first)
  local order, per = {}, nv / nk
  for i = 1, first do order[i] = i end
  for k = 0, nk - 1 do
    for r = 0, per - 1 do
      for j = 1, n do order[#order + 1] = first + (r * nk + k) * n + j end
    end
  end
  return M.pick(t, order)
end

--- As grouped, for columns.
function M.grouped_columns(t, nk, nv, n)
  local per, rows = nv / nk, {}
  for i, row in ipairs(t.rows) do
    local parts = {}
    for k = 0, nk - 1 do
      for r = 0, per - 1 do
        local at = (r * nk + k) * n * 4
        parts[#parts + 1] = row:sub(at + 1, at + n * 4)
      end
    end
    rows[i] = table.concat(parts)
  end
  return { shape = t.shape, rows = rows, dtype = t.dtype }
end

return M
