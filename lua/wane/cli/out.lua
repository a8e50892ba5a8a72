--- Where the command line writes: results to standard output, messages for
--- people and the progress bar to standard error.
---
--- What it guarantees: a full disk shows in the exit status; colours appear on a
--- terminal only, and not with NO_COLOR or TERM=dumb; a pipe gets tables whole,
--- a terminal as many of their columns as fit; the bar is gone before anything
--- else is written.
local report = require "wane.report"

local M = {}

---@class wane.Out
---@field write fun(s: string)      a piece of the result
---@field print fun(...)            a line of the result
---@field table fun(t: any, args: table)  a table, or what has text(width); args.wide: all columns
---@field note fun(...)             a line for people, on standard error
---@field warn fun(text: string)    the same, of something that may be wrong
---@field paint fun(style: string, text: string, stream?: string): string
---@field progress fun(p: table?)   a bar on a terminal; nil clears it
---@field command string?           what was typed
---@field width integer?            columns of the terminal; nil: not one
---@field real boolean?            it is the terminal itself: signals may be watched
---@field failed fun(): string?     why standard output failed

local STYLES = { dim = "2", bold = "1", red = "31", yellow = "33", green = "32", cyan = "36" }

-- A stream that remembers its first failure.
local function checked(stream)
  local failed
  return function(s)
    local ok, why = stream:write(s)
    if ok then ok, why = stream:flush() end
    if not ok then failed = failed or tostring(why) end
  end, function() return failed end
end

-- Colours are wanted at all.
local function colours()
  local no, term = os.getenv "NO_COLOR", os.getenv "TERM"
  return (no == nil or no == "") and term ~= nil and term ~= "dumb"
end

-- What a bar knows of the work: how fast, how long still. `began` is when and
-- where the first call of this work was.
local function pace(p, began, now)
  local gone, part = now - began.time, p.done - began.done
  local said = {}
  if p.n and p.unit and gone > 0.5 and p.n > began.n then
    said[#said + 1] = ("%.3g %s/s"):format((p.n - began.n) / gone, p.unit)
  end
  if part > 0 and gone > 0.5 and p.done < 1 then said[#said + 1] = report.seconds(gone / part * (1 - p.done)) .. " left" end
  return table.concat(said, ", ")
end

--- The line of a bar: no wider than `width` columns.
---@param p table      done (0 to 1), text, n (how many), unit ("chunks"), pace (said already)
---@param began table  { time, done, n } of the work's first call
---@param now number   seconds
---@param width integer
---@return string
function M.bar(p, began, now, width)
  local done = math.max(0, math.min(1, p.done))
  local room = math.max(8, math.min(30, width - 50))
  local n = math.floor(room * done + 0.5)
  local speed = p.pace or pace(p, began, now)
  local line = ("[%s%s] %3.0f%%  %s%s%s"):format(("#"):rep(n), ("."):rep(room - n), 100 * done, speed, speed ~= "" and "  " or "",
    report.printable(p.text or ""))
  return report.clip(line, width - 1)
end

-- Adds what every output has, where it is missing.
---@param out table  write, note, progress
---@return wane.Out
function M.complete(out)
  out.print = out.print or function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    out.write(table.concat(parts, "\t") .. "\n")
  end
  out.paint = out.paint or function(_, text) return text end
  out.warn = out.warn or function(text) out.note(out.paint("yellow", "warning:", "err") .. " " .. text) end
  out.table = out.table or function(t, args) out.print(t:text(not args.wide and out.width or nil)) end
  return out
end

--- The output of the real program.
---@return wane.Out
function M.terminal()
  local core = require "wane.core"
  local is = { out = core.is_terminal(1), err = core.is_terminal(2) }
  local coloured, shown, began = colours(), false, nil
  local out = { width = core.terminal.width(1), real = true }
  local put
  put, out.failed = checked(io.stdout)

  local function clear()
    if shown then io.stderr:write "\r\27[K" end
    shown = false
  end

  function out.write(s)
    clear()
    put(s)
  end

  function out.note(...)
    clear()
    io.stderr:write(table.concat({ ... }, " "), "\n")
  end

  function out.paint(style, text, stream)
    if not coloured or not is[stream or "out"] or text == "" then return text end
    return ("\27[%sm%s\27[0m"):format(STYLES[style], text)
  end

  function out.progress(p)
    if not is.err then return end
    if not p then
      began = nil
      return clear()
    end
    local now = core.now()
    if not began or p.done < began.last then began = { time = now, done = p.done, n = p.n or 0 } end
    began.last = p.done
    io.stderr:write("\r\27[K", M.bar(p, began, now, core.terminal.width(2) or 80))
    shown = true
  end

  return M.complete(out)
end

return M
