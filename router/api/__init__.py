"""The HTTP routes, on the port of the pages. Starlette comes with Streamlit."""

from router.api.access import LINK_SECONDS, signed_link
from router.api.routes import routes
from router.api.server import lifespan

__all__ = ["LINK_SECONDS", "lifespan", "routes", "signed_link"]
