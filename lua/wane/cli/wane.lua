#!/usr/bin/env lua
-- The `wane` program.
os.exit(require("wane.cli").main(arg), true)
