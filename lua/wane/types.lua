---@meta wane.core
--- The handles of the C half, for editors that read LuaCATS: point the language
--- server's workspace.library at the folder of these files. Nothing runs here.
--- Made from csrc/lua by `make reference`.

---@class wane.Buffer
---@field [integer] number   the values, row by row; #b of them
local Buffer = {}

---  b:shape() -> rows, cols
---@return integer rows
---@return integer cols
function Buffer:shape() end -- luacheck: ignore

---  b:rows(first [, last]) -> a view of these rows (last = first by default)
---@return wane.Buffer
function Buffer:rows(first, last) end -- luacheck: ignore

---  b:copy() -> a buffer of its own with the same values
---@return wane.Buffer
function Buffer:copy() end -- luacheck: ignore

---  b:set(table | string) replaces all values; returns b
---@return wane.Buffer
function Buffer:set(table, string) end -- luacheck: ignore

---  b:fill(v) sets every value; returns b
---@return wane.Buffer
function Buffer:fill(v) end -- luacheck: ignore

---  b:bytes() -> the values as a string of float32
---@return string
function Buffer:bytes() end -- luacheck: ignore

---  b:table([first [, last]]) -> values first..last (all) as a Lua table
---@return number[]
function Buffer:table(first, last) end -- luacheck: ignore

---  b:stats() -> { min, max, mean, std, absmax, n_nonfinite }, of the finite
---  values; all 0 when there is none. std is that of the population.
---@return { min: number, max: number, mean: number, std: number, absmax: number, n_nonfinite: integer }
function Buffer:stats() end -- luacheck: ignore

---@class wane.Candidates
---@field [integer] number   logits; may be set
local Candidates = {}

---@return integer
function Candidates:id() end -- luacheck: ignore

function Candidates:p() end -- luacheck: ignore

function Candidates:remove() end -- luacheck: ignore

function Candidates:keep() end -- luacheck: ignore

function Candidates:sort() end -- luacheck: ignore

function Candidates:pointer() end -- luacheck: ignore

---@class wane.Match
local Match = {}

---@return boolean
function Match:allows() end -- luacheck: ignore

---@return integer
function Match:count() end -- luacheck: ignore

---@return integer[]
function Match:ids() end -- luacheck: ignore

function Match:accept() end -- luacheck: ignore

---@return integer[]
function Match:forced() end -- luacheck: ignore

function Match:waits() end -- luacheck: ignore

---@return boolean
function Match:may_end() end -- luacheck: ignore

---@return boolean
function Match:complete() end -- luacheck: ignore

function Match:reset() end -- luacheck: ignore

---@class wane.core.Blocks
local Blocks = {}

---  q:decode([first [, last]]) -> buffer of these rows (all by default)
---@return wane.Buffer
function Blocks:decode(first, last) end -- luacheck: ignore

---  q:bytes() -> string
---@return string
function Blocks:bytes() end -- luacheck: ignore

---  q:error(w [, importance]) -> { rmse, max, max_at, mean, relative, n,
---  n_nonfinite [, weighted] } of the decoded blocks against w
function Blocks:error(w, importance) end -- luacheck: ignore

---  q:explain(i) -> block i (from 1, row by row) taken apart: see explain.h;
---  and type, block, row, column (of its first value), bytes
function Blocks:explain(i) end -- luacheck: ignore

---  q:type() -> name; q:shape() -> rows, cols
---@return string
function Blocks:type() end -- luacheck: ignore

---@return integer rows
---@return integer cols
function Blocks:shape() end -- luacheck: ignore

---@class wane.core.Context
local Context = {}

function Context:step() end -- luacheck: ignore

function Context:logits() end -- luacheck: ignore

---  logits_into(buffer, at): copies all rows of the last step to rows at, at
---  + 1 ... of the buffer; returns how many.
function Context:logits_into() end -- luacheck: ignore

function Context:pool() end -- luacheck: ignore

function Context:n_past() end -- luacheck: ignore

---  Read while nothing is allocated, as all else that others may change.
function Context:held() end -- luacheck: ignore

function Context:gains() end -- luacheck: ignore

function Context:save() end -- luacheck: ignore

---  What begins as a state does is one: no path has a NUL.
function Context:load() end -- luacheck: ignore

function Context:copy() end -- luacheck: ignore

function Context:truncate() end -- luacheck: ignore

function Context:info() end -- luacheck: ignore

---@class wane.core.Generator
local Generator = {}

---  gen:step([budget]) -> running (boolean), text | nil, msg, code
function Generator:step(budget) end -- luacheck: ignore

function Generator:take() end -- luacheck: ignore

