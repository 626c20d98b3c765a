"""Markup: HTML in which every text is escaped, unless it is HTML already."""

from html import escape


class Html(str):
    """A piece of HTML."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Html:
    """An element; empty children are left out.

    Args:
        tag: Its name.
        *children: HTML, and texts, which are escaped.
        **attributes: Its attributes; ``class_`` stands for ``class``.

    >>> element("b", "1 < 2", class_="x")
    '<b class="x">1 &lt; 2</b>'
    """
    given = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items() if value)
    return Html(f"<{tag}{given}>{joined(*children)}</{tag}>")


def joined(*children: str) -> Html:
    """Pieces side by side; texts are escaped."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))
