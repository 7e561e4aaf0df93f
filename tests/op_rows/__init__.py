"""The rows of the op table: a list ``ROWS`` in each module that does not help the others."""
