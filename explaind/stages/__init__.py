"""The stages between a configuration and the results: one file per rule of the workflow, with the rule's name.

`write(config, *, <inputs>, <wildcards>, <outputs>)` does the work of one job.
"""
