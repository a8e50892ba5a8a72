-- Plays an example of LÖVE for a spec: ROOT FRAMES OUT [SCREENSHOT]. Runs it as
-- it is, 60 frames a second, one answer after the other, and leaves in the middle
-- of one. OUT gets a line each: what was said first, how long quitting took, and
-- of every frame the seconds since the one before, those of its work and of its
-- update, and the processor's of its update.
local root, frames, out, shot = arg[2], tonumber(arg[3]), arg[4], arg[5]
love.filesystem.getSource = function() return root .. "/examples/love" end
local hero = assert(loadfile(root .. "/examples/love/main.lua"))()

local times, n, said, asked = {}, 0, nil, 0
local update, draw, quit = love.update, love.draw, love.quit
local load_game = love.load
love.load = function() load_game {} end

local function write_png(image)
  local f = io.open(shot, "wb")
  f:write(image:encode("png"):getString())
  f:close()
end

local began, whole, model, processor
local due = love.timer.getTime()
love.update = function(dt)
  whole, began, processor = dt, love.timer.getTime(), os.clock()
  update(dt)
  model, processor = love.timer.getTime() - began, os.clock() - processor
end
love.draw = function()
  draw()
  local now = love.timer.getTime()
  n = n + 1
  times[n] = ("%.6f %.6f %.6f %.6f"):format(whole, now - began, model, processor)
  if not hero.talking then
    if not said then
      said = ("%s %s %s"):format(hero.mood, hero.action, hero.say)
      if shot then love.graphics.captureScreenshot(write_png) end
    end
    asked = n
    love.keypressed "return"
  elseif n >= frames and said and n > asked + 5 then
    love.event.quit()
  end
  -- LÖVE's own loop waits a millisecond more
  due = math.max(due + 1 / 60, now)
  love.timer.sleep(math.max(0, due - now - 0.001))
end
love.quit = function()
  local from = love.timer.getTime()
  quit()
  local f = io.open(out, "w")
  f:write(said or "", "\n", love.timer.getTime() - from, "\n")
  for _, t in ipairs(times) do f:write(t, "\n") end
  f:close()
end
