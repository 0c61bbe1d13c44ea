"""Signed notifications to the billing system's result CGI. Never marks anything paid itself."""
