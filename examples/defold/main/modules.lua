-- Modules that wane finds by a computed name: Defold packs what is named.
require "wane.arch.llama"
