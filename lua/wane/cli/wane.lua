#!/usr/bin/env lua
-- The `wane` program. As a rock it lies in TREE/lib/luarocks/rocks-5.4/..., and
-- LuaRocks tells it of the trees in its configuration only: it knows its own.
local tree, version = (arg[0] or ""):match "^(.*)/lib/luarocks/rocks%-(%d%.%d)/"
if tree then
  local lua = ("%s/share/lua/%s"):format(tree, version)
  package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(lua, lua, package.path)
  package.cpath = ("%s/lib/lua/%s/?.so;%s"):format(tree, version, package.cpath)
end
os.exit(require("wane.cli").main(arg), true)
