"""The C core by itself: C programs that link parts of it and run on each CPU."""
