"""How far the property tests of pure code search: 200 examples every time, 10000 on request.

``HYPOTHESIS_PROFILE=nightly`` asks for the long search. Whatever profile is active, tests
that are marked with ``THOROUGH`` never search less than "ci".
"""

from __future__ import annotations

from hypothesis import settings

_CI = settings.get_profile("ci")
_ACTIVE = settings()
THOROUGH = _ACTIVE if _ACTIVE.max_examples > _CI.max_examples else _CI
