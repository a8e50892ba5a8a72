# wane - plain make, no configure step.
#   make            build for Lua 5.4 and LuaJIT into build/
#   make test       every spec under both Luas

CFLAGS ?= -O2 -g
# -ffp-contract=off: block encoders are defined bit for bit; kernels that want
# fused multiply-add say so with intrinsics.
WN_CFLAGS = -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -MMD -pthread \
            -ffp-contract=off -Icsrc \
            -Wall -Wextra -Wconversion -Wshadow -Wvla
LUAS = lua5.4 luajit
LUA_INC_lua5.4 = /usr/include/lua5.4
LUA_INC_luajit = /usr/include/luajit-2.1
B ?= build

# Layers without Lua are compiled once, csrc/lua/ once per Lua.
PURE = $(wildcard csrc/base/*.c csrc/gguf/*.c csrc/quant/*.c csrc/kern/*.c \
                  csrc/text/*.c csrc/graph/*.c csrc/run/*.c)
BIND = $(wildcard csrc/lua/*.c)
PURE_O = $(PURE:csrc/%.c=$(B)/obj/%.o)

all: $(LUAS:%=$(B)/%/wane/core.so)

$(B)/obj/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(WN_CFLAGS) $(CFLAGS) -c $< -o $@

define PER_LUA
$(B)/$(1)/obj/%.o: csrc/lua/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(WN_CFLAGS) -I$$(LUA_INC_$(1)) $$(CFLAGS) -c $$< -o $$@
$(B)/$(1)/wane/core.so: $(PURE_O) $(BIND:csrc/lua/%.c=$(B)/$(1)/obj/%.o)
	@mkdir -p $$(@D)
	$$(CC) -shared $$(CFLAGS) $$(LDFLAGS) -pthread -o $$@ $$^ -lm -ldl
endef
$(foreach l,$(LUAS),$(eval $(call PER_LUA,$(l))))

-include $(wildcard $(B)/obj/*/*.d $(B)/*/obj/*.d)

clean:
	rm -rf $(B)

.PHONY: all clean
