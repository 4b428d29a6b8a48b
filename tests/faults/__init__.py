"""Faults on real servers: what users see, what the log says, what is counted. A table of it ends the run."""
