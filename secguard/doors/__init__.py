"""What the doors share: one refusal is one event, what a finished response tells, how other packages are observed."""
