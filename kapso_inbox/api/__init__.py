"""What a program sees: the same as an administrator, and a ticket for a front end elsewhere."""
