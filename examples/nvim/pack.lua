-- init.lua with vim.pack, which is in Neovim from 0.12 on; OWNER is where this
-- repository lies. The native part is made once, and again after an update.
vim.api.nvim_create_autocmd("PackChanged", { callback = function(e)
  if e.data.spec.name == "wane" and e.data.kind ~= "delete" then
    vim.system({ "make", "nvim" }, { cwd = e.data.path }):wait()
  end
end })
vim.pack.add { { src = vim.env.WANE_URL or "https://github.com/OWNER/wane", name = "wane" } }

vim.g.wane = { model = vim.env.WANE_MODEL or "~/models/coder.gguf" }
vim.keymap.set("i", "<C-l>", "<Plug>(wane-complete)")
vim.keymap.set("i", "<Tab>", function() require("wane.nvim").accept_or("all", "<Tab>") end)
