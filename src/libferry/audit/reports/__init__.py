"""Reports for other programs and for people: one module a form.

Each takes the reports of one run, one for each target, and gives text.
"""
