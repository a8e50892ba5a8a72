-- The Neovim plugin's only work at start: the command :Wane. Nothing of the
-- library is loaded before it is used; no maps, no settings, no messages.
if vim.g.loaded_wane or vim.fn.has "nvim-0.7" == 0 then return end
vim.g.loaded_wane = true

vim.api.nvim_create_user_command("Wane", function(args) require("wane.nvim").command(args) end, {
  nargs = "*",
  range = true,
  bang = true,
  desc = "wane: complete, chat, edit, stop, model, info",
  complete = function(...) return require("wane.nvim").candidates(...) end,
})

vim.keymap.set("i", "<Plug>(wane-complete)", function() require("wane.nvim").complete() end)
for _, what in ipairs { "all", "line", "word" } do
  vim.keymap.set("i", ("<Plug>(wane-accept-%s)"):format(what), function() require("wane.nvim").accept(what) end)
end
