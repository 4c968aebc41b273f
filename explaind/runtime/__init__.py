"""Tools of the machine room: memory, devices and progress bars; nothing here knows what is computed."""
