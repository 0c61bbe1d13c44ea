"""Independent evidence about addresses: txid, depth, replaceability. Decides nothing about money."""

# BIP-125: an input with a sequence below this says that its transaction may be replaced. Nodes replace others too (full RBF).
SIGNALS_BELOW = 0xFFFFFFFE
