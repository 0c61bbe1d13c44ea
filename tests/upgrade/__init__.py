"""Databases of released versions, and the proof that this version takes each of them over without a loss."""
