"""What people see of an invoice and say about it: its story, its dossier, reviews and their rulings."""
