"""Our Markdown pages as HTML that loads nothing: formulas drawn, images inlined."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from html import escape, unescape
from pathlib import Path

import markdown  # type: ignore[import-untyped]
from PIL import Image

from reports.page.mathml import mathml

# Code first: a dollar sign in it is one.
_FORMULA = re.compile(
    r"```.*?```|`[^`]*`|\$\$(?P<display>.+?)\$\$|\$(?P<inline>[^$]+)\$", re.DOTALL
)
_PLACE = re.compile(r"xFORMULA(\d+)x")
_HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_LINK = re.compile(r'<a href="([^"]*)">(.*?)</a>', re.DOTALL)
_IMAGE = re.compile(r'<img alt="([^"]*)" src="([^"]*)"\s*/?>')
_LOWEST_HEADING = 6


def page_html(path: Path, anchors: Mapping[str, str], level: int) -> str:
    """A Markdown file as HTML.

    Args:
        path: the file; images are found relative to it.
        anchors: file name to the anchor of its section, from which those of its headings are made;
            links to anything else that is not a whole address lead nowhere from here, and become
            plain text.
        level: of the heading that a single # becomes.

    Raises:
        ValueError: a formula cannot be drawn, or an image is missing.
    """
    formulas: list[str] = []
    own = "/".join(path.parts[-2:])

    def keep(found: re.Match[str]) -> str:
        display = found["display"] is not None
        tex = found["display"] if display else found["inline"]
        if tex is None:
            return found[0]
        try:
            drawn = mathml(tex, display)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        formulas.append(f'<span class="formula">{drawn}</span>' if display else drawn)
        return f"xFORMULA{len(formulas) - 1}x"

    def link(found: re.Match[str]) -> str:
        target, text = found[1], found[2]
        if target.startswith(("http://", "https://")):
            return found[0]
        file, _, heading = target.partition("#")
        name = "/".join(Path(file).parts[-2:]) or own
        if name not in anchors:
            return text
        place = f"{anchors[name]}-{heading}" if heading else anchors[name]
        return f'<a href="#{place}">{text}</a>'

    def head(found: re.Match[str]) -> str:
        size = min(int(found[1]) + level - 1, _LOWEST_HEADING)
        place = f' id="{anchors[own]}-{slug(found[2])}"' if own in anchors else ""
        return f"<h{size}{place}>{found[2]}</h{size}>"

    text = _FORMULA.sub(keep, path.read_text(encoding="utf-8"))
    html = markdown.markdown(text, extensions=["tables", "fenced_code"])
    html = _HEADING.sub(head, html)
    html = _LINK.sub(link, html)
    html = _IMAGE.sub(lambda found: image_html(path.parent / found[2], found[1]), html)
    html = html.replace("<table>", '<div class="scroll"><table>')
    html = html.replace("</table>", "</table></div>")
    return _PLACE.sub(lambda found: formulas[int(found[1])], html)


def slug(heading: str) -> str:
    """What GitHub calls a heading, HTML, in links: words in lower case, hyphens for spaces."""
    words = unescape(_TAG.sub("", heading)).lower()
    return re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")


def image_html(path: Path, caption: str) -> str:
    """A PNG inside the page as WebP, with its size so that nothing moves while it is decoded.

    Args:
        path: the image.
        caption: read out where it cannot be seen; HTML.

    Raises:
        ValueError: it is missing, damaged or no PNG.
    """
    if not path.exists():
        raise ValueError(f"{path} is missing: draw it with `make figures`")
    opaque = io.BytesIO()
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            width, height = picture.size
            # A quarter of the size, and to the eye the same picture.
            few = picture.convert("RGB").quantize(
                256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            )
            few.convert("RGB").save(opaque, "WEBP", lossless=True)
    except (OSError, SyntaxError) as error:  # the latter is what Pillow calls a broken PNG
        raise ValueError(f"{path} is no whole PNG: draw it again with `make figures`") from error
    source = base64.b64encode(opaque.getvalue()).decode()
    return (
        f'<span class="scroll picture"><img alt="{caption}" width="{width}" height="{height}" '
        f'src="data:image/webp;base64,{source}"></span>'
    )


def table_html(header: list[str], rows: list[list[str]]) -> str:
    """A table of plain text, escaped here; line breaks within a cell stay."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(cell).replace(chr(10), '<br>')}</td>" for cell in row)
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )
