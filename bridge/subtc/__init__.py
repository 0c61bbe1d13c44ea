"""Everything SUBTC-shaped: the wire, the client, the callback signature. Decides nothing about money."""
