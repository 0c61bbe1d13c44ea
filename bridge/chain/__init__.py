"""Independent evidence about addresses: txid, depth, replaceability. Decides nothing about money."""
