"""Experiments: the options, data, model and loss of each.

An experiment is one folder here (`explaind/experiments/<name>/`) and its files in `conf/`. In the folder, `options.py` says which
configurations are allowed, without torch, and `build.py` makes data and model of one. Nothing else knows either.
"""
