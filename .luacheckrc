std = "min"
max_line_length = 150
cache = "build/.luacheckcache"
read_globals = { "jit" }
files["spec"] = { std = "min+busted", globals = { "_TEST" } }
files["bench"] = { read_globals = { "jit" } }
files["lua/wane/calibrate/mixed/*.lua"] = { max_line_length = false } -- text as it is
