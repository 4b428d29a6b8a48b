"""The dashboard in Django's admin: what it shows, from rows and counts, and the pages that show it."""
