"""Reading submitd's text log: '2026-11-21T22:06:22.123Z info message id=ab12 reason="two words"'."""
import re
from dataclasses import dataclass

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (error|warning|info|debug) (\S+)(.*)")
FIELD = re.compile(r' ([a-z0-9_]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')


@dataclass(frozen=True)
class Event:
    level: str
    name: str
    fields: dict
    line: str

    def __getitem__(self, key):
        return self.fields[key]

    def get(self, key, default=None):
        return self.fields.get(key, default)


def parse_line(line):
    found = LINE.fullmatch(line)
    if not found:
        return None
    fields = {k: re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
              for k, quoted, plain in FIELD.findall(found[4])}
    return Event(found[2], found[3], fields, line)


def parse(text):
    return [e for e in map(parse_line, text.splitlines()) if e]
