"""Training runs: the loop, its batches and schedules, what makes it repeatable, and the phases it went through."""
