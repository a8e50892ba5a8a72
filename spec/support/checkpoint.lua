--- Checkpoints for specs: a GGUF file of floats as the directory that Hugging
--- Face's classes would save (layouts.lua), with a tokenizer of the file's tokens.
local M = {}

local files = require "spec.support.checkpoint.files"
local gguf = require "wane.gguf"
local json = require "wane.json"
local layouts = require "spec.support.checkpoint.layouts"
local T = require "spec.support.checkpoint.tensors"

M.write, M.safetensors, M.weights, M.layouts = files.write, files.safetensors, files.weights, layouts

-- The file as a layout sees it: h "key" is its metadata.
local Source = {}
Source.__index = Source
Source.__call = function(h, key) return h.file.meta[h.arch .. "." .. key] end

function Source:has(name) return self.file:tensor(name) ~= nil end

function Source:take(name)
  self.taken[name] = true
  local t = assert(self.file:tensor(name), name)
  local dtype = { f32 = "F32", f16 = "F16" }
  local out = T.of(t)
  if t.type ~= "f32" then -- rows of other sizes; only layouts that copy see them
    out.rows, out.dtype = { t:raw() }, assert(dtype[t.type])
    local n, bytes = t.shape[1] * 2, out.rows[1]
    out.rows = {}
    for at = 1, #bytes, n do out.rows[#out.rows + 1] = bytes:sub(at, at + n - 1) end
  end
  return out
end

function Source:put(name, t)
  self.out[#self.out + 1] = { name = name, dtype = t.dtype, shape = t.shape, bytes = T.bytes(t) }
end

-- Writes the tokenizer in the layout's way.
local function write_tokenizer(h, dir, layout, opts)
  local tokens, kinds = h.file.meta["tokenizer.ggml.tokens"], h.file.meta["tokenizer.ggml.token_type"]
  for i, text in ipairs(layout.specials or {}) do tokens[3 + i], kinds[3 + i] = text, 3 end
  local merges, scores = h.file.meta["tokenizer.ggml.merges"], h.file.meta["tokenizer.ggml.scores"]
  local how = opts.tokenizer or merges and "bytes" or layout.tokenizer
  local config = { tokenizer_class = "PreTrainedTokenizerFast", chat_template = opts.template }
  if not merges then config.bos_token, config.eos_token, config.unk_token = tokens[2], tokens[3], tokens[1] end
  local t
  if how == "sentencepiece" then
    files.write(dir .. "/tokenizer.model", files.sentencepiece(tokens, scores, kinds))
    config.add_bos_token, config.tokenizer_class = true, "LlamaTokenizer"
  elseif how == "bytes" then
    t = files.byte_level(tokens, kinds, merges)
  elseif how == "fallback" then
    t = files.fallback(tokens, kinds, merges)
  elseif how == "wordpiece" then
    t = files.wordpiece(tokens, kinds)
    config = {
      tokenizer_class = "BertTokenizer", unk_token = "[UNK]", cls_token = "[CLS]", sep_token = "[SEP]", pad_token = "[PAD]",
      mask_token = "[MASK]",
    }
  else
    t = files.unigram(tokens, scores, kinds)
    config.tokenizer_class = "XLMRobertaTokenizer"
  end
  if t then files.write(dir .. "/tokenizer.json", json.encode(t)) end
  files.write(dir .. "/tokenizer_config.json", json.encode(config))
end

--- Makes a checkpoint of a float GGUF file in a directory.
---@param path string
---@param dir string  exists
---@param opts { layout: string?, shards: integer?, tokenizer: string?, template: string?, config: table? }?
---@return table config
---@return string[] left  tensors of the file that the layout did not take
function M.from_gguf(path, dir, opts)
  opts = opts or {}
  local f = assert(gguf.open(path))
  local arch = f.meta["general.architecture"]
  local layout = assert(layouts[opts.layout or arch], arch)
  local h = setmetatable({
    file = f, arch = arch, taken = {}, out = {}, n = f.meta[arch .. ".block_count"], n_vocab = #f.meta["tokenizer.ggml.tokens"],
    less_one = layout.less_one, shift_positions = layout.shift_positions, given = opts.config or {},
  }, Source)
  local config = layout.config(h)
  for k, v in pairs(opts.config or {}) do config[k] = v end
  config.model_type = layout.text_kind or layout.kind
  if layout.text_kind then config = { text_config = config, tie_word_embeddings = config.tie_word_embeddings } end
  config.architectures, config.model_type = { layout.class }, layout.kind
  layout.tensors(h)
  files.weights(dir, h.out, opts.shards)
  files.write(dir .. "/config.json", json.encode(config))
  write_tokenizer(h, dir, layout, opts)
  local left = {}
  for _, t in ipairs(f.tensors) do
    if not h.taken[t.name] then left[#left + 1] = t.name end
  end
  f:close()
  return config, left
end

return M
