"""What can be read off a page in a browser: what sticks out, what is cut, what was fetched, what was complained about.

Owns the questions; must not know what a page ought to say.
"""

from dataclasses import dataclass, field

from playwright.sync_api import Page, Request, Response

# Elements that reach beyond the window, and texts whose box is too small for them.
MEASURE = """() => {
  const wide = [], cut = [], width = document.documentElement.clientWidth;
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('.unseen, noscript, script, style, svg') || !e.checkVisibility()) continue;
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const name = e.tagName.toLowerCase() + '#' + e.id + '.' + e.className + ' ' + e.textContent.trim().slice(0, 40);
    if (box.right > width + 0.5 || box.left < -0.5) wide.push(name);
    const style = getComputedStyle(e);
    const clips = style.overflowX !== 'visible' || style.textOverflow === 'ellipsis';
    if (clips && e.scrollWidth > e.clientWidth + 1) cut.push(name);
    if (style.display !== 'inline' && e.scrollWidth > e.clientWidth + 1 && e.clientWidth) cut.push(name);
  }
  return {wide, cut, sideways: document.documentElement.scrollWidth - width};
}"""


# Words of people, not of machines, that stand on two lines. A word of one letter cannot.
BROKEN = """() => [...document.querySelectorAll('dt, th, h1, h2, h3, label, summary, button, .button, .tag, .label')].flatMap(each => {
  const found = [], walker = document.createTreeWalker(each, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    if (node.parentElement.closest('.mono, .unseen') || !node.parentElement.checkVisibility()) continue;
    for (const word of node.data.matchAll(/\\p{L}{2,}/gu)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(rect => Math.round(rect.y))).size > 1) found.push('broken: ' + word[0]);
    }
  }
  return found;
})"""


@dataclass
class Watch:
    """Everything that a page fetched and said since the watch began."""

    requests: list[Request] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.requests.clear()
        self.responses.clear()
        self.complaints.clear()

    def add_failure(self, request: Request) -> None:
        """Chromium calls a 304 a failure too, though it was answered."""
        if request.url not in {response.url for response in self.responses}:
            self.complaints.append(f"failed: {request.url}")

    def kinds(self) -> list[str]:
        """What was fetched, in order: document, script, fetch …"""
        return [request.resource_type for request in self.requests if not request.url.startswith("data:")]

    def foreign(self, base: str) -> list[str]:
        return [r.url for r in self.requests if not r.url.startswith((base + "/", "data:"))]

    def bytes(self) -> int:
        """Everything that came over the wire, without headers."""
        return sum(int(r.headers.get("content-length", 0)) for r in self.responses)


def watch(page: Page) -> Watch:
    """Begins to watch `page`."""
    seen = Watch()
    page.on("request", lambda request: seen.requests.append(request))
    page.on("response", lambda response: seen.responses.append(response))
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("requestfailed", lambda request: seen.add_failure(request))
    return seen


def overflow(page: Page) -> list[str]:
    """What sticks out, is cut or broken in two; empty on a good page."""
    found = page.evaluate(MEASURE)
    broken = page.evaluate(BROKEN)
    return [*found["wide"], *found["cut"], *broken, *(["the page scrolls sideways"] if found["sideways"] > 0 else [])]


def words(page: Page) -> str:
    """What is visible, as a person reads it."""
    return " ".join(page.inner_text("body").replace("\u00a0", " ").split())
