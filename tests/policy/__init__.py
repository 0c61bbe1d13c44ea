"""Policy versions: what is in force, who proposed it, who approved it."""
