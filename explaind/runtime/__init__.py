"""Tools for the machine: memory, devices and progress bars; independent of what is computed."""
