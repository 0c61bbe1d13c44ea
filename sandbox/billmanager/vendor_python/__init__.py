"""A small library in the style of BILLmanager's, installed as lib/python/billmgr. It must only run inside a tree."""

BINARY_NAME = "billmgr"
