# SPDX-License-Identifier: Apache-2.0
"""Small SVG pictures of curves, points and squares, for pages that are read light or dark."""
import math
from xml.sax.saxutils import escape

INK, PALE, GRID, PAPER = "#1d2127", "#5c6470", "#e3e6ea", "#ffffff"
COLOURS = ["#c8401a", "#0a6fb8", "#7d4cc0", "#6a7280", "#0a8457", "#a36a00", "#c02463", "#00838f"]
DASHES = ["", "7 3", "2 3", "", "9 3 2 3", "5 2", "1 2", "12 3"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 62, 150, 34, 48


def tag(name, content="", **values):
    words = "".join(f' {key.rstrip("_").replace("_", "-")}="{value}"' for key, value in values.items())
    return f"<{name}{words}>{content}</{name}>" if content else f"<{name}{words}/>"


def text(x, y, words, **values):
    return tag("text", escape(words), x=f"{x:.1f}", y=f"{y:.1f}", **values)


def document(title, body, width=WIDTH, height=HEIGHT):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n'
        + "\n".join([tag("title", escape(title)), tag("rect", width=width, height=height, fill=PAPER), *body])
        + "\n</svg>\n"
    )


def round_ticks(low, high, log):
    if log:
        ticks = [m * 10.0**e for e in range(-4, 7) for m in (1, 2, 3, 5, 7) if low <= m * 10.0**e <= high]
        return ticks if len(ticks) >= 2 else [low, high]
    step = 10 ** math.floor(math.log10((high - low) / 4 or 1))
    step = next(s * step for s in (1, 2, 2.5, 5, 10) if (high - low) / (s * step) <= 6)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


class Axes:
    """Where numbers lie in the picture."""

    def __init__(self, xs, ys, log=False):
        def span(values, log=False):
            low, high = min(values), max(values)
            if log:
                return low / 1.05, high * 1.05
            pad = (high - low) * 0.05 or 0.5
            return low - pad, high + pad

        self.log = log
        self.x0, self.x1 = span(xs)
        self.y0, self.y1 = span(ys, log)

    def x(self, value):
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        low, high, at = (math.log(v) if self.log else v for v in (self.y0, self.y1, value))
        return HEIGHT - BOTTOM - (at - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def frame(self, title, x_label, y_label, x_ticks=None):
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        body = [text(LEFT, 20, title, font_weight=600, font_size=13)]
        for value in round_ticks(self.y0, self.y1, self.log):
            y = self.y(value)
            body.append(tag("line", x1=LEFT, x2=right, y1=f"{y:.1f}", y2=f"{y:.1f}", stroke=GRID))
            body.append(text(LEFT - 6, y + 4, f"{value:g}", text_anchor="end", fill=PALE))
        for value, words in x_ticks or [(v, f"{v:g}") for v in round_ticks(self.x0, self.x1, False)]:
            body.append(text(self.x(value), bottom + 17, words, text_anchor="middle", fill=PALE))
        body.append(tag("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, stroke=PALE))
        body.append(text((LEFT + right) / 2, HEIGHT - 10, x_label, text_anchor="middle", fill=PALE))
        middle = (TOP + bottom) / 2
        body.append(text(14, middle, y_label, text_anchor="middle", fill=PALE, transform=f"rotate(-90 14 {middle:.1f})"))
        return body


def curves(title, x_label, y_label, series, x_ticks=None, log=False):
    """series: [(name, style, [(x, y)], [(x, low, high)])]; names stand beside the last points, apart."""
    axes = Axes(
        [x for _, _, points, _ in series for x, _ in points],
        [y for _, _, points, band in series for y in [p[1] for p in points] + [b for p in band for b in p[1:]]],
        log,
    )
    body = axes.frame(title, x_label, y_label, x_ticks)
    for _, style, points, band in series:
        if band:
            ring = [(x, high) for x, _, high in band] + [(x, low) for x, low, _ in reversed(band)]
            corners = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in ring)
            body.append(tag("polygon", points=corners, fill=COLOURS[style], fill_opacity=0.15))
    labels = []
    for name, style, points, _ in series:
        at = [(axes.x(x), axes.y(y)) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        dash = {"stroke_dasharray": DASHES[style]} if DASHES[style] else {}
        body.append(tag("polyline", points=line, fill="none", stroke=COLOURS[style], stroke_width=2, **dash))
        body += [tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, fill=COLOURS[style]) for x, y in at]
        labels.append([at[-1][1], at[-1][0], name, style])
    labels.sort()
    for i in range(1, len(labels)):
        labels[i][0] = max(labels[i][0], labels[i - 1][0] + 15)
    over = max(0, labels[-1][0] - (HEIGHT - BOTTOM)) if labels else 0
    for y, x, name, style in labels:
        body.append(text(WIDTH - RIGHT + 8, y - over + 4, name, fill=COLOURS[style], font_weight=600))
    return document(title, body)


def points(title, x_label, y_label, groups, steps=()):
    """groups: [(name, style, [(x, y)])]; steps: [(x from, x to, y, style)], means drawn as bars."""
    axes = Axes([x for _, _, p in groups for x, _ in p], [y for _, _, p in groups for _, y in p])
    body = axes.frame(title, x_label, y_label)
    for row, (name, style, some) in enumerate(groups):
        body += [
            tag("circle", cx=f"{axes.x(x):.1f}", cy=f"{axes.y(y):.1f}", r=2.6, fill=COLOURS[style], fill_opacity=0.55)
            for x, y in some
        ]
        body.append(text(WIDTH - RIGHT + 8, TOP + 14 + 16 * row, name, fill=COLOURS[style], font_weight=600))
    for low, high, y, style in steps:
        body.append(
            tag("line", x1=f"{axes.x(low):.1f}", x2=f"{axes.x(high):.1f}", y1=f"{axes.y(y):.1f}", y2=f"{axes.y(y):.1f}",
                stroke=COLOURS[style], stroke_width=3)
        )
    return document(title, body)


def triangle(title, layers, values, words):
    """values: {(reader, owner): 0 to 1}, drawn as the darkness of squares."""
    cell, left, top = 15, 60, 34
    body = [text(left, 20, title, font_weight=600, font_size=13)]
    for (reader, owner), value in values.items():
        body.append(
            tag("rect", x=left + owner * cell, y=top + reader * cell, width=cell - 1, height=cell - 1, fill="#0b4f9e",
                fill_opacity=f"{0.04 + 0.96 * value:.2f}")
        )
    for layer in range(0, layers, 4):
        body.append(text(left - 6, top + layer * cell + 12, str(layer), text_anchor="end", fill=PALE))
        body.append(text(left + layer * cell + 7, top + layers * cell + 14, str(layer), text_anchor="middle", fill=PALE))
    body.append(text(left + layers * cell / 2, top + layers * cell + 32, "owner", text_anchor="middle", fill=PALE))
    middle = top + layers * cell / 2
    body.append(text(18, middle, "reader", text_anchor="middle", fill=PALE, transform=f"rotate(-90 18 {middle:.1f})"))
    body += [text(left + layers * cell * 0.45, top + 16 + 16 * i, w, fill=PALE) for i, w in enumerate(words)]
    return document(title, body, left + layers * cell + 90, top + layers * cell + 44)
