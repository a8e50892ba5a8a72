-- init.lua with lazy.nvim. Its bootstrap, as its own page has it, stands before
-- this; OWNER is where this repository lies.
require("lazy").setup {
  { url = vim.env.WANE_URL or "https://github.com/OWNER/wane", name = "wane", build = "make nvim" },
}

vim.g.wane = { model = vim.env.WANE_MODEL or "~/models/coder.gguf" }
vim.keymap.set("i", "<C-l>", "<Plug>(wane-complete)")
vim.keymap.set("i", "<Tab>", function() require("wane.nvim").accept_or("all", "<Tab>") end)
