--- Multiple choice from files of JSON lines, as HellaSwag, ARC and MMLU come.
---
--- The choice with the highest log-likelihood per byte is the model's
--- (length-normalised, as is usual); the plain one is counted beside it.
local file = require "wane.file"
local json = require "wane.json"
local options = require "wane.options"
local stats = require "wane.stats"

local M = {}

-- The first field that is there.
local function first(o, ...)
  for _, key in ipairs { ... } do
    if o[key] ~= nil and o[key] ~= json.null then return o[key] end
  end
end

-- Choices and their labels from the shapes in use: a list of texts, a list of
-- { text =, label = }, or { text = {...}, label = {...} }.
local function choices_of(v)
  if type(v) ~= "table" then return nil end
  if type(v.text) == "table" then return v.text, v.label end
  local texts, labels = {}, {}
  for i, c in ipairs(v) do
    texts[i] = type(c) == "table" and c.text or c
    labels[i] = type(c) == "table" and c.label or nil
  end
  return texts, labels
end

-- The number of the right choice: a label ("B"), or an index that counts from
-- 0. A label of the item's own wins.
local function answer_of(v, labels, n)
  for i = 1, n do
    if labels and labels[i] ~= nil and tostring(labels[i]) == tostring(v) then return i end
  end
  if type(v) == "string" and v:match "^%a$" then
    local i = v:upper():byte() - 64
    return i <= n and i or nil
  end
  local i = tonumber(v)
  if i and i == math.floor(i) and i >= 0 and i < n then return i + 1 end
end

-- An item from one decoded line, or nil and what is wrong.
local function item_of(o)
  if type(o) ~= "table" then return nil, "want an object" end
  local question = first(o, "question", "ctx", "context", "prompt", "query")
  local choices = first(o, "choices", "endings", "options")
  if type(question) == "table" then question, choices = question.stem, choices or question.choices end
  if type(question) ~= "string" then return nil, "no question (question, ctx, context or prompt)" end
  local texts, labels = choices_of(choices)
  if not texts or #texts < 2 then return nil, "no list of choices (choices, endings or options)" end
  for _, t in ipairs(texts) do
    if type(t) ~= "string" or t == "" then return nil, "a choice is not a text" end
  end
  local right = answer_of(first(o, "answerKey", "answer", "label", "gold"), labels, #texts)
  if not right then return nil, "no answer among the choices (answerKey, answer, label or gold)" end
  -- endings of HellaSwag continue a sentence; the others answer a question
  local prompt = o.endings and question or ("Question: %s\nAnswer:"):format(question)
  return { prompt = prompt, choices = texts, right = right }
end

--- Items of a text of JSON lines.
---@param text string
---@param name string  for messages
---@return table[]|nil items
---@return string? message
---@return string? code
function M.parse(text, name)
  local items, line_number = {}, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    line_number = line_number + 1
    if line:find "%S" then
      local o, why = json.decode(line)
      local item, what
      if o ~= nil then item, what = item_of(o) end
      if not item then
        return nil, ("%s: line %d: %s"):format(name, line_number, what or why), "EFORMAT"
      end
      items[#items + 1] = item
    end
  end
  if #items == 0 then return nil, name .. ": no questions", "EDATA" end
  return items
end

local function read(path)
  local text, message, code = file.read(path)
  if not text then return nil, message, code end
  return M.parse(text, path)
end

-- Asks all items.
local function ask(probe, items)
  local normal, plain, nlls, chance = {}, {}, {}, 0
  for i, item in ipairs(items) do
    local choices = {}
    for k, c in ipairs(item.choices) do choices[k] = c:match "^%s" and c or " " .. c end
    local best, by_sum, answers = probe:choose(item.prompt, choices)
    if not best then return nil, ("question %d: %s"):format(i, by_sum), answers end
    normal[i] = best == item.right and 1 or 0
    plain[i] = by_sum == item.right and 1 or 0
    nlls[i] = answers[item.right].nll / answers[item.right].tokens
    chance = chance + 1 / #choices / #items
  end
  local s, p, l = stats.of(normal), stats.of(plain), stats.of(nlls)
  return {
    score = s.mean, err = s.err, n = s.n, better = "higher", unit = "share right", chance = chance,
    plain = p.mean, plain_err = p.err, nll = l.mean, nll_err = l.err,
  }
end

local check = options.checker("tasks.choice", {
  path = "path", items = options.list("table", 1), name = "string", n = options.integer(1),
})

--- A task from a file or from items.
---
---     tasks.choice { path = "hellaswag_val.jsonl", n = 200 }
---@param opts { path?: string, items?: table[], name?: string, n?: integer }
---@return wane.Task
function M.task(opts)
  opts = check(opts)
  if not opts.path and not opts.items then options.misuse "tasks.choice: want option 'path' or option 'items'" end
  return {
    name = opts.name or (opts.path and opts.path:match "([^/\\]+)$" or "choice"),
    run = function(probe)
      local items, message, code = opts.items
      if not items then
        items, message, code = read(opts.path)
        if not items then return nil, message, code end
      end
      local some = {}
      for i = 1, math.min(opts.n or #items, #items) do some[i] = items[i] end
      return ask(probe, some)
    end,
  }
end

return M
