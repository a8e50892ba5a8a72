--- `wane completion SHELL`: what makes a shell complete wane's verbs, flags and
--- values; made from the rows of wane.cli.verbs and nothing else.
---
---     eval "$(wane completion bash)"
---
--- `make install` puts the files where bash, zsh and fish look for them;
--- doc/completion/ holds them, made by `make reference`.
local M = { summary = "print a shell's completion file, or the manual page", json = false,
  notes = [[For bash: eval "$(wane completion bash)" in ~/.bashrc. For zsh: wane completion zsh > a folder of $fpath/_wane. For fish:
wane completion fish > ~/.config/fish/completions/wane.fish. `make install` does all three.]] }

function M.describe(p)
  p:argument("shell", "bash, zsh, fish, or man for the manual page"):offer { "bash", "zsh", "fish", "man" }
end

--- What a value may be, as words to offer; nil for files and free text.
local function offers(row)
  if row.among then return row.among end
  if row.kind == "cache" then return { "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0" } end
  if row.kind == "type" then
    local list = { "f32", "f16", "bf16" }
    for _, t in ipairs(require("wane.core").stream.types()) do
      if t.class == "quant" then list[#list + 1] = t.name end
    end
    return list
  end
  if row.kind == "mix" then
    local list = { "AUTO", "COPY" }
    for _, name in ipairs(require("wane.recipe.mixes").names) do list[#list + 1] = name end
    return list
  end
end

-- How many words an argument takes: 1, or nil for any number.
local function is_many(row)
  local args = row.said.args
  return args == "*" or args == "+"
end

local function first_sentence(text) return (text:gsub("%s*[%(;].*$", "")) end

-- ---- bash -------------------------------------------------------------------------

-- What bash does to complete a value of a row.
local function bash_value(row)
  local words = offers(row)
  if words then return ('COMPREPLY=($(compgen -W "%s" -- "$cur"))'):format(table.concat(words, " ")) end
  if row.kind == "model" then return "_wane_files '!*.gguf'" end
  if row.kind == "file" then return "_wane_files" end
  if row.kind == "dir" then return "_wane_files '*'" end
  return ":"
end

local BASH = [==[
# bash completion for wane. Made by `wane completion bash`: do not edit.
_wane_files() { # [what to leave out]: files, and folders to go on in
  compopt -o filenames 2>/dev/null
  local IFS=$'\n'
  COMPREPLY=($(compgen -d -- "$cur"))
  if [[ $1 != '*' ]]; then COMPREPLY+=($(compgen -f -X "$1" -- "$cur")); fi
  COMPREPLY=($(printf '%s\n' "${COMPREPLY[@]}" | sort -u))
}
_wane() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= takes= n=0 i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD && ${#verb} == 0; i++)); do
    case ${COMP_WORDS[i]} in
      -*) ;;
      *) verb=${COMP_WORDS[i]} ;;
    esac
  done
  case $verb in # flags with values
@TAKES@  esac
  for ((; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -*) [[ " $takes " == *" ${COMP_WORDS[i]} "* ]] && ((i++)) ;;
      *) ((n++)) ;;
    esac
  done
  case $verb in
    '') COMPREPLY=($(compgen -W "@VERBS@ --version --help" -- "$cur")) ;;
@CASES@  esac
}
complete -F _wane wane
]==]

