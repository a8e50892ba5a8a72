--- Measurements in processes of their own: they print lines "name value".
local M = {}

--- Runs a command with words "key=value" behind it; a table of what it says,
--- empty (and a complaint on standard error) when it says nothing.
---@param command string
---@param args table<string, string|number>
---@return table<string, string|number>
function M.run(command, args)
  local words, results = { command }, {}
  for key, value in pairs(args) do words[#words + 1] = ("'%s=%s'"):format(key, value) end
  local p = assert(io.popen(table.concat(words, " ")))
  for line in p:lines() do
    local name, value = line:match "^(%S+) (%S+)$"
    if name then results[name] = tonumber(value) or value end
  end
  p:close()
  if not next(results) then io.stderr:write("no result: ", table.concat(words, " "), "\n") end
  return results
end

--- The words "key=value" of a child's command line.
---@param argv string[]
---@return table<string, string|number>
function M.args(argv)
  local o = {}
  for i = 1, #argv do
    local key, value = argv[i]:match "^(%w+)=(.*)$"
    o[assert(key, "want key=value")] = tonumber(value) or value
  end
  return o
end

--- The middle of a list of numbers, which is sorted.
---@param list number[]
---@return number
function M.median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[(n + 1) / 2] or (list[n / 2] + list[n / 2 + 1]) / 2
end

return M
