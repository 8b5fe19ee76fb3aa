"""Users, roles, tokens and permissions."""
