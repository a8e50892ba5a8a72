--- Tokenizers: text to token ids and back, exactly as the model was trained.
---
--- The ids are those of Hugging Face's tokenizers; `exact = "llama.cpp"` gives
--- llama.cpp's, which differ where Unicode matters (accents, marks, capitals
--- beyond ASCII, normalisation). What a file cannot tell stays as llama.cpp
--- has it: see M.of.
---
---   local vocab = require "wane.vocab"
---   local v = assert(vocab.open "model.gguf")
---   local ids = v:encode "Hello world"
---   print(v:decode(ids), v:piece(ids[1]), v.special.bos, v.n)
---   local s = v:stream()
---   for _, id in ipairs(ids) do io.write(s:push(id)) end
---   io.write(s:finish())
---
--- Ids count from 0, as in every model file. Text is any string of bytes:
--- where a vocabulary works on characters, bytes that are no UTF-8 read as
--- U+FFFD. Control tokens in a text stay text unless `parse_special` is set.
local M = {}

local core = require "wane.core"
local options = require "wane.options"

---@class wane.Special
---@field bos? integer      @field eos? integer      @field eot? integer
---@field unk? integer      @field sep? integer      @field pad? integer
---@field mask? integer     @field nl? integer       @field fim_pre? integer
---@field fim_suf? integer  @field fim_mid? integer  @field fim_pad? integer
---@field fim_rep? integer  @field fim_sep? integer

---@class wane.Vocab
---@field kind string             "bpe", "spm", "wpm", "ugm", "rwkv", "plamo2", "none"
---@field pre string              name of the pre-tokenizer ("" unless bpe)
---@field exact string            whose ids: "trained" or "llama.cpp"
---@field n integer               number of tokens
---@field special wane.Special    ids that exist
---@field eog integer[]           ids that end generation
---@field bos? integer            special.bos, and so for all of special
---@field add_bos boolean         encode with special = true adds it
---@field add_eos boolean
---@field add_sep boolean
---@field handle userdata         the vocabulary for other parts of wane
local Vocab = {}
Vocab.__index = Vocab
Vocab.__name = "wane.Vocab"

