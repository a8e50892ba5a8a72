--- Operations of the builder (wane.arch.graph) beside attention: parts of rows,
-- matrices by head, convolutions, recurrences. Each of those that look at
-- earlier tokens keeps something of a sequence; what, follows from its widths.
---@param Graph table the builder's class
---@param tools table its local functions
return function(Graph, tools)
  local op, weight, vector, ids = tools.op, tools.weight, tools.vector, tools.ids
  local width_of, state_of, options = tools.width_of, tools.state_of, tools.options

  --- n values of each row of x, from value `first` (0) on.
  function Graph:part(x, first, n)
    local s = state_of(self)
    return op(s, n, "part", nil, self.prefix .. "part", ids(s, x), {}, { first, n }, {})
  end

  --- Sums of groups of n values of x.
  function Graph:sums(x, n)
    local s = state_of(self)
    return op(s, width_of(x) / n, "sums", nil, self.prefix .. "sums", ids(s, x), {}, { n }, {})
  end

  --- Each head of a values of x followed by one of b values of y (which may have
  --- a single head, for all). Without a and b: the two rows one behind the other.
  function Graph:join(x, y, a, b)
    local s = state_of(self)
    a, b = a or width_of(x), b or width_of(y)
    return op(s, width_of(x) / a * (a + b), "join", nil, self.prefix .. "join", ids(s, x, y), {}, { a, b }, {})
  end

  --- Each of n heads of x times its own matrix of `name`.weight, [head, out, n].
  function Graph:heads(x, name, n, out)
    local s = state_of(self)
    local w = weight(s, self.prefix .. name .. ".weight", true, width_of(x) / n, out, n)
    return op(s, n * out, "heads", nil, self.prefix .. name, ids(s, x), { w, tools.factor(self, name) }, { n }, {})
  end

  --- Causal convolution over tokens with `name`.weight, [taps, channels], plus
  --- `name`.bias when the file has it.
  function Graph:conv(x, name, taps)
    local s = state_of(self)
    local w = vector(self, name .. ".weight", taps * width_of(x))
    local b = self:has(name, ".bias") and vector(self, name .. ".bias", width_of(x))
    return op(s, width_of(x), "conv", "conv", self.prefix .. name, ids(s, x), { w, b }, { tools.new_slot(s), taps }, {})
  end

  --- The row of the token before (zeros at the start).
  function Graph:shift(x)
    local s = state_of(self)
    return op(s, width_of(x), "conv", "shift", self.prefix .. "shift", ids(s, x), {}, { tools.new_slot(s), 2 }, {})
  end

  --- The gated delta rule over q|k|v. Options: keys, values (numbers of heads),
  --- head (values of one), eps, kind: which key head a value head has, "tiled"
  --- (h mod keys) or "grouped" (h / (values / keys)).
  function Graph:delta(qkv, decay, beta, opts)
    local s = state_of(self)
    opts = options(opts, { keys = true, values = true, head = true, eps = true, kind = true })
    return op(s, opts.values * opts.head, "delta", opts.kind, self.prefix .. "delta", ids(s, qkv, decay, beta), {},
      { tools.new_slot(s), opts.keys, opts.values, opts.head }, { opts.eps })
  end

  --- A selective state space with the tensors ssm_a, ssm_dt.bias, ssm_d. Kind
  --- "heads" (Mamba2): x has x|B|C; "channels" (Mamba1): bc has B|C. Options:
  --- heads, state, groups, inner.
  function Graph:scan(kind, x, bc, dt, opts)
    local s = state_of(self)
    opts = options(opts, { heads = true, state = true, groups = true, inner = true })
    local input = kind == "heads" and ids(s, x, dt) or ids(s, x, bc, dt)
    local h = opts.heads
    local w = {
      vector(self, "ssm_a", kind == "heads" and h or h * opts.state), vector(self, "ssm_dt.bias", h),
      vector(self, "ssm_d", h),
    }
    return op(s, opts.inner, "scan", kind, self.prefix .. "scan", input, w,
      { tools.new_slot(s), h, opts.state, opts.groups, opts.inner }, {})
  end

  --- RWKV's recurrence over r|w|k|v|a|b of n heads.
  function Graph:wkv(x, n, head)
    local s = state_of(self)
    return op(s, n * head, "wkv", nil, self.prefix .. "wkv", ids(s, x), {}, { tools.new_slot(s), n, head }, {})
  end

  --- The activation of Apertus with its four numbers.
  function Graph:xielu(x, p, q, beta, eps)
    local s = state_of(self)
    return op(s, width_of(x), "xielu", nil, self.prefix .. "xielu", ids(s, x), {}, {}, { p, q, beta, eps })
  end
end