function Generator:add() end -- luacheck: ignore

function Generator:error() end -- luacheck: ignore

function Generator:cancel() end -- luacheck: ignore

function Generator:stats() end -- luacheck: ignore

function Generator:ids() end -- luacheck: ignore

function Generator:logprobs() end -- luacheck: ignore

function Generator:stage() end -- luacheck: ignore

---@class wane.core.Gguf
local Gguf = {}

---  g:info() -> { path, version, alignment, shards, file_bytes, data_off,
---  header_bytes, n_kv, n_tensors }
function Gguf:info() end -- luacheck: ignore

---  g:kv(i) -> key, type name, value [, element type name]
function Gguf:kv(i) end -- luacheck: ignore

---  g:key(i) -> key, type name [, element type name, count]: without the
---  value
function Gguf:key(i) end -- luacheck: ignore

---  g:find_kv(key) -> index | nil
function Gguf:find_kv(key) end -- luacheck: ignore

---  g:tensor(i) -> { name, type, type_id, shape, n_rows, row_bytes, ... }
function Gguf:tensor(i) end -- luacheck: ignore

---  g:find_tensor(name) -> index | nil
function Gguf:find_tensor(name) end -- luacheck: ignore

---  g:read(i, off, n) -> string | nil, message, code
function Gguf:read(i, off, n) end -- luacheck: ignore

---  g:map() -> true | nil, message, code
function Gguf:map() end -- luacheck: ignore

---  g:mapped(i, off, n) -> string from the map | nil when not mapped
function Gguf:mapped(i, off, n) end -- luacheck: ignore

---  g:check([full]) -> true | nil, message, "ECHANGED"
function Gguf:check(full) end -- luacheck: ignore

---@class wane.core.Hessian
local Hessian = {}

function Hessian:add() end -- luacheck: ignore

function Hessian:merge() end -- luacheck: ignore

---  h:shrink(s): what lies off the diagonal times 1 - s
function Hessian:shrink(s) end -- luacheck: ignore

function Hessian:factor() end -- luacheck: ignore

function Hessian:matrix() end -- luacheck: ignore

function Hessian:diagonal() end -- luacheck: ignore

---  h:aim(cross, w, strength) -> buffer of the rows to encode instead of w
function Hessian:aim(cross, w, strength) end -- luacheck: ignore

---@class wane.core.Job
local Job = {}

---  job:poll() -> text, running | nil, msg, code
function Job:poll() end -- luacheck: ignore

---@return integer
function Job:fd() end -- luacheck: ignore

function Job:cancel() end -- luacheck: ignore

function Job:stats() end -- luacheck: ignore

---@return integer[]
function Job:ids() end -- luacheck: ignore

function Job:logprobs() end -- luacheck: ignore

---@class wane.core.Model
local Model = {}

function Model:context() end -- luacheck: ignore

function Model:estimate() end -- luacheck: ignore

function Model:info() end -- luacheck: ignore

---@class wane.core.Program
local Program = {}

function Program:weight() end -- luacheck: ignore

function Program:op() end -- luacheck: ignore

function Program:finish() end -- luacheck: ignore

function Program:lines() end -- luacheck: ignore

function Program:info() end -- luacheck: ignore

---@class wane.core.Sampler
local Sampler = {}

function Sampler:pick() end -- luacheck: ignore

function Sampler:start() end -- luacheck: ignore

function Sampler:resume() end -- luacheck: ignore

function Sampler:apply() end -- luacheck: ignore

function Sampler:candidates() end -- luacheck: ignore

function Sampler:accept() end -- luacheck: ignore

function Sampler:take() end -- luacheck: ignore

function Sampler:bias() end -- luacheck: ignore

function Sampler:constrain() end -- luacheck: ignore

function Sampler:ban() end -- luacheck: ignore

function Sampler:forced() end -- luacheck: ignore

function Sampler:complete() end -- luacheck: ignore

---@class wane.core.Vocab
local Vocab = {}

function Vocab:info() end -- luacheck: ignore

function Vocab:encode() end -- luacheck: ignore

function Vocab:count() end -- luacheck: ignore

function Vocab:decode() end -- luacheck: ignore

function Vocab:piece() end -- luacheck: ignore

---  digest() -> 32 hexadecimal digits: the texts of all tokens, in order.
function Vocab:digest() end -- luacheck: ignore

function Vocab:text() end -- luacheck: ignore

function Vocab:find() end -- luacheck: ignore

function Vocab:attr() end -- luacheck: ignore

function Vocab:is_eog() end -- luacheck: ignore

function Vocab:stream() end -- luacheck: ignore

return {}
