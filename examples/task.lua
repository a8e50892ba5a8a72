-- A task of one's own: does the model still know who did what? Each question
-- has a right and a wrong name; the model should find the right one likelier.
local wane = require "wane"

local stories = {
  { "Tom gave the ball to Ann. Then Ann gave it back to", " Tom", " Ann" },
  { "The king called his daughter. The daughter came to the", " king", " ship" },
  { "Once upon a time there was an old", " woman", " three" },
  { "The wolf ran into the dark", " forest", " apple" },
  { "She opened the door and went", " in", " ate" },
  { "The boy was very hungry and wanted to", " eat", " red" },
}

-- A task is a function of a probe, which asks the model.
local function sense(probe)
  local right, margin = 0, 0
  for _, s in ipairs(stories) do
    local good, bad = assert(probe:score(s[1], s[2])), assert(probe:score(s[1], s[3]))
    if good.nll < bad.nll then right = right + 1 end
    margin = margin + (bad.nll - good.nll) / #stories
  end
  local p = right / #stories
  return {
    score = p, err = math.sqrt(p * (1 - p) / (#stories - 1)), n = #stories, better = "higher",
    unit = "share right", chance = 0.5, groups = { { name = "margin, nats", score = margin } },
  }
end

for _, level in ipairs { "F16", "Q4_K_M", "Q2_K" } do
  local model = assert(wane.eval.shrink("examples/models/demo-f16.gguf", level))
  local results = assert(wane.eval.tasks.run(model, { { name = "sense", run = sense }, wane.eval.tasks.copy { n = 4 } }))
  print(level)
  print(wane.eval.tasks.table(results):text() .. "\n")
  model:close()
end
