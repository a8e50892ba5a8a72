--- Chat templates: the text of values, plain and as JSON. Adds to the module
--- value.lua that it is given.
return function(M)
  local bad, kind = M.bad, M.kind

  local ESCAPED = {
    ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
  }
  local function json_string(s)
    return '"' .. s:gsub('[%z\1-\31"\\]', function(c)
      return ESCAPED[c] or ("\\u%04x"):format(c:byte())
    end) .. '"'
  end

  --- An integer in full.
  local function int_text(v)
    return ("%.0f"):format(v)
  end

  --- A float with up to six decimals, at least one.
  local function float_text(x)
    if x ~= x then return "nan" end
    if x == math.huge or x == -math.huge then return x > 0 and "inf" or "-inf" end
    local s = ("%f"):format(x):gsub(",", "."):gsub("0+$", "") -- some locales write a comma
    return s:sub(-1) == "." and s .. "0" or s
  end

  --- Collects pieces of text; `state` counts their bytes (eval.lua).
  local function writer(state)
    local out = {}
    return out, function(s)
      if state then state:spend(1 + #s / 16) end
      out[#out + 1] = s
    end
  end

  local json

  local function json_list(v, put, opts, level)
    local inner, outer = "", ""
    if opts.indent then
      inner = "\n" .. (" "):rep((level + 1) * opts.indent)
      outer = "\n" .. (" "):rep(level * opts.indent)
    end
    local obj = v.k == "obj"
    put(obj and "{" or "[")
    for i = 1, v.n do
      put((i > 1 and opts.item or "") .. inner)
      if obj then
        put(json_string(M.bytes(M.text(v.keys[i]))))
        put(opts.key)
      end
      json(obj and v.vals[i] or v[i], put, opts, level + 1)
    end
    if v.n > 0 then put(outer) end
    put(obj and "}" or "]")
  end

  function json(v, put, opts, level)
    if level > 100 then M.fail(nil, "a value nests deeper than 100", "ELIMIT") end
    local k = kind(v)
    if k == "str" then
      local s = M.bytes(v)
      opts.outside = opts.outside or type(v) == "table"
      put(json_string(s))
    elseif k == "int" then put(int_text(v))
    elseif k == "float" then put((("%.6g"):format(v.n):gsub(",", ".")))
    elseif k == "bool" then put(v and "true" or "false")
    elseif k == "arr" or k == "obj" then json_list(v, put, opts, level)
    else put "null" end
  end

  --- JSON of a value, keys in order. Marked as outside text when any string in
  --- it is.
  ---@param opts? { indent?: integer, item?: string, key?: string }
  function M.to_json(v, opts, state)
    opts = opts or {}
    local o = { indent = opts.indent, item = opts.item or (opts.indent and "," or ", "), key = opts.key or ": " }
    local out, put = writer(state)
    json(v, put, o, 0)
    local s = table.concat(out)
    return o.outside and M.outside(s) or s
  end

  --- A value inside the text of a list: strings in quotes.
  local function quoted(v, put, level, marks)
    if level > 100 then M.fail(nil, "a value nests deeper than 100", "ELIMIT") end
    local k = kind(v)
    if k == "str" then
      marks.outside = marks.outside or type(v) == "table"
      local s = M.bytes(v)
      put(s:find("'", 1, true) and json_string(s) or "'" .. s .. "'")
    elseif k == "arr" then
      put(v.tuple and "(" or "[")
      for i = 1, v.n do
        if i > 1 then put ", " end
        quoted(v[i], put, level + 1, marks)
      end
      put(v.tuple and (v.n == 1 and ",)" or ")") or "]")
    elseif k == "obj" then
      put "{"
      for i = 1, v.n do
        if i > 1 then put ", " end
        quoted(v.keys[i], put, level + 1, marks)
        put ": "
        quoted(v.vals[i], put, level + 1, marks)
      end
      put "}"
    elseif k == "undef" or k == "fn" then put(M.type_name(v))
    else put(M.bytes(M.text(v))) end
  end

  --- The text of a value, as `~` and filters see it.
  function M.text(v, state)
    local k = kind(v)
    if k == "str" then return v end
    if k == "int" then return int_text(v) end
    if k == "float" then return float_text(v.n) end
    if k == "bool" then return v and "True" or "False" end
    if k == "none" then return "None" end
    if k == "arr" or k == "obj" then
      local out, put = writer(state)
      local marks = {}
      quoted(v, put, 0, marks)
      local s = table.concat(out)
      return marks.outside and M.outside(s) or s
    end
    bad(M.type_name(v) .. " has no text")
  end
end
