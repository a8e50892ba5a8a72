--- The Defold example without Defold: the project that examples/defold/fill makes
--- runs from its own files alone, by the rules of Defold's require, and nothing is
--- required that its packer, which reads literal names, cannot see.
local support = require "spec.support"
if support.elsewhere() then return end

-- What the engine gives to a script, as far as the example uses it.
local ENGINE = [[
local library, model = %q, %q
package.loaded["wane.core"] = assert(package.loadlib(library, "luaopen_wane_core"))("wane.core")
package.path, package.cpath = "./?.lua", ""
local before, said = {}, ""
for name in pairs(package.loaded) do before[name] = true end
msg = { post = function() end }
sys = { get_save_file = function() return model end }
label = { set_text = function(id, text) said = assert(id == "#label") and text end }
dofile "main/character.script"
local self = {}
init(self)
for _ = 1, 20000 do
  update(self)
  if #said > 20 then break end
end
final(self)
assert(#said > 20, said)
for name in pairs(package.loaded) do
  if not before[name] then print(name) end
end
]]

-- Names that a script and what it requires ask for in literals.
local function named(root)
  local seen, queue = {}, { "main/character.script" }
  for _, file in ipairs(queue) do
    for name in support.slurp(root .. "/" .. file):gmatch "require%s*%(?%s*[\"']([%w_.]+)[\"']" do
      if not seen[name] and name:find "%w$" then
        seen[name] = true
        queue[#queue + 1] = name:gsub("%.", "/") .. ".lua"
      end
    end
  end
  return seen
end

describe("the Defold example", function()
  it("is a project that holds all it names, and names all it loads", function()
    if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
    if not support.exists "build/luajit/wane/core.so" then support.skip "no LuaJIT build in build/" end
    local p = io.popen "pwd"
    local here = p:read "*l"
    p:close()
    local root = support.tmp "defold"
    finally(function() os.execute("rm -rf " .. root) end)
    local filled = os.execute("sh examples/defold/fill " .. root)
    assert(filled == true or filled == 0)
    assert(support.exists(root .. "/wane/lib/x86_64-linux/libwane.a"))
    local names = named(root)
    for name in pairs(names) do
      assert(support.exists(("%s/%s.lua"):format(root, (name:gsub("%.", "/")))), name)
    end
    support.spit(root .. "/engine.lua", ENGINE:format(here .. "/build/luajit/wane/core.so", here .. "/examples/models/demo-f16.gguf"))
    p = io.popen(("cd %s && luajit engine.lua 2>&1"):format(root))
    local loaded = p:read "*a"
    p:close()
    assert.matches("\nwane.arch.llama\n", "\n" .. loaded)
    for line in loaded:gmatch "[^\n]+" do assert(names[line], "not named: " .. line) end
  end)
end)
