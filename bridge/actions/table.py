"""Everything that an operator does or reads.

Owns the whole of it; must not say anything of a row that the row's own file does not.
"""

from bridge.actions import money, people, policy, reviews, upkeep
from bridge.actions.row import Action, Row

ROWS: tuple[Row, ...] = (*money.ROWS, *reviews.ROWS, *upkeep.ROWS, *people.ROWS, *policy.ROWS)
ACTIONS = tuple(row for row in ROWS if isinstance(row, Action))
# What a group of commands is about, where no command of it is written by hand.
GROUPS = money.GROUPS | reviews.GROUPS | people.GROUPS
