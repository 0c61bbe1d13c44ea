"""The operator guide, walked: an empty Debian 12 becomes a paid order by the guide's own commands.

Owns the walk of `make drill` and the checks of the guide's commands; must not hold a command of the guide itself.
"""
