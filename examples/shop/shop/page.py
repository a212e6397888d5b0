"""The shop's front page."""

from __future__ import annotations

from html import escape
from typing import Any

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%%}td,th{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #ddd}
.no{color:#a40000}</style></head><body><h1>Shop</h1><p>%s</p>
<table><thead><tr><th>transaction</th><th>customer</th><th>terminal</th><th>amount</th>
<th>fraud score</th><th>model</th><th>answer</th></tr></thead>
<tbody>%s</tbody></table></body></html>"""


def render(payments: list[dict[str, Any]]) -> str:
    """`payments`: newest first, as `Book.recent` gives them."""
    return _PAGE % (
        "The latest payments." if payments else "No payment yet.",
        "".join(_row(payment) for payment in payments),
    )


def _row(payment: dict[str, Any]) -> str:
    score = "" if payment["score"] is None else f"{payment['score']:.3f}"
    model = "rule" if payment["model_version"] is None else f"version {payment['model_version']}"
    answer = "approved" if payment["approved"] else "declined"
    cells = [
        str(payment["transaction_id"]),
        str(payment["customer_id"]),
        str(payment["terminal_id"]),
        f"{payment['amount']:.2f}",
        score,
        model,
        answer,
    ]
    style = "" if payment["approved"] else ' class="no"'
    return f"<tr{style}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
