"""`daedalus doctor`: what on this machine, in these settings or in this lake keeps a recorder from doing well.

`findings` is the form of an answer; `machine`, `setup`, `network` and `lake` ask; `command` gathers and prints.
"""
