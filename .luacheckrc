std = "min"
max_line_length = 150
cache = "build/.luacheckcache"
read_globals = { "jit" }
files["spec"] = { std = "min+busted", globals = { "_TEST" } }
files["bench"] = { read_globals = { "jit" } }
files["lua/wane/calibrate/mixed/*.lua"] = { max_line_length = false } -- text as it is
-- The editor's and the game engine's own globals.
for _, path in ipairs { "lua/wane/nvim", "lua/wane/health.lua", "plugin", "examples/nvim", "bench/editor_client.lua" } do
  files[path] = { std = "luajit", globals = { "vim" } }
end
files["spec/support/love"] = { std = "luajit", globals = { "love" } }
files["examples/love"] = { std = "luajit", globals = { "love" } }
-- Declarations for editors, made from comments: nothing in it runs.
files["lua/wane/types.lua"] = { ignore = { "241" } }
