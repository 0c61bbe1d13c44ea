"""The table of what operators do and read, each said once: makers in `web` and `cli` give it its address, command and form.

Owns the rows together; must not know HTTP, click or a page, nor decide anything: a row calls one flow.
"""

from bridge.actions import money, people, reviews, upkeep
from bridge.actions.row import Action, Row

ROWS: tuple[Row, ...] = (*money.ROWS, *reviews.ROWS, *upkeep.ROWS, *people.ROWS)
ACTIONS = tuple(row for row in ROWS if isinstance(row, Action))
