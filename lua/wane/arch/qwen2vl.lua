--- qwen2vl: qwen2 with rotation over several axes, which are one on text. Its
--- norms have no eps in llama.cpp, whatever the file says: next to none here.
local qwen2 = require "wane.arch.qwen2"

return function(m)
  m:use { eps = 1e-30 }
  return qwen2(m)
end
