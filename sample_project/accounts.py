"""The accounts of the sample site. All of them share one published password."""

PASSWORD = "correct horse battery staple"
PEOPLE = ("alice", "bob", "carol", "dave")
STAFF = "admin"


def colleague(number: int) -> str:
    """The name of one of the colleagues who share an office, and so an address."""
    return f"colleague{number:02}"
