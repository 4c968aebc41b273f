"""Figures: one file each, named as in the paper; stage outputs in, one PDF and one PNG out."""
