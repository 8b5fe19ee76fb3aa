"""The page (a later release)."""
