"""Measures the bridge against yardsticks of the same run: `python -m bench`, and a soak: `python -m bench.soak`."""
