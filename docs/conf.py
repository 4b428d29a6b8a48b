"""How `make docs` builds the pages: Sphinx reads the same Markdown that is read on GitHub, and adds nothing to it but
the navigation, which follows the list of pages in the index."""

from __future__ import annotations

import re
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

project = "secguard"
author = "The secguard authors"
(version,) = re.findall(r'__version__ = "(.+)"', (ROOT / "secguard" / "__init__.py").read_text(encoding="utf-8"))
release = version

extensions = ["myst_parser"]
exclude_patterns = ["examples"]
nitpicky = True

# GitHub's anchors: each heading's text in lower case, with hyphens.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"secguard {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_show_copyright = False

#: Pages whose text is a file of the repository's root: there is where GitHub and packagers look for it.
MIRRORED = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md", "security": "SECURITY.md"}
#: Where a link to a file of the root leads.
PAGES = {"README.md": "index.md", **{file: f"{name}.md" for name, file in MIRRORED.items()}}


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """The text of a page, as Sphinx shall see it."""
    text = source[0]
    if docname in MIRRORED:
        path = ROOT / MIRRORED[docname]
        app.env.note_dependency(str(path))
        text = path.read_text(encoding="utf-8").replace("](docs/", "](")
    for file, page in PAGES.items():
        text = re.sub(rf"\]\((?:\.\./)?{re.escape(file)}\b", f"]({page}", text)
    if docname == app.config.root_doc:
        text += navigation(text, app.env.found_docs - {docname})
    source[0] = text


def navigation(index: str, pages: set[str]) -> str:
    """The trees of the sidebar: one for each heading below "Pages", and one for pages that are not listed yet."""
    listed = index.partition("\n## Pages\n")[2]
    trees = []
    for group in re.split(r"^### ", listed, flags=re.MULTILINE)[1:]:
        names = [
            name for name in re.findall(r"^- \[[^\]]+\]\(([\w-]+)\.md\)", group, flags=re.MULTILINE) if name in pages
        ]
        trees.append((group.partition("\n")[0].strip(), names))
        pages = pages - set(names)
    trees.append(("Further", sorted(pages)))
    return "".join(tree(caption, names) for caption, names in trees if names)


def tree(caption: str, names: list[str]) -> str:
    return "\n\n".join(["\n```{toctree}\n:hidden:\n:caption: " + caption, "\n".join(names) + "\n```\n"])


def setup(app: Sphinx) -> None:
    app.connect("source-read", read)
    # Pygments has no lexers for the languages of HAProxy and Redis.
    app.add_lexer("haproxy", TextLexer)
    app.add_lexer("redis", TextLexer)
