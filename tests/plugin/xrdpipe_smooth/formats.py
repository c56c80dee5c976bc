"""A file format for xrdpipe: radial and intensity as JSON."""

from __future__ import annotations

import json

import numpy as np

from xrdpipe.io.formats import Format


def json_text(pattern, header):
    """The text of a pattern; bins without a pixel are left out."""
    filled = ~np.isnan(pattern.intensity)
    columns = [pattern.radial[filled].tolist(), pattern.intensity[filled].tolist()]
    return json.dumps({"unit": pattern.unit, "columns": columns})


def read_json(text):
    """The unit, and a table with a row for each bin."""
    values = json.loads(text)
    return values["unit"], np.array(values["columns"]).T


JSON = Format(".json", json_text, read_json)
