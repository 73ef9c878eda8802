"""Pages as tests see them."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """Text, attributes and tables of a page; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.open, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
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
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, tag, css=""):
        return [a for t, a in self.tags if t == tag and (not css or css in (a.get("class") or "").split())]
