--- Qwen 3 with experts.
local qwen2moe = require "wane.convert.families.qwen2moe"

return { arch = "qwen3moe", params = qwen2moe.params, make = qwen2moe.make }
