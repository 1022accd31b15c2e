// What the report's page looks like.
#pragma once

#include <string_view>

namespace xzfs {

// Text has at least the contrast of 4.5 to what is behind it (WCAG AA), in light and in dark, and
// at least 11 px on a phone: scripts/check-report measures both. Where the names of
// report_charts.cc for screens change, the widths here do.
inline constexpr std::string_view kReportStyle = R"css(
:root { color-scheme: light dark; --bg: #fff; --fg: #1c2127; --dim: #5a6570; --line: #d5dae0;
  --tile: #f3f5f7; --frame: #e4e8ec; --frame-fg: #1c2127; --edge: #fff; --a: #0b62b8; --b: #b83c0a;
  --r0: #0f766e; --r1: #2a9d8f; --r2: #8ab17d; --r3: #e9c46a; --r4: #f4a261; --r5: #e76f51;
  --t0: #fff; --t1: #0b1f1d; --t2: #10210c; --t3: #2b2108; --t4: #33190a; --t5: #2f0d05; }
@media (prefers-color-scheme: dark) { :root { --bg: #14181c; --fg: #e6e9ec; --dim: #9aa5b1;
  --line: #333b44; --tile: #1d2329; --frame: #262d35; --frame-fg: #e6e9ec; --edge: #14181c;
  --a: #6cb6ff; --b: #ff9966;
  --r0: #115e59; --r1: #1b7469; --r2: #54734c; --r3: #84691f; --r4: #9c5b28; --r5: #a8432c;
  --t0: #fff; --t1: #fff; --t2: #fff; --t3: #fff; --t4: #fff; --t5: #fff; } }
body { margin: 0 auto; max-width: 1240px; padding: 24px 20px 60px; background: var(--bg);
  color: var(--fg); font: 15px/1.45 system-ui, sans-serif; -webkit-text-size-adjust: 100%; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere;
  white-space: pre-wrap; }
h1 span { color: var(--dim); font-weight: 400; }
h2 { font-size: 19px; margin: 36px 0 8px; }
h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 6px 0 12px; max-width: 75ch; }
.sub { color: var(--dim); }
#hover { min-height: 4.4em; max-width: none; white-space: pre-line; overflow-wrap: anywhere; }
.warn { color: var(--b); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; }
.tile { background: var(--tile); border-radius: 8px; padding: 10px 16px; }
.tile b { display: block; font-size: 20px; } .tile span { color: var(--dim); font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-top: 1px solid var(--line);
  vertical-align: baseline; }
th { color: var(--dim); font-weight: 600; border: 0; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th.n { white-space: normal; } td.n:last-child, th.n:last-child { padding-right: 0; }
.name { overflow-wrap: anywhere; white-space: pre-wrap; }
.how td { border: 0; padding: 0 0 8px; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.cmd { display: flex; gap: 8px; align-items: flex-start; background: var(--tile);
  border-radius: 6px; padding: 5px 6px 5px 10px; }
.cmd code { flex: 1; white-space: pre-wrap; user-select: all; -webkit-user-select: all; }
button { font: 12px system-ui, sans-serif; color: var(--fg); background: var(--bg);
  border: 1px solid var(--line); border-radius: 5px; padding: 2px 8px; cursor: pointer; }
.out { margin: 0 0 8px; } [hidden] { display: none; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--fg); pointer-events: none; }
.map { background: var(--frame); border-radius: 6px; overflow: hidden; }
.map rect { stroke: var(--edge); stroke-width: 1; vector-effect: non-scaling-stroke; }
.map rect { cursor: zoom-in; }
.frame { fill: var(--frame); } .map text { fill: var(--frame-fg); }
.r0 { fill: var(--r0); } .r1 { fill: var(--r1); } .r2 { fill: var(--r2); }
.r3 { fill: var(--r3); } .r4 { fill: var(--r4); } .r5 { fill: var(--r5); }
.map text.t0 { fill: var(--t0); } .map text.t1 { fill: var(--t1); }
.map text.t2 { fill: var(--t2); } .map text.t3 { fill: var(--t3); }
.map text.t4 { fill: var(--t4); } .map text.t5 { fill: var(--t5); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 0; font-size: 13px;
  color: var(--dim); }
.legend svg { display: inline-block; width: 14px; height: 14px; vertical-align: -2px; }
.axis { stroke: var(--line); } .chart text { fill: var(--dim); }
.la, .lb { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.la { stroke: var(--a); } .lb { stroke: var(--b); }
.chart .na { fill: var(--a); font-weight: 600; } .chart .nb { fill: var(--b); font-weight: 600; }
summary { cursor: pointer; margin: 10px 0; }
.narrow, .medium { display: none; }
@media (min-width: 720px) { .medium text { font-size: 10px; } }
@media (min-width: 1140px) { .wide text { font-size: 10px; } }
@media (max-width: 939px) { .wide, .narrow { display: none; } .medium { display: block; } }
@media (max-width: 599px) { .wide, .medium { display: none; } .narrow { display: block; }
  body { padding: 16px 16px 40px; } h1 { font-size: 20px; } h2 { margin-top: 28px; }
  .tile { padding: 8px 12px; } .tile b { font-size: 17px; }
  thead { display: none; } table, tbody, td { display: block; }
  tr { display: flex; flex-wrap: wrap; gap: 0 14px; padding: 6px 0;
    border-top: 1px solid var(--line); }
  td { border: 0; padding: 0; } .name, .how td { flex-basis: 100%; }
  .n { text-align: left; white-space: normal; } .n::before { content: attr(data-title) " ";
    color: var(--dim); } tr.how { border: 0; padding: 0 0 8px; } .how td { padding: 0; } }
@media print { .out, button { display: none; } }
)css";

}  // namespace xzfs
