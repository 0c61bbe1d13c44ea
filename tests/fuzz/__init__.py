"""Everything that parses strangers' bytes, thrown at with bytes.

`make fuzz SECONDS=60` runs long, the test runs every seed and a little more; a finding becomes a file of the corpus.
"""
