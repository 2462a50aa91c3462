"""HTML from the templates that lie beside this file, and what pages hold inside: pictures, packed tables."""

import base64
import gzip
import io
import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from analysis.findings.evidence import signed

TEMPLATES = Path(__file__).parent


def render(template: str, **given: object) -> str:
    """A page from a template, its text escaped. given: by name; raises UndefinedError for one it lacks."""
    return environment().get_template(template).render(**given)


def environment() -> jinja2.Environment:
    """Templates of this folder, with the filters that they use."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"marked": marked, "signed": signed, "number": number, "base64": in_base64}
    return found


def marked(text: str) -> Markup:
    """**Bold** and `code` as HTML, all else escaped.

    >>> marked("**a** < `b`")
    Markup('<b>a</b> &lt; <code>b</code>')
    """
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", text))


def number(value: float) -> str:
    """Whole above 100, with one decimal below where it has any.

    >>> [number(each) for each in (12345.6, 2.0, 0.43)]
    ['12,346', '2', '0.4']
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0")


def in_base64(content: bytes) -> str:
    """Bytes as text that a page can hold."""
    return base64.b64encode(content).decode()


def packed(content: bytes) -> str:
    """The same of their gzip, which browsers unpack (page.js); the same bytes give the same text."""
    return in_base64(gzip.compress(content, compresslevel=9, mtime=0))


def as_webp(path: Path) -> tuple[str, int, int]:
    """(picture, width, height) of a PNG: the same pixels as WebP in base64, half as large."""
    found = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(found, "webp", lossless=True, quality=20, method=2)
        return in_base64(found.getvalue()), *image.size
