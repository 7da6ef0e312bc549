"""Libraries that nobody here wrote, each called where it lives.

What they return is compared to what Python's own modules say, to what the same library
says when it is hosted elsewhere, or to the library's documentation.
"""