function M.bash(verbs)
  local names, out, takes = {}, {}, {}
  for i, verb in ipairs(verbs) do
    names[i] = verb.name
    local flags, valued = { "--help" }, {}
    out[#out + 1] = ("    %s)\n      case $prev in\n"):format(verb.name)
    for _, row in ipairs(verb.options) do
      flags[#flags + 1] = row.flags[#row.flags]
      for _, flag in ipairs(row.flag and {} or row.flags) do valued[#valued + 1] = flag end
      if not row.flag then out[#out + 1] = ("        %s) %s; return ;;\n"):format(table.concat(row.flags, "|"), bash_value(row)) end
    end
    takes[i] = ("    %s) takes='%s' ;;\n"):format(verb.name, table.concat(valued, " "))
    out[#out + 1] = "      esac\n      case $cur in\n"
    out[#out + 1] = ('        -*) COMPREPLY=($(compgen -W "%s" -- "$cur")); return ;;\n      esac\n      case $n in\n'):format(
      table.concat(flags, " "))
    for k, row in ipairs(verb.arguments) do
      out[#out + 1] = ("        %s) %s ;;\n"):format(is_many(row) and "*" or tostring(k - 1), bash_value(row))
    end
    out[#out + 1] = "      esac ;;\n"
  end
  return (BASH:gsub("@(%u+)@", { VERBS = table.concat(names, " "), TAKES = table.concat(takes), CASES = table.concat(out) }))
end

-- ---- zsh --------------------------------------------------------------------------

local function zsh_quoted(s) return "'" .. s:gsub("'", "'\\''") .. "'" end
local function zsh_text(s) return (first_sentence(s):gsub("[%[%]:\\]", "\\%0")) end

local function zsh_value(row)
  local words = offers(row)
  if words then return "(" .. table.concat(words, " ") .. ")" end
  if row.kind == "model" then return '_files -g "*.gguf"' end
  if row.kind == "file" then return "_files" end
  if row.kind == "dir" then return "_files -/" end
  return " "
end

function M.zsh(verbs)
  local names, cases = {}, {}
  for i, verb in ipairs(verbs) do
    names[i] = "    " .. zsh_quoted(verb.name .. ":" .. zsh_text(verb.summary))
    local specs = { zsh_quoted "(- *)--help[show help]" }
    for _, row in ipairs(verb.options) do
      local many = row.said.count and "*" or ""
      for _, flag in ipairs(row.flags) do
        specs[#specs + 1] = zsh_quoted(("%s%s[%s]%s"):format(many, flag, zsh_text(row.text),
          row.flag and "" or (":%s:%s"):format(row.name, zsh_value(row))))
      end
    end
    for k, row in ipairs(verb.arguments) do
      specs[#specs + 1] = zsh_quoted(("%s:%s:%s"):format(is_many(row) and "*" or (row.said.args == "?" and k .. ":" or tostring(k)),
        row.name, zsh_value(row)))
    end
    cases[i] = ("        %s)\n          _arguments \\\n            %s ;;"):format(verb.name, table.concat(specs, " \\\n            "))
  end
  return table.concat({ "#compdef wane", "# zsh completion for wane. Made by `wane completion zsh`: do not edit.", "_wane() {",
    "  local context state line", "  local -a verbs", "  verbs=(", table.concat(names, "\n"), "  )",
    "  _arguments -C '--version[print the version]' '--help[show help]' '1: :->verb' '*:: :->rest'",
    "  case $state in", "    verb) _describe verb verbs ;;", "    rest)", "      case $words[1] in",
    table.concat(cases, "\n"), "      esac ;;", "  esac", "}", '_wane "$@"', "" }, "\n")
end

-- ---- fish -------------------------------------------------------------------------

local function fish_quoted(s) return "'" .. s:gsub("[\\']", "\\%0") .. "'" end

local function fish_value(row)
  local words = offers(row)
  if words then return " -x -a " .. fish_quoted(table.concat(words, " ")) end
  if row.kind == "model" or row.kind == "file" or row.kind == "dir" then return " -r -F" end
  return " -x"
end

function M.fish(verbs)
  local out = { "# fish completion for wane. Made by `wane completion fish`: do not edit.", "complete -c wane -f",
    "complete -c wane -n __fish_use_subcommand -l version -d 'print the version'" }
  for _, verb in ipairs(verbs) do
    out[#out + 1] = ("complete -c wane -n __fish_use_subcommand -a %s -d %s"):format(verb.name, fish_quoted(verb.summary))
    local where = ("complete -c wane -n '__fish_seen_subcommand_from %s'"):format(verb.name)
    for _, row in ipairs(verb.arguments) do
      local words = offers(row)
      if words then
        out[#out + 1] = ("%s -a %s"):format(where, fish_quoted(table.concat(words, " ")))
      elseif row.kind then
        out[#out + 1] = where .. " -F"
      end
    end
    for _, row in ipairs(verb.options) do
      local names = {}
      for i, flag in ipairs(row.flags) do names[i] = flag:find "^%-%-" and "-l " .. flag:sub(3) or "-s " .. flag:sub(2) end
      out[#out + 1] = ("%s %s%s -d %s"):format(where, table.concat(names, " "), row.flag and "" or fish_value(row),
        fish_quoted(first_sentence(row.text)))
    end
  end
  return table.concat(out, "\n") .. "\n"
end

--- All generated files of the command line: path -> content.
---@return table<string, string>
function M.files()
  local verbs = require("wane.cli.verbs").all()
  return { ["doc/completion/wane.bash"] = M.bash(verbs), ["doc/completion/_wane"] = M.zsh(verbs),
    ["doc/completion/wane.fish"] = M.fish(verbs), ["doc/wane.1"] = require("wane.cli.man").page(verbs) }
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local verbs = require("wane.cli.verbs").all()
  if args.shell == "man" then
    out.write(require("wane.cli.man").page(verbs))
  elseif args.shell == "bash" or args.shell == "zsh" or args.shell == "fish" then
    out.write(M[args.shell](verbs))
  else
    return nil, ("completion: want bash, zsh, fish or man, found '%s'"):format(args.shell)
  end
  return true
end

return M
