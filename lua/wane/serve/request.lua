--- What a client sent: JSON fields, checked one by one.
---
--- What it guarantees: a field of a wrong type or out of range is refused with
--- an error object that names it, before any work is done; null counts as
--- absent; fields that nobody asks for are ignored, as clients of this API
--- expect. A refusal is raised as a table { status, message, param, kind, code }
--- and becomes the answer (wane.serve.http).
---
--- How it works: objects are read in their order and kept so (`raw`: schemas and
--- tools reach templates and grammars as they were written); fields are looked up
--- in a plain view of them.
---
---     local r = request.new(body)
---     local n = r:integer("n", 1, 16) or 1
local M = {}

local json = require "wane.json"
local options = require "wane.options"

local Refusal = { __tostring = function(e) return e.message end }

--- Raises a refusal. kind and code are OpenAI's `type` and `code`.
---@param status integer
---@param message string
---@param param? string
---@param code? string
function M.refuse(status, message, param, code)
  local kind = status == 401 and "authentication_error" or status == 404 and "not_found_error"
    or status == 501 and "not_supported_error" or status == 503 and "unavailable_error"
    or status >= 500 and "server_error" or "invalid_request_error"
  error(setmetatable({ status = status, message = message, param = param, code = code, kind = kind }, Refusal), 0)
end

--- Whether a raised value is a refusal.
function M.is_refusal(e) return getmetatable(e) == Refusal end

-- Ordered objects as plain ones; lists stay lists, null stays json.null.
local function plain(v)
  local meta = type(v) == "table" and getmetatable(v)
  if meta == json.ORDERED then
    local out = {}
    for _, pair in ipairs(v) do out[pair[1]] = plain(pair[2]) end
    return setmetatable(out, json.OBJECT)
  elseif meta == json.LIST then
    local out = {}
    for i = 1, #v do out[i] = plain(v[i]) end
    return setmetatable(out, json.LIST)
  end
  return v
end
M.plain = plain

--- Whether a decoded value is an object, or a list.
function M.is_object(v) return type(v) == "table" and getmetatable(v) == json.OBJECT end
function M.is_list(v) return type(v) == "table" and getmetatable(v) == json.LIST end

---@class wane.serve.Request
---@field raw table      the object in its order
---@field fields table   the same as a plain table
local Request = {}
Request.__index = Request

--- The fields of a body; refuses what is no JSON object.
---@param body string
---@param max_depth? integer
---@return wane.serve.Request
function M.new(body, max_depth)
  local v, message = json.decode(body, { ordered = true, max_depth = max_depth or 64 })
  if v == nil then M.refuse(400, message) end
  if type(v) ~= "table" or getmetatable(v) ~= json.ORDERED then M.refuse(400, "the body: want a JSON object") end
  return setmetatable({ raw = v, fields = plain(v) }, Request)
end

--- A field, nil when it is absent or null.
function Request:get(name)
  local v = self.fields[name]
  if v == json.null then return nil end
  return v
end

--- A field in its order, nil when it is absent or null; the last of a name.
function Request:ordered(name)
  local found
  for _, pair in ipairs(self.raw) do
    if pair[1] == name then found = pair[2] end
  end
  if found == json.null then return nil end
  return found
end

local function describe(v)
  if M.is_list(v) then return "a list" end
  if M.is_object(v) then return "an object" end
  return options.shown(v)
end

--- Refuses a field.
function Request:wrong(name, want, got)
  M.refuse(400, ("'%s': want %s, got %s"):format(name, want, describe(got == nil and self:get(name) or got)), name)
end

-- A field checked by a type of wane.options.
local function checked(self, name, t)
  local v = self:get(name)
  if v ~= nil and not t.test(v) then self:wrong(name, t.want, v) end
  return v
end

function Request:integer(name, min, max) return checked(self, name, options.integer(min, max)) end
function Request:number(name, min, max) return checked(self, name, options.number(min, max)) end

local truth = options.type("true or false", function(v) return type(v) == "boolean" end)
function Request:boolean(name) return checked(self, name, truth) end

--- A text of at most `most` bytes.
function Request:string(name, most)
  local v = self:get(name)
  if v == nil then return nil end
  if type(v) ~= "string" then self:wrong(name, "a string", v) end
  if most and #v > most then M.refuse(400, ("'%s': %d bytes, want at most %d"):format(name, #v, most), name) end
  return v
end

--- A list of at most `most` elements, each passing test.
function Request:list(name, want, test, most)
  local v = self:get(name)
  if v == nil then return nil end
  if not M.is_list(v) then self:wrong(name, want, v) end
  if most and #v > most then M.refuse(400, ("'%s': %d elements, want at most %d"):format(name, #v, most), name) end
  for i = 1, #v do
    if not test(v[i]) then
      M.refuse(400, ("'%s': element %d: want %s, got %s"):format(name, i - 1, want, describe(v[i])), name)
    end
  end
  return v
end

--- A field that must be there.
function Request:need(name, want)
  local v = self:get(name)
  if v == nil then M.refuse(400, ("'%s' is missing: want %s"):format(name, want), name) end
  return v
end

local function is_id(v) return type(v) == "number" and v == math.floor(v) and v >= 0 and v < 2 ^ 31 end

--- Whether v is a list of token ids below n_vocab.
function M.is_ids(v, n_vocab)
  if not M.is_list(v) or #v == 0 then return false end
  for i = 1, #v do
    if not is_id(v[i]) or v[i] >= n_vocab then return false end
  end
  return true
end

return M