--- Tokens of a text.
---
---     local prompt = v:encode("<|user|>Hi", { special = true, parse_special = true })
--- A rendered chat template (its `parts`) is encoded as one text, in which
--- messages cannot smuggle in control tokens.
---
---     local parts = assert(t:render(vars, { parts = true }))
---     local prompt = v:encode(parts, { parse_special = true })
---@param text string|{ text: string, input: boolean }[]
---@param opts? { special?: boolean, parse_special?: boolean } special: add the
---  tokens that the vocabulary wants around a text (BOS, EOS, ...);
---  parse_special: texts of control tokens become those tokens. Both off.
---@return integer[]|nil ids
---@return string? message
---@return string? code
function Vocab:encode(text, opts)
  if type(text) ~= "table" then return self.handle:encode(text, opts) end
  local all, plain, n = {}, {}, 0
  for i, part in ipairs(text) do
    all[i] = part.text
    if part.input then
      plain[#plain + 1] = n
      plain[#plain + 1] = n + #part.text
    end
    n = n + #part.text
  end
  return self.handle:encode(table.concat(all), opts, plain)
end

--- How many tokens a text has: as #v:encode(text, opts), without the list.
---
---     print(v:count(("word "):rep(1000)))
---@param text string
---@param opts? { special?: boolean, parse_special?: boolean } as for `encode`
---@return integer|nil n
---@return string? message
---@return string? code
function Vocab:count(text, opts)
  return self.handle:count(text, opts)
end

--- Text of tokens.
---
---     print(v:decode(v:encode "round trip"))
---@param ids integer[]
---@param opts? { remove_special?: boolean, unparse_special?: boolean }
---  remove_special: leave out BOS and EOS at the ends where the vocabulary
---  adds them; unparse_special: render control tokens. Both off.
---@return string|nil text
---@return string? message
---@return string? code
function Vocab:decode(ids, opts)
  return self.handle:decode(ids, opts)
end

--- The bytes that one token stands for; maybe a part of a character.
---
---     print(vocab:piece(vocab:encode("sea")[1]))
---@param id integer
---@param special? boolean  render control tokens too
---@return string
---@error an id that the vocabulary has not; after close
function Vocab:piece(id, special)
  return self.handle:piece(id, special)
end

--- A token's text as the file has it (spaces and bytes in disguise).
---
---     print(vocab:text(vocab.bos))   --> <|bos|>
---@param id integer
---@return string
---@error an id that the vocabulary has not; after close
function Vocab:text(id)
  return self.handle:text(id)
end

--- The token whose text in the file is exactly this.
---
---     print(vocab:find "<|eos|>")   --> 1
---@param text string
---@return integer|nil
---@error after close; a text that is no token gives nil
function Vocab:find(text)
  return self.handle:find(text)
end

--- Whether this token ends generation.
---
---     print(vocab:is_eog(vocab.eos))   --> true
---@param id integer
---@return boolean
---@error an id that the vocabulary has not; after close
function Vocab:is_eog(id)
  return self.handle:is_eog(id)
end

--- llama.cpp's attribute bits of a token: 1 unknown, 2 unused, 4 normal,
--- 8 control, 16 user defined, 32 byte, 64 normalized, 128 lstrip,
--- 256 rstrip, 512 single word.
---
---     print(vocab:attr(vocab.bos))   --> 8
---@param id integer
---@return integer
---@error an id that the vocabulary has not; after close
function Vocab:attr(id)
  return self.handle:attr(id)
end

---@class wane.TokenStream
---@field push fun(self, id: integer): string   what can be shown now
---@field finish fun(self): string              the rest, when all is over
---@field close fun(self)

local check_stream = options.checker("vocab:stream", { special = "boolean" })

--- Text token by token: what `push` returns never ends within a UTF-8
--- character; the missing bytes come with a later token.
---
---     local s = v:stream()
---     for _, id in ipairs(ids) do io.write(s:push(id)) end
---     io.write(s:finish())
---@param opts? { special?: boolean } render control tokens too
---@return wane.TokenStream
---@error after close
function Vocab:stream(opts)
  return self.handle:stream(check_stream(opts).special == true)
end

--- Frees the vocabulary now; afterwards its methods raise.
---
---     vocab:close()
---@error none; closing twice is fine
function Vocab:close()
  return self.handle:close()
end

function Vocab:__tostring()
  return ("wane.Vocab (%s, %d tokens)"):format(self.kind, self.n)
end

--- Checks the options of `of` and `open`; gives the mode.
local function mode(who, opts)
  if opts == nil then return "trained" end
  if type(opts) ~= "table" then error(("wane: %s: want options as a table, got %s"):format(who, type(opts)), 3) end
  options.known(who, opts, { exact = true })
  local exact = opts.exact
  if exact == nil or exact == "trained" or exact == "llama.cpp" then return exact or "trained" end
  error(('wane: %s: exact: want "trained" or "llama.cpp", got %s'):format(who, tostring(exact)), 3)
end

--- The vocabulary of an open file (wane.gguf.open) or of a core handle.
---
---     local v = assert(wane.vocab.of(f, { exact = "llama.cpp" }))
--- A GGUF does not hold the rules of the tokenizer, only their name (`pre`); where one name stands for
--- tokenizers with different rules, the rules are those of the model that gave the name. Special tokens are
--- cut out of a text from left to right, at each place the longest; under "llama.cpp" all of the longest
--- first. What the file cannot tell: tokens that count only as whole words, or only after normalising; runs
--- of spaces next to U+2581 itself where a SentencePiece file has runs of spaces as tokens (Gemma).
---@param file wane.File|userdata
---@param opts? { exact?: "trained"|"llama.cpp" } whose ids; "trained"
---@return wane.Vocab|nil
---@return string? message
---@return string? code
function M.of(file, opts)
  local exact = mode("of", opts)
  local g = type(file) == "table" and file._g or file
  local handle, message, code = core.vocab.new(g, exact)
  if not handle then return nil, message, code end
  local v = handle:info()
  for name, id in pairs(v.special) do
    v[name] = id
  end
  v.handle = handle
  return setmetatable(v, Vocab)
end

--- The vocabulary of a model file.
---
---     local v = assert(wane.vocab.open "model.gguf")
---@param path string
---@param opts? { exact?: "trained"|"llama.cpp" } as for `of`
---@return wane.Vocab|nil
---@return string? message
---@return string? code
function M.open(path, opts)
  mode("open", opts)
  local g, message, code = core.gguf.open(path)
  if not g then return nil, message, code end
  local v, why, what = M.of(g, opts)
  g:close()
  return v, why, what
end

--- Names of the pre-tokenizers (`tokenizer.ggml.pre`) that wane knows.
---
---     print(#wane.vocab.pre_names() > 30)   --> true
---@return string[]
---@error none
function M.pre_names()
  return core.vocab.pre_names()
end

return M
