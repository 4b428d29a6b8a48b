"""Doors beyond Django's own signals: one file for each package, imported only where that package is installed."""
