--- SmolLM3: llama's layout.
local llama = require "wane.convert.families.llama"

return { arch = "smollm3", prefix_space_flag = true, params = llama.params, extra = llama.extra, make = llama.make }
