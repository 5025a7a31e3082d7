"""Incidents of a few products of both clouds."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from features.demo import _incident_reports

_GOOGLE = ("Google Compute Engine", "Google Cloud Storage", "Google Cloud SQL", "Google Cloud Networking")
_AWS = ("Amazon Elastic Compute Cloud", "Amazon Route 53", "Amazon Simple Storage Service")
_COUNT = 120  # of each provider


def write(target: Path, random: np.random.Generator) -> None:
    google, aws = [], []
    for time in _incident_reports.opened(random, _COUNT):
        product = str(random.choice(_GOOGLE))
        update = {"text": _incident_reports.message(random, product), "when": time.isoformat(), "status": None}
        later = {"text": "The issue is resolved.", "when": (time + timedelta(hours=2)).isoformat(), "status": None}
        google.append(
            {
                "event_start_time": time.isoformat(),
                "external_desc": f"We've received a report of an issue with {product}.",
                "updates": [later, update],
                "service_name": product,
                "severity": str(random.choice(["high", "medium", "low"])),
            }
        )
    for time in _incident_reports.opened(random, _COUNT):
        product = str(random.choice(_AWS))
        said = _incident_reports.message(random, product)
        aws.append(
            {
                "service_name": f"{product} (N. Virginia)",
                "description": f"<div><span>1:00 PM PST</span>&nbsp;{said}</div><div><span>2:00 PM PST</span>&nbsp;"
                "The issue has been resolved.</div>",
                "date": time.replace(tzinfo=None),
                "status": str(random.choice(["1", "2", "3"])),
            }
        )
    pd.DataFrame(google).to_parquet(target / "gcp_provider.parquet")
    pd.DataFrame(aws).to_parquet(target / "aws_provider.parquet")
