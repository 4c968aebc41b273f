"""Tables: one file each; stage outputs in, one CSV out. Columns and units are listed in results/README.md."""
