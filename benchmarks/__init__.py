"""Time and memory of what costs most. Opt-in: `make bench`. Ratios within one run; times depend on the machine."""
