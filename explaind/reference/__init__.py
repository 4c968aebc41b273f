"""The definitions, transcribed literally in float64 and sharing no code with the rest: recorded runs, single updates."""
