"""Medians, ratios and verdicts of samples; the table; the charts."""

import html
import os
import statistics

from host import MIB

OK, BELOW, INFO = "ok", "below", ""


def median(samples, key="value"):
    return statistics.median(sample[key] for sample in samples)


def spread(samples, key="value"):
    values = [sample[key] for sample in samples]
    return f"{number(median(samples, key))} ({number(min(values))}-{number(max(values))})"


def number(value, digits=3):
    """At least three significant digits, and no exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.{digits}g}" if value >= 0.001 else f"{value:.6f}"


def ratio_text(ratio, target):
    """With as many digits as the target, so that a reader sees why it was missed."""
    return number(ratio, max(3, len(str(target).replace(".", ""))) if target else 3)


def judge(ours, reference, target, figure):
    """The ratio of the medians, and whether it reaches the target."""
    ratio = median(ours, figure.key) / median(reference, figure.key)
    if target is None:
        return ratio, INFO
    reached = ratio >= target if figure.more_is_better else ratio <= target
    return ratio, OK if reached else BELOW


def memory(samples):
    """The peak of the sample that is nearest to its bound, that bound, and the verdict."""
    known = [s for s in samples if "bound_bytes" in s]
    if not known:
        return None
    worst = max(known, key=lambda s: s["rss_bytes"] / s["bound_bytes"])
    return (worst["rss_bytes"], worst["bound_bytes"],
            OK if worst["rss_bytes"] <= worst["bound_bytes"] else BELOW)


def cpu(samples):
    """Processor seconds of the daemon, or of the reference's processes."""
    known = [sample["cpu_s"] for sample in samples or [] if "cpu_s" in sample]
    return statistics.median(known) if known else None


def evaluate(group, results):
    """The group's rows, to print and store. `results`: reader -> {"samples": [...]}, or
    {"missing": why} or {"failed": why}."""
    rows = []
    for row in group.rows:
        figure = group.figure(row)
        found = {"name": group.row_name(row), "title": row.title, "reference": row.reference,
                 "unit": figure.unit, "target": row.target,
                 "more_is_better": figure.more_is_better}
        pair = [results.get(row.ours), results.get(row.reference)]
        if None in pair:
            continue
        for result in pair:
            for why in ("failed", "missing"):
                if why in result:
                    found[why] = result[why]
        samples = [result.get("samples") for result in pair]
        found["cpu_s"] = [cpu(each) for each in samples]
        if samples[0]:
            found["ours"] = spread(samples[0], figure.key)
            if peak := memory(samples[0]):
                found["rss_bytes"], found["bound_bytes"], found["memory_verdict"] = peak
        if all(samples):
            found["theirs"] = spread(samples[1], figure.key)
            found["ratio"], found["verdict"] = judge(*samples, row.target, figure)
        rows.append(found)
    return rows


HEAD = ("case", "ours", "reference", "", "ratio", "target", "", "CPU s", "peak RSS", "bound MiB")


def table(rows):
    lines = [HEAD]
    for row in rows:
        sign = ">=" if row["more_is_better"] else "<="
        problem = row.get("failed") or row.get("missing")
        verdict = row.get("verdict", "failed" if "failed" in row else "not available")
        lines.append((
            row["title"], f"{row['ours']} {row['unit']}" if "ours" in row else "-",
            row["reference"], row.get("theirs", "-"),
            ratio_text(row["ratio"], row["target"]) if "ratio" in row else "-",
            f"{sign} {row['target']}" if row["target"] is not None else "",
            verdict if problem is None else f"{verdict}: {problem.splitlines()[0][:90]}",
            " / ".join(f"{seconds:.2f}" for seconds in row["cpu_s"] if seconds is not None),
            f"{row['rss_bytes'] / MIB:.0f}" if "rss_bytes" in row else "",
            f"{row['bound_bytes'] / MIB:.0f}" if "bound_bytes" in row else ""))
    # The reason for a missing figure may be long, and must not widen its column.
    return _columns(lines, [max(len(line[i]) for line in lines if i != 6 or ":" not in line[i])
                            for i in range(len(HEAD))])


def _columns(lines, widths):
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in lines)


def survey(name, figures, results):
    """A line for each reader, with the medians of its figures."""
    lines = [(name, *(figure["unit"] for figure in figures))]
    for reader, result in results.items():
        problem = result.get("failed") or result.get("missing")
        lines.append((reader, problem.splitlines()[0][:90]) if problem else
                     (reader, *(number(median(result["samples"], figure["key"]))
                                for figure in figures)))
    return _columns(lines, [max(len(line[0]) for line in lines),
                            *(len(heading) for heading in lines[0][1:])])


def text(groups):
    """The text about the groups: one table with verdicts, and the surveys."""
    parts = [survey(group["name"], group["survey"], group["readers"])
             for group in groups if group["survey"]]
    rows = [row for group in groups if not group["survey"] for row in group["rows"]]
    if rows:
        parts[:0] = [table(rows), memory_line(rows)]
    return "\n\n".join(parts)


def memory_line(rows):
    peaks = [row for row in rows if "memory_verdict" in row]
    if not peaks:
        return "memory: no figures"
    worst = max(peaks, key=lambda row: row["rss_bytes"] / row["bound_bytes"])
    return (f"memory: at most {worst['rss_bytes'] / MIB:.0f} MiB where "
            f"{worst['bound_bytes'] / MIB:.0f} MiB are allowed ({worst['name']}): "
            f"{worst['memory_verdict']}")


# Charts: horizontal bars, one per reader, drawn for light and dark pages.

