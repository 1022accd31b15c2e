"""Reads the page that `xzfsctl report` writes, and checks what must hold for any such page."""

import base64
import hashlib
import html.parser
import re

# The elements that the page is made of; any other element comes from a file's name.
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "b", "span",
        "svg", "g", "rect", "text", "line", "circle", "path", "table", "thead", "tbody", "tr", "th",
        "td", "code", "details", "summary", "script"}
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "class", "id", "title", "role",
              "aria-label", "viewbox", "x", "y", "width", "height", "x1", "x2", "y1", "y2", "cx",
              "cy", "r", "d", "text-anchor", "colspan", "data-title", "data-label"}
# The drawings of the page, and the size of each treemap.
SCREENS = {"wide": (900, 500), "medium": (560, 480), "narrow": (328, 440)}
VOID = {"meta"}


class Page(html.parser.HTMLParser):
    """`tables`: {id: rows of cells}; `commands`: [(name in the row above or "", command)];
    `maps`: {screen: rects of the treemap}; `scripts`; `text`: the visible text."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.content = content
        self.tables, self.commands, self.maps = {}, [], {}
        self.scripts, self.text, self.metas = [], "", []
        self._rects = []
        self._open, self._rows, self._is_command = [], None, False
        self.feed(content)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, f"a stranger: <{tag}>"
        strangers = {name for name, _ in attrs} - ATTRIBUTES
        assert not strangers, f"<{tag}> has {strangers}"
        values = dict(attrs)
        if tag == "meta":
            self.metas.append(values)
        if tag == "table":
            self._rows = self.tables.setdefault(values.get("id", f"table{len(self.tables)}"), [])
        elif tag == "tr" and values.get("class") == "how":
            self._is_command = True
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th") and not self._is_command:
            self._rows[-1].append("")
        elif tag == "div" and values.get("class") == "cmd":
            self.commands.append((self._rows[-1][0] if self._is_command else "", ""))
        elif tag == "svg" and values.get("class", "").startswith("map "):
            self._rects = self.maps[values["class"].split()[1]] = []
        elif tag == "script":
            self.scripts.append("")
        elif tag == "rect" and self._open[-1] == "g":
            self._rects.append({"class": values["class"], "title": "",
                                **{key: float(values[key]) for key in
                                   ("x", "y", "width", "height")}})
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> within {self._open}"
        self._open.pop()
        if tag == "tr":
            self._is_command = False

    def handle_data(self, data):
        if "script" in self._open:
            self.scripts[-1] += data
        elif "style" in self._open:
            assert "url(" not in data and "@import" not in data
        elif self._open[-1:] == ["title"] and "rect" in self._open:
            self._rects[-1]["title"] += data
        elif self._open[-1:] == ["code"] and self._open[-2] == "div":
            name, command = self.commands[-1]
            self.commands[-1] = (name, command + data)
        else:
            cell = self._open[-2 if self._open[-1:] == ["span"] else -1:]
            if cell and cell[0] in ("td", "th"):
                self._rows[-1][-1] += data
            self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data!r}")


def judge(content):
    """The page. Fails if it isn't self-contained: it fetches nothing, and only xzfs's scripts run."""
    page = Page(content)
    policy = next(meta["content"] for meta in page.metas
                  if meta.get("http-equiv") == "Content-Security-Policy")
    script, = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == ("default-src 'none'; base-uri 'none'; form-action 'none'; "
                      f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"), (policy, digest)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", content), "control characters"
    return page


def area(rect):
    return rect["width"] * rect["height"]


def contains(outer, inner, slack=0.01):
    return (inner["x"] >= outer["x"] - slack and inner["y"] >= outer["y"] - slack
            and inner["x"] + inner["width"] <= outer["x"] + outer["width"] + slack
            and inner["y"] + inner["height"] <= outer["y"] + outer["height"] + slack)


def overlap(a, b):
    across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
    down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
    return max(0, across) * max(0, down)


def judge_treemap(page, most=500):
    """For each screen: cells lie within the drawing, and leaves don't overlap. The leaves of the
    wide one."""
    assert set(page.maps) == set(SCREENS), set(page.maps)
    for screen, rects in page.maps.items():
        assert 0 < len(rects) <= most
        whole = rects[0]
        assert (whole["x"], whole["y"], whole["width"], whole["height"]) == (0, 0, *SCREENS[screen])
        leaves = leaves_of(rects)
        for rect in rects:
            assert contains(whole, rect), rect
        for at, rect in enumerate(leaves):
            for other in leaves[at + 1:]:
                assert overlap(rect, other) < 0.5, (rect, other)
    return leaves_of(page.maps["wide"])


def leaves_of(rects):
    return [rect for rect in rects if rect["class"] != "frame"]
