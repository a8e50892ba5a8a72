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
