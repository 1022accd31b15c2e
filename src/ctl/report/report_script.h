// What the report's page does where scripts run.
#pragma once

#include <string_view>

namespace xzfs {

// The browser runs only the script with this hash: base64 of the SHA-256 of kReportScript.
inline constexpr std::string_view kReportScriptHash =
    "sha256-FtTgbg99Z0C6TBo1LT6C9880igNYl7O9B/uqFDmt3EA=";

// A click on the treemap enlarges the directory that is clicked on, a level at a time; Escape and a
// button go back. Labels are written again, so that they stay legible and fill the room that there
// is. Each command gets a button that copies it.
inline constexpr std::string_view kReportScript = R"js(
(function () {
  var note = document.getElementById("hover"), rest = note && note.textContent;
  function boxOf(rect) {
    return ["x", "y", "width", "height"].map(function (name) { return +rect.getAttribute(name); });
  }
  function holds(outer, inner) {
    return inner[0] > outer[0] && inner[1] > outer[1] &&
      inner[0] + inner[2] < outer[0] + outer[2] && inner[1] + inner[3] < outer[1] + outer[3];
  }
  document.querySelectorAll(".map").forEach(function (svg) {
    var map = svg.firstChild, cells = [].map.call(map.querySelectorAll("rect"), function (rect) {
      var lines = rect.textContent.split("\n"), path = lines[0];
      return { rect: rect, box: boxOf(rect), frame: rect.classList.contains("frame"),
               text: lines.join("\n"), label: rect.getAttribute("data-label") ||
                 path.slice(path.lastIndexOf("/") + 1) };
    });
    var whole = [0, 0, svg.viewBox.baseVal.width, svg.viewBox.baseVal.height], trail = [whole];
    var out = document.createElement("button");
    out.className = "out"; out.textContent = "Zoom out";
    svg.parentNode.insertBefore(out, svg);
    function draw() {
      var box = trail[trail.length - 1];
      var k = Math.min(whole[2] / box[2], whole[3] / box[3]), wide = whole[2] / k;
      var high = whole[3] / k, pixels = svg.clientWidth / wide;
      svg.setAttribute("viewBox", [
        Math.max(0, Math.min(box[0] + (box[2] - wide) / 2, whole[2] - wide)),
        Math.max(0, Math.min(box[1] + (box[3] - high) / 2, whole[3] - high)), wide, high].join(" "));
      out.hidden = trail.length < 2 || !pixels;
      map.querySelectorAll("text").forEach(function (text) { text.remove(); });
      cells.forEach(function (cell) {
        var letters = Math.floor((cell.box[2] * pixels - 8) / 6.5), name = cell.label;
        if (!pixels || letters < 3 || cell.box[3] * pixels < 16) return;
        var text = document.createElementNS(svg.namespaceURI, "text");
        if (!cell.frame) text.setAttribute("class", "t" + cell.rect.getAttribute("class")[1]);
        text.setAttribute("x", cell.box[0] + 4 / pixels);
        text.setAttribute("y", cell.box[1] + 12 / pixels);
        text.style.fontSize = 12 / pixels + "px";
        text.textContent = [...name].length > letters ?
          [...name].slice(0, letters - 1).join("") + "\u2026" : name;
        map.appendChild(text);
      });
    }
    function back() { if (trail.length > 1) trail.pop(); draw(); }
    cells.forEach(function (cell) {
      cell.rect.addEventListener("mouseover", function () { note.textContent = cell.text; });
      cell.rect.addEventListener("mouseout", function () { note.textContent = rest; });
      cell.rect.addEventListener("click", function () {
        var now = trail[trail.length - 1];
        var next = cells.find(function (other) {  // frames come before what is in them
          return other.frame && holds(now, other.box) &&
            (other === cell || holds(other.box, cell.box));
        });
        note.textContent = cell.text;
        if (next) trail.push(next.box);
        draw();
      });
    });
    out.addEventListener("click", back);
    addEventListener("keydown", function (event) { if (event.key === "Escape") back(); });
    addEventListener("resize", draw);
    draw();
  });
  document.querySelectorAll(".cmd").forEach(function (line) {
    var copy = document.createElement("button"), code = line.querySelector("code");
    copy.textContent = "Copy";
    copy.addEventListener("click", function () {
      getSelection().selectAllChildren(code);
      if (document.execCommand("copy")) copy.textContent = "Copied";
    });
    line.appendChild(copy);
  });
  document.documentElement.setAttribute("data-scripted", "yes");
})();
)js";

}  // namespace xzfs
