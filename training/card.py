"""Model cards (Mitchell et al., "Model Cards for Model Reporting", FAT* 2019), written from the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from training.evaluate import MEAN, MODEL, SECONDS, Evaluation
from training.gates import Outcome
from training.model import Model


def card(model: Model, evaluation: Evaluation, outcomes: list[Outcome], facts: Mapping[str, str]) -> str:
    """The card as Markdown. `facts`: provenance, shown as given (trained, commit, data...)."""
    spec = model.spec
    synthetic = facts.get("synthetic") == "yes"
    parts = [
        f"# {type(model).__name__}",
        "> **Synthetic data.** Every figure below comes from a generated world, none from a real system.\n"
        if synthetic
        else "",
        f"{_sentence(spec.purpose)} Algorithm: {spec.algorithm}. Served at `POST /api/v3/aiops/{spec.route}`.",
        "## Figures",
        f"Protocol: {spec.protocol.rstrip('.')}. Seeds: {evaluation.seeds}. Mean [95 % interval].",
        results(evaluation),
        "Intervals: " + "; ".join(sorted(set(evaluation.summary["method"]))) + ".",
        "## Targets",
        verdicts(outcomes) or "None.",
        "## Limits",
        spec.limits or "None are known.",
        "## Made from",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "## Inputs",
        "\n".join(_inputs(model)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def results(evaluation: Evaluation) -> str:
    """A Markdown table: data set and metric by contender, `mean [low, high]`."""
    table = pivot(evaluation)
    head = ["data set", "metric", *table.columns]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join([*names, *cells])} |" for names, cells in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join(lines)


def verdicts(outcomes: Iterable[Outcome]) -> str:
    """A Markdown list: each target, met or missed, with its figure."""
    return "\n".join(f"- {'met' if outcome.met else '**missed**'}: {outcome}" for outcome in outcomes)


def pivot(evaluation: Evaluation, outcomes: Iterable[Outcome] = (), times: bool = False) -> pd.DataFrame:
    """Texts `mean [low, high]`: rows (dataset, metric) as measured, columns the contenders, the model first.

    With `outcomes`, a last column `target` holds the bounds that are asked of each figure and whether they are met.
    """
    summary = evaluation.summary if times else evaluation.summary[~evaluation.summary["metric"].isin(SECONDS)]
    if summary["dataset"].nunique() == 2:  # one data set and its mean are the same figures
        summary = summary[summary["dataset"] != MEAN]
    summary = summary[summary.groupby(["dataset", "metric"])["mean"].transform("count") > 0]  # measured on this set
    cells = summary.assign(text=[shown(*values) for values in summary[["mean", "low", "high"]].to_numpy()])
    rows = pd.MultiIndex.from_frame(summary[["dataset", "metric"]].drop_duplicates())
    table = cells.pivot(index=["dataset", "metric"], columns="contender", values="text").reindex(rows).fillna("–")
    table = table[[MODEL, *sorted(set(table.columns) - {MODEL}, reverse=True)]]
    asked = {outcome: outcome.target.metric.rpartition("/") for outcome in outcomes}
    means = MEAN if (summary["dataset"] == MEAN).any() else summary["dataset"].iloc[0]
    goals = [
        " ".join(o.short() for o, (where, _, name) in asked.items() if (where or means, name) == index)
        for index in table.index
    ]
    return table.assign(target=goals) if asked else table


def shown(mean: float, low: float, high: float) -> str:
    """`0.912 [0.880, 0.940]`; without the bracket when there is no interval."""
    if math.isnan(mean):
        return "–"
    told, least, most = (f"{round(value, 3) + 0.0:.3f}" for value in (mean, low, high))  # no minus before a nought
    return told if math.isnan(low) or math.isnan(high) else f"{told} [{least}, {most}]"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _inputs(model: Model) -> Iterator[str]:
    yield "| input | type | unit | meaning |"
    yield "|---|---|---|---|"
    row = model.spec.row
    for name, (kind, nullable) in row.kinds().items():
        info = row.model_fields[name]
        unit = (info.json_schema_extra or {}).get("unit", "1") if isinstance(info.json_schema_extra, dict) else "1"
        type_name = kind.__name__ if isinstance(kind, type) and kind in (str, bool, int, float) else str(kind)
        yield f"| {name} | {type_name}{' or null' if nullable else ''} | {unit} | {info.description} |"
