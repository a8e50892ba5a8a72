--- What goes by another name in another Neovim: the new name, else the old one.
local M = {}

M.uv = vim.uv or vim.loop -- 0.10

--- vim.text.diff, before 0.12 vim.diff.
M.diff = function(...) return (vim.fn.has "nvim-0.12" == 1 and vim.text.diff or vim.diff)(...) end

--- Whether text can be shown inside of a line; before 0.10 it lies over it.
M.inline = vim.fn.has "nvim-0.10" == 1

--- The pattern of autocommands of one buffer. (0.12 renamed the key `buffer`;
--- this form is older than either.)
---@param buf integer
---@return string
function M.of_buffer(buf) return ("<buffer=%d>"):format(buf) end

return M
