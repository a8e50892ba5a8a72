--- mamba and mamba2: wane.arch.mamba.
return require("wane.arch.mamba").describe
