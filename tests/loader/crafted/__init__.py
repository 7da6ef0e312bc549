"""Small cases with one trap each: libraries made on the spot, and the real loader's answer.

Each test builds a program and its libraries, has the real loader load them, and compares
what was loaded, in which order, or the error's words, to what we say. That the trap really
is in the case, the test says itself: with the library or the words that the loader ends with.
"""
