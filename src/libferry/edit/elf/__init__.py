"""Edit an ELF file.

Most edits need no room: a flag, a binding, an entry to leave out, a path that is not longer
than the old one. They are done in place, so that every address stays what it was. What has
to grow goes through ``patchelf``, which moves the tables concerned into a segment of their
own at the file's end.
"""
