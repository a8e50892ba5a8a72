-- A talking character at 60 frames a second.
--
--     love examples/love [MODEL.gguf]
--
-- The answer is JSON under a schema: its mood and what it does come first and move
-- the character at once, its words follow as they are made. Enter asks; Escape
-- leaves, in the middle of a word too.

-- The library: beside main.lua in a game of one's own, here in the checkout.
local here = love.filesystem.getSource()
package.path = ("%s/?.lua;%s/?/init.lua;%s/../../lua/?.lua;%s/../../lua/?/init.lua;"):format(here, here, here, here) .. package.path
package.cpath = ("%s/?.so;%s/../../build/luajit/?.so;"):format(here, here) .. package.cpath

local ANSWER = [[{ "type": "object", "required": ["mood", "action", "say"], "properties": {
  "mood": { "enum": ["happy", "sad", "angry"] },
  "action": { "enum": ["jump", "walk", "wait"] },
  "say": { "type": "string", "minLength": 20, "maxLength": 120 } }, "additionalProperties": false }]]
local FACE = { happy = { 1, 0.85, 0.3 }, sad = { 0.5, 0.65, 1 }, angry = { 1, 0.4, 0.3 } }

local speaker
local hero = { x = 320, y = 0, mood = "happy", action = "wait", say = "(Enter)", t = 0 }

-- What is known of an answer that is still being made.
local function understand(text, done, message)
  if message then hero.say = message end
  hero.mood = text:match '"mood"%s*:%s*"(%a+)"' or hero.mood
  hero.action = text:match '"action"%s*:%s*"(%a+)"' or hero.action
  hero.say = text:match '"say"%s*:%s*"([^"]*)' or hero.say
  hero.talking = not done
end

local function ask()
  hero.talking = true
  speaker:say("Once upon a time there was a king, who said: ", understand)
end

function love.load(args)
  local path = args[1] or here .. "/../models/demo-f16.gguf"
  speaker = assert(require("wane.love").new(path, { ms = 2, raw = true,
    options = { schema = ANSWER, max_tokens = 96, seed = 3 } }))
  ask()
end

function love.update(dt)
  speaker:update() -- two milliseconds of this frame
  hero.t = hero.t + dt
  hero.y = hero.action == "jump" and math.abs(math.sin(hero.t * 5)) * 60 or 0
  if hero.action == "walk" then hero.x = 320 + math.sin(hero.t) * 200 end
end

function love.draw()
  local g, x, y = love.graphics, hero.x, 250 - hero.y
  local bend = hero.mood == "happy" and 14 or -14
  local open = hero.talking and math.abs(math.sin(hero.t * 12)) * 6 or 0
  g.clear(0.12, 0.13, 0.18)
  g.setColor(0.3, 0.5, 0.35)
  g.rectangle("fill", 0, 300, 640, 60)
  g.setColor(FACE[hero.mood])
  g.circle("fill", x, y, 50)
  g.setColor(0.1, 0.1, 0.1)
  g.circle("fill", x - 18, y - 12, 6)
  g.circle("fill", x + 18, y - 12, 6)
  g.setLineWidth(4 + open)
  g.line(x - 22, y + 22 - bend / 2, x, y + 22 + bend / 2, x + 22, y + 22 - bend / 2)
  g.setColor(1, 1, 1)
  g.printf(hero.say, 40, 40, 560, "center")
end

function love.keypressed(key)
  if key == "return" then ask() end
  if key == "escape" then love.event.quit() end
end

function love.quit() speaker:close() end

return hero
