"""A chart of horizontal bars as SVG, without a library."""

from xml.sax.saxutils import escape

ROW, LABEL, WIDTH, VALUE = 26, 110, 520, 130  # pixels
HIGHLIGHT, PLAIN = "#b5531c", "#7d8a99"


def chart(title, note, panels, highlight):
    """`panels` is a list of (heading, unit, {label: value}); bars start at 0 within each panel."""
    out, y = [], 34
    out.append(f'<text x="16" y="{y}" font-size="18" font-weight="bold">{escape(title)}</text>')
    y += 20
    out.append(f'<text x="16" y="{y}" fill="#555">{escape(note)}</text>')
    for heading, unit, values in panels:
        y += 38
        out.append(f'<text x="16" y="{y}" font-size="14" font-weight="bold">{escape(heading)}</text>')
        y += 10
        top = max(values.values(), default=0) or 1
        for label, value in values.items():
            length = max(1.0, WIDTH * value / top)
            color = HIGHLIGHT if label == highlight else PLAIN
            out.append(f'<text x="{LABEL - 8}" y="{y + 16}" text-anchor="end">{escape(label)}</text>')
            out.append(f'<rect x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="{ROW - 8}" fill="{color}"/>')
            out.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 16}">{shown(value)} {escape(unit)}</text>')
            y += ROW
    width, height = LABEL + WIDTH + VALUE, y + 16
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#222">\n'
            f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(out) + "\n</svg>\n")


def shown(value):
    """Three digits that count: 12,345 or 12.3 or 0.123."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
