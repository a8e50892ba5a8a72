-- Plays an example of LÖVE for a spec: ROOT FRAMES OUT [SCREENSHOT]. Runs it as
-- it is, 60 frames a second, and writes what was said, how long quitting took,
-- and of each frame the seconds of its work, those of its update and the processor's
-- of its update into OUT, a line each; leaves in the middle of a second answer.
local root, frames, out, shot = arg[2], tonumber(arg[3]), arg[4], arg[5]
love.filesystem.getSource = function() return root .. "/examples/love" end
local hero = assert(loadfile(root .. "/examples/love/main.lua"))()

local times, n, said, done_at = {}, 0, nil, nil
local update, draw, quit = love.update, love.draw, love.quit
local load_game = love.load
love.load = function() load_game {} end

local began, model, processor
love.update = function(dt)
  began, processor = love.timer.getTime(), os.clock()
  update(dt)
  model, processor = love.timer.getTime() - began, os.clock() - processor
end
love.draw = function()
  draw()
  n = n + 1
  times[n] = ("%.6f %.6f %.6f"):format(love.timer.getTime() - began, model, processor)
  if not hero.talking and n > 2 and not done_at then
    done_at, said = n, ("%s %s %s"):format(hero.mood, hero.action, hero.say)
    if shot then
      love.graphics.captureScreenshot(function(image)
        local f = io.open(shot, "wb")
        f:write(image:encode("png"):getString())
        f:close()
      end)
    end
  end
  if n == frames or done_at and n == done_at + 10 then
    love.keypressed "return" -- a second answer, to leave in its middle
  elseif n >= frames + 5 or done_at and n >= done_at + 15 then
    love.event.quit()
  end
  love.timer.sleep(math.max(0, 1 / 60 - (love.timer.getTime() - began)))
end
love.quit = function()
  local from = love.timer.getTime()
  quit()
  local f = io.open(out, "w")
  f:write(said or "", "\n", love.timer.getTime() - from, "\n")
  for _, t in ipairs(times) do f:write(t, "\n") end
  f:close()
end
