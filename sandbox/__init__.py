"""Both outside worlds and a chain, for the demo and the tests. Imports nothing of the bridge outside this room."""
