"""The table of what operators do and read, each said once: makers in `web` and `cli` give it its address, command and form.

Owns the rows; must not know HTTP, click or a page, nor decide anything: a row calls one flow.
"""
