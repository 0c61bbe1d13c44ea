"""The HTTP interface, driven from outside over a real store."""
