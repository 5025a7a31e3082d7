"""Data docs that work without a network: Great Expectations' pages, less everything they load from elsewhere."""

from __future__ import annotations

import html
import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.settings import settings

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

_ELSEWHERE = re.compile(
    r"""<script\b[^>]*\bsrc\s*=\s*["']https?:[^>]*>\s*</script>|<(?:link|img)\b[^>]*=\s*["']https?:[^>]*>"""
    r"""|background:\s*url\(['"]?https?:[^)]*\)[^;]*;|<footer>.*?</footer>""",
    re.I | re.S,
)
_STYLE = """<style>
body{font:14px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:1rem;color:#222}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border:1px solid #ddd;padding:.35rem .6rem}
td,th{text-align:left}
td,th{vertical-align:top}h1,h2,h3,h4,h5{font-weight:600}a{color:#0b5cad}
.badge{background:#eee;padding:0 .4em;border-radius:3px}
.text-success,.passed{color:#18794e}.text-danger,.failed{color:#c62828}ul.nav,.breadcrumb{list-style:none;padding:0}
.fa-check-circle::before{content:"\\2713"}.fa-times::before{content:"\\2717"}
.fa-exclamation-triangle::before{content:"!"}
.modal,.btn,.dropdown-menu,.collapse:not(.show){display:none}
@media (prefers-color-scheme:dark){body{background:#111;color:#ddd}td,th{border-color:#444}a{color:#7ab8ff}}
</style>"""


def write(name: str, result: ExpectationSuiteValidationResult, now: datetime) -> Path:
    """Write the page of one validation of `name` and renew the index; returns the page."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    text = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    folder = settings().home / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.html"
    page.write_text(_ELSEWHERE.sub("", text).replace("</head>", _STYLE + "</head>", 1))
    outcome = {"success": bool(result.success), "time": now.isoformat(timespec="seconds"), **_counts(result)}
    (folder / f"{name}.json").write_text(json.dumps(outcome))
    (folder / "index.html").write_text(_index(folder))
    return page


def _counts(result: ExpectationSuiteValidationResult) -> dict[str, int]:
    return {"expectations": len(result.results), "failed": sum(not one.success for one in result.results)}


def _index(folder: Path) -> str:
    lines = []
    for file in sorted(folder.glob("*.json")):
        one = json.loads(file.read_text())
        verdict = '<td class="passed">passed</td>' if one["success"] else '<td class="failed">failed</td>'
        name = html.escape(file.stem)
        lines.append(
            f'<tr><td><a href="{name}.html">{name}</a></td>{verdict}<td>{one["expectations"]}</td>'
            f"<td>{one['failed']}</td><td>{one['time']}</td></tr>"
        )
    head = "<tr><th>view</th><th>gate</th><th>expectations</th><th>failed</th><th>last run (UTC)</th></tr>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data docs</title>{_STYLE}</head>'
        f"<body><h1>Data docs</h1><table>{head}{''.join(lines)}</table></body></html>"
    )
