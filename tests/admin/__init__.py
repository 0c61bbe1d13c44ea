"""The operators' pages, driven from outside over a real store."""
