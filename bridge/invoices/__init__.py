"""Money in: an invoice is opened, observed, recorded, told of. `record` is the one door through which it changes."""
