"""Money out: asked for, decided by people, sent once, confirmed; and the treasury that it leaves."""
