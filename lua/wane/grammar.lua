--- Grammars: what generated text must look like (llama.cpp's GBNF).
---
---     local grammar = require "wane.grammar"
---     local g = assert(grammar.new 'root ::= ("yes" | "no") "."')
---     for text in model:generate("Is the sky blue? ", { grammar = g }) do io.write(text) end
---     g:close()
---
--- A match follows one text under a grammar; generation makes its own.
---
---     local m = assert(grammar.match(g, model.vocab))
---     print(m:count(), m:allows(model.vocab:encode("yes")[1]))
local M = {}

local core = require "wane.core"
local options = require "wane.options"

-- The vocabulary as a trie, once for each while somebody uses it.
local tries = setmetatable({}, { __mode = "k" })

--- The trie of a vocabulary; shared by all that ask for it.
---
---     local tokens = assert(wane.grammar.tokens(vocab))
---@param vocab wane.Vocab
---@return userdata|nil tokens
---@return string? message
---@return string? code
function M.tokens(vocab)
  local t = tries[vocab]
  if t then return t end
  local message, code
  t, message, code = core.grammar.tokens(vocab.handle)
  if not t then return nil, message, code end
  tries[vocab] = t
  return t
end

local check_new = options.checker("grammar.new", { root = "string", vocab = "table" })

--- A grammar from its text. Errors name line and column.
---
---     local g = assert(wane.grammar.new 'root ::= "yes" | "no"')
---     g:close()
---@param text string
---@param opts? table   root ("root": the rule to begin with), vocab (for tokens given by their text: <|end|>)
---@return userdata|nil grammar
---@return string? message
---@return string? code      "EFORMAT", "ELIMIT"
function M.new(text, opts)
  options.argument("grammar.new", "text", text, "string")
  opts = check_new(opts or {})
  return core.grammar.new(text, opts.root or "root", opts.vocab and opts.vocab.handle)
end

-- The last grammars of each vocabulary, newest first: { key, grammar, notes } each. What
-- one text has learnt about a grammar serves the next (csrc/constrain/learnt.h).
local KEPT = 8
local kept = setmetatable({}, { __mode = "k" })

-- The grammar of a key, made with `make` where it is not among the last ones.
local function recall(vocab, key, make)
  local list = kept[vocab] or {}
  kept[vocab] = list
  for i, entry in ipairs(list) do
    if entry[1] == key then
      table.insert(list, 1, table.remove(list, i))
      return entry[2], entry[3]
    end
  end
  local g, notes, code = make()
  if not g then return nil, notes, code end
  table.insert(list, 1, { key, g, notes })
  list[KEPT + 1] = nil
  return g, notes
end

-- The grammar of a text, or of a schema, for a vocabulary: one of the last eight
-- that were asked for, or a new one. It is not the caller's to close.
-- @param vocab wane.Vocab
-- @param text string|nil
-- @param root? string
-- @param schema? string|table|boolean   instead of the text; one given as JSON text is found again
-- @return userdata|nil grammar
-- @return string[]|string|nil notes   of the schema's compilation, or the message
-- @return string? code
function M.shared(vocab, text, root, schema)
  root = root or "root"
  local function from(source)
    return recall(vocab, root .. "\0" .. source, function() return core.grammar.new(source, root, vocab.handle) end)
  end
  if text then return from(text) end
  local function compiled()
    local notes = {}
    local source, message, code = require("wane.schema").compile(schema, { notes = notes })
    if not source then return nil, message, code end
    local g, why, kind = from(source)
    if not g then return nil, why, kind end
    return g, #notes > 0 and notes or nil
  end
  if type(schema) ~= "string" then return compiled() end
  return recall(vocab, "\0" .. root .. "\0" .. schema, compiled)
end

--- A text under a grammar: m:allows(id), m:count(), m:ids(), m:accept(id),
--- m:forced(), m:waits(), m:may_end(), m:complete(), m:reset().
---
---     local g = assert(wane.grammar.new 'root ::= "yes" | "no"')
---     local m = assert(wane.grammar.match(g, vocab))
---     print(m:count() > 0, m:complete())   --> true  false
---@param g userdata
---@param vocab wane.Vocab
---@param opts? table   triggers (texts and token ids: nothing is asked before one of them), after (a text, as the end
---  of a reasoning part, behind which the grammar begins)
---@return userdata|nil match
---@return string? message
---@return string? code
function M.match(g, vocab, opts)
  local tokens, message, code = M.tokens(vocab)
  if not tokens then return nil, message, code end
  return core.grammar.match(g, tokens, opts)
end

return M
