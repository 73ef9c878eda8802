"""Pages as tests see them."""

import re
from html.parser import HTMLParser

import html5lib

VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """Text, attributes and tables of a page.

    It refuses what is no HTML by the rules of the standard, tags that do not close in order, two landmarks of
    one name, and buttons whose name lacks the word that they show.
    """

    def __init__(self, text):
        super().__init__()
        # Without pictures, which it reads letter by letter.
        html5lib.HTMLParser(strict=True).parse(re.sub(r"(?<=base64,)[A-Za-z0-9+/=]+", "", text))
        self.attributes, self.open, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        names = [name for tag, attrs in self.tags if (name := _landmark(tag, attrs))]
        assert len(names) == len(set(names)), names
        self.text = re.sub(r"[ \n]+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, k, v or "") for k, v in attrs]
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, k, v or "") for k, v in attrs]
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "button":
            name = self.tags[-1][1].get("aria-label", data)
            assert not data.strip().isalpha() or data.strip().casefold() in name.casefold(), name
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, tag, css=""):
        return [a for t, a in self.tags if t == tag and (not css or css in (a.get("class") or "").split())]


def _landmark(tag, attrs):
    """Return the name of a landmark, or the id of the element that names it; None for other elements."""
    if tag in {"section", "aside", "nav"} or attrs.get("role") == "region":
        return attrs.get("aria-label") or attrs.get("aria-labelledby")
    return None
