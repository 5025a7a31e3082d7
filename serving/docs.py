"""The documentation page, from the Swagger UI files that BentoML ships: nothing is fetched from elsewhere."""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from serving import BASE

ASSETS = str(resources.files("bentoml") / "_internal" / "server" / "static_content")
# The browser itself refuses anything from outside; inline: the page's start script and Swagger's own styles.
POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def install(app: FastAPI) -> None:
    """Serve the page at `docs`; `/` leads there, which also hides BentoML's own page (it loads a tracker)."""
    files = f"{BASE}/docs/assets"

    @app.get(f"{BASE}/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url=f"{BASE}/openapi.json",
            title=app.title,
            swagger_js_url=f"{files}/swagger-ui-bundle.js",
            swagger_css_url=f"{files}/swagger-ui.css",
            swagger_favicon_url=f"{files}/favicon-light-32x32.png",
            swagger_ui_parameters={"validatorUrl": None},
        )
        page.headers["Content-Security-Policy"] = POLICY
        return page

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse(f"{BASE}/docs")

    app.mount(files, StaticFiles(directory=ASSETS), name="docs-assets")
