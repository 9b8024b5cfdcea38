"""The dashboard: server-rendered pages that keep themselves up to date.

Pages read, act and draw through the server's own functions and know nothing of stores or engines:
whatever a page shows or does, the API and the command line show and do alike.
"""

from knowngood.web.site import install

__all__ = ["install"]
