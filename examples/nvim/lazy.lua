-- init.lua with lazy.nvim, which is fetched at the first start; OWNER is where
-- this repository lies.
local lazy = vim.fn.stdpath "data" .. "/lazy/lazy.nvim"
if vim.fn.isdirectory(lazy) == 0 then
  vim.fn.system { "git", "clone", "--filter=blob:none", vim.env.LAZY_URL or "https://github.com/folke/lazy.nvim", lazy }
end
vim.opt.rtp:prepend(lazy)
require("lazy").setup({
  { url = vim.env.WANE_URL or "https://github.com/OWNER/wane", name = "wane", build = "make nvim" },
}, { git = { timeout = 900 } }) -- seconds, of builds too: after the default of two minutes they are killed

vim.g.wane = { model = vim.env.WANE_MODEL or "~/models/coder.gguf" }
vim.keymap.set("i", "<C-l>", "<Plug>(wane-complete)")
vim.keymap.set("i", "<Tab>", function() require("wane.nvim").accept_or("all", "<Tab>") end)
