"""A bridge between BILLmanager and SUBTC: hosting invoices paid in Bitcoin."""
