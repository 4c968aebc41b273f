"""The plan of the workflow: what a request costs before any work, and afterwards what it cost."""
