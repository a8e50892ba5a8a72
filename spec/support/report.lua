--- A busted output handler: one line per spec file with the seconds it took;
--- every skip with its reason and failures in full at the end of the file that
--- WANE_DETAILS names, the counts in the file that WANE_COUNTS names (both are
--- read by spec/support/run.sh).
return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()

  local function say(...)
    io.write(string.format(...))
    io.flush()
  end

  local file_counts
  handler.fileStart = function(file)
    file_counts = { success = 0, pending = 0, failure = 0, error = 0, name = file.name, began = busted.monotime() }
    return nil, true
  end

  handler.testEnd = function(_, _, status)
    if file_counts then file_counts[status] = (file_counts[status] or 0) + 1 end
    return nil, true
  end

  handler.fileEnd = function()
    local c = file_counts
    local bad = c.failure + c.error
    say(
      "  %-44s %6.1f s %4d passed%s%s\n",
      c.name:gsub("^%./", ""):sub(1),
      busted.monotime() - c.began,
      c.success,
      bad > 0 and (", %d FAILED"):format(bad) or "",
      c.pending > 0 and (", %d skipped"):format(c.pending) or ""
    )
    return nil, true
  end

  local function details(f, kind, t)
    local message = type(t.message) == "string" and t.message or tostring(t.message or "")
    local where = t.trace and t.trace.short_src and (t.trace.short_src .. ":" .. t.trace.currentline) or ""
    f:write(("%s: %s (%s)\n"):format(kind, t.name or "?", where))
    if message ~= "" then f:write(("  %s\n"):format((message:gsub("\n", "\n  ")))) end
  end

  handler.suiteEnd = function()
    local path = os.getenv "WANE_DETAILS"
    local f = path and assert(io.open(path, "a")) or io.stdout
    for _, t in ipairs(handler.pendings) do details(f, "skipped", t) end
    for _, t in ipairs(handler.failures) do details(f, "FAILED", t) end
    for _, t in ipairs(handler.errors) do details(f, "ERROR", t) end
    if path then f:close() end
    path = os.getenv "WANE_COUNTS"
    if path then
      f = assert(io.open(path, "w"))
      f:write(("%d %d %d\n"):format(handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount))
      f:close()
    end
    return nil, true
  end

  busted.subscribe({ "file", "start" }, handler.fileStart)
  busted.subscribe({ "file", "end" }, handler.fileEnd)
  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
