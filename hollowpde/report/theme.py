"""How the report looks: one colour for each role everywhere, colour scales, fonts, axes."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log10
from types import MappingProxyType
from typing import Any

from hollowpde.problem.panel import Role

# After Okabe and Ito: told apart with the common colour blindnesses, darkened where needed to
# stand out from white.
COLOURS: Mapping[Role, str] = MappingProxyType(
    {
        Role.DATA: "#3F97D3",
        Role.TRUTH: "#202020",
        Role.FIT: "#D55E00",
        Role.RESIDUAL: "#AA3377",
        Role.TRAIN: "#27408B",
        Role.VALIDATION: "#009E73",
    }
)

TEXT = "#1C2430"
FAINT = "#E3E7EC"
FRAME = "#9AA5B1"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

DIVERGING = (
    (0.0, "#17457F"),
    (0.25, "#5E9BC9"),
    (0.5, "#FFFFFF"),
    (0.75, "#DE7B62"),
    (1.0, "#8C1327"),
)

# How lines of one role on one panel are told apart; "dash" is kept for guides.
DASHES = ("solid", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "diamond", "square", "triangle-up")


def translucent(role: Role, alpha: float) -> str:
    """The colour of a role, seen through."""
    red, green, blue = _channels(COLOURS[role])
    return f"rgba({red},{green},{blue},{alpha})"


def sequential(role: Role) -> list[tuple[float, str]]:
    """A colour scale from white through the colour of a role to nearly black."""
    colour = COLOURS[role]
    return [
        (0.0, "#FFFFFF"),
        (0.3, _mix("#FFFFFF", colour, 0.45)),
        (0.65, colour),
        (1.0, _mix("#000000", colour, 0.35)),
    ]


def axis(title: str, span: tuple[float, float], log: bool) -> dict[str, Any]:
    """The layout of an axis.

    Arguments:
        title: what the axis shows, already escaped.
        span: its ends, as powers of ten on a logarithmic axis.
        log: whether it is logarithmic.
    """
    return (log_ticks(*span) if log else {}) | {
        "title": {"text": title, "standoff": 8},
        "range": list(span),
        "type": "log" if log else "linear",
        "automargin": True,
        "exponentformat": "power",
        "minexponent": 4,
        "gridcolor": FAINT,
        "linecolor": FRAME,
        "mirror": True,
        "showline": True,
        "ticks": "outside",
        "tickcolor": FRAME,
        "zeroline": False,
    }


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """The ticks of a logarithmic axis between two powers of ten."""
    if high - low > 2:
        return {"dtick": ceil((high - low) / 8)}
    # Between the powers of ten plotly gives digits alone, of which nobody knows the power.
    values = [m * 10.0**k for k in range(floor(low), ceil(high) + 1) for m in (1, 2, 5)]
    shown = [value for value in values if low <= log10(value) <= high]
    # On an axis shorter than that plotly gives its ticks in full.
    return {"tickvals": shown, "ticktext": [f"{v:g}" for v in shown]} if len(shown) > 2 else {}


def layout(height: int) -> dict[str, Any]:
    """The layout that all figures share."""
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
        "paper_bgcolor": "#FFFFFF",
        "plot_bgcolor": "#FFFFFF",
        "font": {"family": FONT, "size": 13, "color": TEXT},
        "modebar": {"bgcolor": "rgba(255,255,255,0.8)", "color": FRAME, "activecolor": TEXT},
        "hovermode": "closest",
        "hoverlabel": {"namelength": -1},
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "itemsizing": "trace",
        },
        "barmode": "overlay",
        "bargap": 0,
    }


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mix(start: str, end: str, share: float) -> str:
    pairs = zip(_channels(start), _channels(end), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02X}" for a, b in pairs)
