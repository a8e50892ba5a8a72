-- init.lua without a plugin manager: this repository lies in
-- ~/.local/share/nvim/site/pack/wane/start/wane, `make nvim` was run there, and
-- :helptags ALL here.
vim.g.wane = { model = vim.env.WANE_MODEL or "~/models/coder.gguf" }
vim.keymap.set("i", "<C-l>", "<Plug>(wane-complete)")
vim.keymap.set("i", "<Tab>", function() require("wane.nvim").accept_or("all", "<Tab>") end)
