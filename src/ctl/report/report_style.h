// What the report's page looks like, and what it does where scripts run.
#pragma once

#include <string_view>

namespace xzfs {

inline constexpr std::string_view kReportStyle = R"css(
:root { color-scheme: light dark; --bg: #fff; --fg: #1c2127; --dim: #5f6b76; --line: #d5dae0;
  --tile: #f3f5f7; --frame: #e4e8ec; --frame-fg: #1c2127; --edge: #fff; --a: #0b6bcb; --b: #c2410c;
  --r0: #0f766e; --r1: #2a9d8f; --r2: #8ab17d; --r3: #e9c46a; --r4: #f4a261; --r5: #e76f51;
  --t0: #fff; --t1: #0b1f1d; --t2: #10210c; --t3: #2b2108; --t4: #33190a; --t5: #2f0d05; }
@media (prefers-color-scheme: dark) { :root { --bg: #14181c; --fg: #e6e9ec; --dim: #9aa5b1;
  --line: #333b44; --tile: #1d2329; --frame: #262d35; --frame-fg: #e6e9ec; --edge: #14181c;
  --a: #6cb6ff; --b: #ff9966;
  --r0: #115e59; --r1: #1f7d72; --r2: #5d7d54; --r3: #9b7d2f; --r4: #a3612c; --r5: #a8432c;
  --t0: #fff; --t1: #fff; --t2: #fff; --t3: #fff; --t4: #fff; --t5: #fff; } }
body { margin: 0 auto; max-width: 1240px; padding: 24px 20px 60px; background: var(--bg);
  color: var(--fg); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 36px 0 8px; }
h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 6px 0 12px; max-width: 75ch; }
.sub { color: var(--dim); white-space: pre-line; }
#hover { min-height: 3em; max-width: none; }
.warn { color: var(--b); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; }
.tile { background: var(--tile); border-radius: 8px; padding: 10px 16px; }
.tile b { display: block; font-size: 20px; } .tile span { color: var(--dim); font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.name { overflow-wrap: anywhere; } code { font-size: 13px; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--fg); pointer-events: none; }
.map { background: var(--frame); border-radius: 6px; overflow: hidden; }
.map rect { stroke: var(--edge); stroke-width: 1; vector-effect: non-scaling-stroke; }
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
.la, .lb { fill: none; stroke-width: 1.8; } .la { stroke: var(--a); } .lb { stroke: var(--b); }
.pa { fill: var(--a); } .pb { fill: var(--b); }
)css";

// A click enlarges a rectangle, the wheel and dragging do what they do on maps, a double click goes
// back. D3 5 has the event in d3.event, later ones hand it over.
inline constexpr std::string_view kReportScript = R"js(
(function () {
  var svg = d3.select("#treemap"), map = svg.select("g"), hover = d3.select("#hover");
  var box = svg.node().viewBox.baseVal, rest = hover.text();
  var zoom = d3.zoom().scaleExtent([1, 60])
    .translateExtent([[0, 0], [box.width, box.height]])
    .on("zoom", function (e) { map.attr("transform", (d3.event || e).transform); });
  svg.call(zoom).on("dblclick.zoom", null).on("dblclick", function () {
    svg.transition().duration(400).call(zoom.transform, d3.zoomIdentity);
  });
  map.selectAll("rect").on("mouseover", function () {
    hover.text(this.querySelector("title").textContent);
  }).on("mouseout", function () { hover.text(rest); }).on("click", function () {
    var r = { x: +this.getAttribute("x"), y: +this.getAttribute("y"),
              w: +this.getAttribute("width"), h: +this.getAttribute("height") };
    var k = Math.min(60, 0.95 / Math.max(r.w / box.width, r.h / box.height));
    svg.transition().duration(400).call(zoom.transform, d3.zoomIdentity
      .translate(box.width / 2, box.height / 2).scale(Math.max(1, k))
      .translate(-r.x - r.w / 2, -r.y - r.h / 2));
  });
  document.documentElement.setAttribute("data-scripted", "yes");
})();
)js";

}  // namespace xzfs
