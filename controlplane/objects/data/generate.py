"""Make the schema data file (what `make schema` runs)."""


def main() -> None:
    """Filled by the objects room."""
