-- A game's loop without a game: 60 frames a second, two milliseconds of each go
-- to a character's next words. No thread, no waiting: step returns in time.
local wane = require "wane"

local model = assert(wane.load("examples/models/demo-f16.gguf", { context = 256, threads = 1 }))
local speech = model:generate("Once upon a time", { max_tokens = 48, seed = 7 })

local frames, most, said, running = 0, 0, {}, true
while running do
  local began = os.clock()
  local text
  text, running = speech:step { ms = 2 } -- the model's share of this frame
  said[#said + 1] = assert(text, running)
  frames = frames + 1
  most = math.max(most, os.clock() - began)
  -- update, draw and wait for the display here
end

print(table.concat(said))
print(("%d tokens in %d frames, at most %.1f ms of one"):format(speech:stats().n_tokens, frames, most * 1000))
speech:close()
model:close()
