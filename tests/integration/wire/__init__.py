"""Both sides of the wire, with the rules broken on purpose.

The number that a row begins with is that of the fault it is about. Each fails on the build that had the fault, 7f6c4f8,
but those that are called a control: they hold what was right there as well, and has to stay.
"""
