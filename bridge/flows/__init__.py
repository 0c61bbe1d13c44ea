"""One verb per file: what the bridge does. Only this room opens transactions; it never calls the network inside one."""