CHARTS = {
    "seq-1m": ("sequential.svg", "A large tar read from start to end, nothing cached",
               "MB/s of plain data: more is better"),
    "random-4k-uncached": ("random.svg", "Random reads of 4 KiB, nothing cached, each in a MiB of its own",
                       "ms on average: less is better"),
    "tar-small-files": ("small-files.svg", "tar c of many small files, nothing cached",
                        "files/s: more is better"),
}
# These decode no xz: their bars are cut off where the longest of the others ends, so that those stay visible.
CEILINGS = ("plain", "passthrough", "btrfs-zstd-3")
CUT_NOTE = "Broken bars are longer than there is room for: these readers decode no xz."
FUSE_NOTE = ("FUSE reads a plain file with more requests at once, which the disk answers faster "
             "(docs/choices.md).")
LABELS = {
    "xzfs": "xzfs", "xz-T2": "xz -dc -T2 (no mount)", "xz-T1": "xz -dc -T1 (no mount)",
    "squashfs-128k": "squashfs, kernel, xz 128K", "squashfs-1m": "squashfs, kernel, xz 1M",
    "squashfuse_ll-128k": "squashfuse_ll, xz 128K", "squashfuse_ll-1m": "squashfuse_ll, xz 1M",
    "nbdfuse-xz": "nbdkit xz, nbdfuse", "nbdcopy-xz": "nbdkit xz, nbdcopy (no mount)",
    "erofs-lzma-1m": "erofs, kernel, LZMA 1M", "btrfs-zstd-3": "btrfs, zstd:3",
    "plain": "not compressed", "passthrough": "not compressed, through FUSE",
    "liblzma-block": "liblzma, that Block alone", "xzfs-verify=stream": "xzfs, verify=stream",
    "xargs-xz": "xargs -P2 xz -dc (no mount)",
}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .note, .value { fill: #59636e }
  .bar { fill: #b6c2cf } .ours { fill: #1a7f5a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note, .value { fill: #9198a1 }
    .bar { fill: #465564 } .ours { fill: #3fb68b }
  }
"""
WIDTH, LEFT, BAR_WIDTH, ROW_HEIGHT, TOP, BAR_HEIGHT, NOTE_HEIGHT = 760, 225, 400, 26, 62, 18, 20


def bar_shape(style, y, length, is_cut):
    """A bar, or one that is broken by a slanted gap near its end."""
    if not is_cut:
        return (f'<rect class="{style}" x="{LEFT}" y="{y}" rx="2" width="{length:.1f}" '
                f'height="{BAR_HEIGHT}"/>')
    gap, slant, rest = 6, 8, 40
    return (f'<path class="{style}" d="M{LEFT} {y}h{length - rest - gap + slant:.1f}'
            f'l{-slant} {BAR_HEIGHT}H{LEFT}z'
            f'M{LEFT + length - rest + slant:.1f} {y}H{LEFT + length:.1f}v{BAR_HEIGHT}'
            f'h{-rest}z"/>')


def svg(title, note, bars, footnotes=()):
    """`bars`: (label, value, text, is ours, is a ceiling) from top to bottom."""
    scale = max([bar[1] for bar in bars if not bar[4]] or [bar[1] for bar in bars])
    cut_notes = [CUT_NOTE] if any(bar[1] > scale for bar in bars) else []
    footnotes = [*cut_notes, *footnotes]
    bottom = TOP + ROW_HEIGHT * len(bars)
    height = bottom + 10 + NOTE_HEIGHT * len(footnotes)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'width="{WIDTH}" height="{height}" role="img" aria-label="{html.escape(title)}">',
             f"<style>{STYLE}</style>",
             f'<text class="title" x="8" y="24">{html.escape(title)}</text>',
             f'<text class="note" x="8" y="45">{html.escape(note)}</text>']
    for index, (label, value, text, ours, _) in enumerate(bars):
        y = TOP + ROW_HEIGHT * index
        length = max(1.0, BAR_WIDTH * min(1.0, value / scale))
        parts += [f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{html.escape(label)}</text>',
                  bar_shape("ours" if ours else "bar", y, length, value > scale),
                  f'<text class="value" x="{LEFT + length + 8:.1f}" y="{y + 14}">'
                  f'{html.escape(text)}</text>']
    parts += [f'<text class="note" x="8" y="{bottom + 14 + NOTE_HEIGHT * index}">'
              f'{html.escape(footnote)}</text>' for index, footnote in enumerate(footnotes)]
    return "\n".join(parts + ["</svg>", ""])


def footnotes_of(bars):
    """What a reader of these bars would ask."""
    order = [bar[0] for bar in bars if bar[0] in (LABELS["plain"], LABELS["passthrough"])]
    return [FUSE_NOTE] if order == [LABELS["passthrough"], LABELS["plain"]] else []


def bars_of(group):
    factor = 1e-3 if group["unit"] == "us" else 1
    unit = "ms" if group["unit"] == "us" else group["unit"]
    bars = []
    for name, result in group["readers"].items():
        if result.get("samples") and name in LABELS:
            value = median(result["samples"]) * factor
            bars.append((LABELS[name], value, f"{number(value)} {unit}", name.startswith("xzfs"),
                         name in CEILINGS))
    return sorted(bars, key=lambda bar: bar[1], reverse=group["more_is_better"])


def plot(stored, folder):
    """Draws the charts of a JSON file's content; returns their paths."""
    os.makedirs(folder, exist_ok=True)
    machine = stored["machine"]
    written = []
    for group in stored["groups"]:
        if group["name"] not in CHARTS or not bars_of(group):
            continue
        name, title, note = CHARTS[group["name"]]
        note += f". {machine['cores']} cores, {machine['cpu']}, {stored['date'][:10]}"
        if stored["quick"]:
            note += " (quick run, not comparable)"
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as out:
            bars = bars_of(group)
            out.write(svg(title, note, bars, footnotes_of(bars)))
        written.append(path)
    return written
