function love.conf(t)
  t.window.title = "A talking character"
  t.window.width, t.window.height = 640, 360
  t.modules.audio, t.modules.sound, t.modules.physics, t.modules.joystick = false, false, false, false
end
