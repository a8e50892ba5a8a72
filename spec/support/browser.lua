--- A headless Chromium, where there is one.
local support = require "spec.support"

local M = {}

local function output(command)
  local p = assert(io.popen(command .. " 2>/dev/null"))
  local s = p:read "*a"
  p:close()
  return s
end

--- The browser's name; skips the running spec when there is none.
function M.find()
  for _, name in ipairs { "chromium", "chromium-browser", "google-chrome", "chrome" } do
    if output("command -v " .. name) ~= "" then return name end
  end
  support.skip "no Chromium to open the report with"
end

-- One run on a page; returns what it prints. (No sanitizer's runtime in it.)
local function run(path, more, dark, size)
  return output(("env -u LD_PRELOAD timeout 60 %s --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking "
    .. "%s --window-size=%s %s 'file://%s'"):format(M.find(), dark and "--force-dark-mode" or "", size or "1280,1600", more, path))
end

--- The document after its scripts ran; `size` of the window: "1280,1600".
function M.dom(path, dark, size) return run(path, "--dump-dom", dark, size) end

--- A picture of the page as PNG bytes.
function M.screenshot(path, dark)
  local png = support.tmp "page.png"
  run(path, "--screenshot=" .. png, dark)
  if not support.exists(png) then return nil end
  local bytes = support.slurp(png)
  os.remove(png)
  return bytes
end

--- The absolute form of a path.
function M.absolute(path)
  if path:sub(1, 1) == "/" then return path end
  return output("pwd"):gsub("%s+$", "") .. "/" .. path
end

return M
