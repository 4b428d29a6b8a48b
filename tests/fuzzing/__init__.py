"""Promises held against whatever anybody sends: targets for hypothesis in the suite, for atheris in ``make fuzz``."""
