"""The rows of the op table: each module but ``draws`` and ``row`` has a list ``ROWS``."""
