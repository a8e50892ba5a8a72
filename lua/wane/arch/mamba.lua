--- Selective state spaces: mamba, mamba2, and the layers of this kind in the
--- hybrids granitehybrid, nemotron_h, falcon-h1 and jamba.
local M = {}

local fail = require("wane.arch.hparams").fail

--- Sizes of a Mamba2 layer, checked to fit together.
---@param hp table
function M.sizes(hp)
  local r, most = hp.r, 2 ^ 24
  local s = {
    taps = r:count("ssm.conv_kernel", 2, 16), inner = r:count("ssm.inner_size", 1, most),
    state = r:count("ssm.state_size", 1, 1024), heads = r:count("ssm.time_step_rank", 1, most),
    groups = r:count("ssm.group_count", 1, 4096, 1),
  }
  if s.inner % s.heads ~= 0 or s.heads % s.groups ~= 0 then
    fail("EFORMAT", "keys %sssm.*: %d channels in %d heads and %d groups", r.prefix, s.inner, s.heads, s.groups)
  end
  return s
end

--- A Mamba2 layer on a normed input: a decay for each head.
function M.two(b, a, s)
  local bc = 2 * s.groups * s.state
  local all = 2 * s.inner + bc + s.heads
  local function rows(first, n) return b:linear(a, "ssm_in", { out = all, part = { first, n } }) end
  local z, x, dt = rows(0, s.inner), rows(s.inner, s.inner + bc), rows(2 * s.inner + bc, s.heads)
  local y = b:scan("heads", b:act("silu", b:conv(x, "ssm_conv1d", s.taps)), nil, dt,
    { heads = s.heads, state = s.state, groups = s.groups, inner = s.inner })
  y = b:glu("silu", z, y)
  if b:has "ssm_norm" then y = b:norm(y, "ssm_norm", { per = "head", head = s.inner / s.groups }) end
  return b:linear(y, "ssm_out", { out = b.hp.embedding_length })
end

--- Sizes of a Mamba1 layer.
---@param hp table
function M.one_sizes(hp)
  local r = hp.r
  return {
    taps = r:count("ssm.conv_kernel", 2, 16), inner = r:count("ssm.inner_size", 1, 2 ^ 24),
    state = r:count("ssm.state_size", 1, 1024), heads = r:count("ssm.time_step_rank", 1, 2 ^ 24),
  }
end

--- A Mamba1 layer: a decay for each channel and value of the state.
function M.one(b, a, s)
  local rank, n = s.heads, s.state
  local function rows(first) return b:linear(a, "ssm_in", { out = 2 * s.inner, part = { first, s.inner } }) end
  local x, z = rows(0), rows(s.inner)
  x = b:act("silu", b:conv(x, "ssm_conv1d", s.taps))
  local function more(first, k) return b:linear(x, "ssm_x", { out = rank + 2 * n, part = { first, k } }) end
  local dt, bc = more(0, rank), more(rank, 2 * n)
  if b:has "ssm_dt_norm" then
    dt = b:norm(dt, "ssm_dt_norm")
    bc = b:join(b:norm(b:part(bc, 0, n), "ssm_b_norm"), b:norm(b:part(bc, n, n), "ssm_c_norm"))
  end
  dt = b:linear(dt, "ssm_dt", { out = s.inner, bias = false })
  local y = b:scan("channels", x, bc, dt, { heads = s.inner, state = n, groups = 1, inner = s.inner })
  return b:linear(b:glu("silu", z, y), "ssm_out", { out = b.hp.embedding_length })
end

--- mamba, mamba2: nothing but such layers.
function M.describe(m)
  local hp = m.hp
  m:use { norm = "rms" }
  local two = hp.architecture == "mamba2"
  local s = two and M.sizes(hp) or M.one_sizes(hp)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    x = x + (two and M.two or M.one)(b, b:norm(x, "attn_norm"), s)
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end

return M
