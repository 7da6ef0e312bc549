"""What an untrusted library may do, and how a kernel is made to hold it to that.

A *profile* says what it may do (``profile.py``, ``profiles/``); beside it stand tables of
what a worker, a loader, an emulator need themselves (``needs.py``). ``confine.py`` makes
of both what a worker is started with: a *plan* for the child (``plan.py``, ``mounts.py``,
``landlock.py``, ``seccomp.py``) and a *policy* for its supervisor (``policy.py``).
``layers.py`` says what the running kernel enforces of it, ``acts.py`` what a library did,
and ``learning.py`` writes profiles from that.
"""

from libferry.sandbox.layers import Layer, Report
from libferry.sandbox.profile import Profile, profile_of, read_profile

__all__ = ["Layer", "Profile", "Report", "profile_of", "read_profile"]
