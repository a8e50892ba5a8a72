package = "wane"
version = "0.2.0-1"
source = { url = "git+https://github.com/wane-lua/wane.git", tag = "v0.2.0" }
description = {
  summary = "Load, shrink, judge and run GGUF language models",
  detailed = [=[
    Quantizers for every ggml block format, recipes as Lua programs, calibrated
    quantization, evaluation, and a CPU engine for GGUF language models.]=],
  license = "MIT",
}
supported_platforms = { "unix" }
-- 5.1 stands for LuaJIT; the Makefile says so to another Lua
dependencies = { "lua >= 5.1, < 5.5", "argparse >= 0.7" }
-- The Makefile knows the sources and how they are compiled, and writes into
-- build/ only: the tree stays as it was.
build = {
  type = "make",
  build_target = "rock",
  build_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LUA = "$(LUA)",
    LUA_INCDIR = "$(LUA_INCDIR)",
  },
  install_target = "install-rock",
  install_variables = {
    LUA = "$(LUA)",
    INST_LIBDIR = "$(LIBDIR)",
    INST_LUADIR = "$(LUADIR)",
    INST_BINDIR = "$(BINDIR)",
  },
}
