#!/usr/bin/env python3
"""Writes long public-domain documents, one text file a book, from what `scripts/setup.sh --text` installs.

    scripts/gather_text.py FOLDER

King James Bible and World English Bible (a file a book), C. H. Spurgeon's Treasury of David (a file a psalm) and
Matthew Henry's Concise Commentary (a file a book): about 25 MB. Verse references and markup are taken out.
"""

import collections
import pathlib
import re
import subprocess
import sys

VERSE = re.compile(r"^ *((?:I{1,3} |[1-3])?[A-Z][A-Za-z]*(?: of [A-Z][a-z]+)?) ?(\d+):\d+:? ?")
# A note taken out of the text leaves the names before it stuck to the next word.
GLUED = re.compile(r"\b(Yahweh|Lord|God)(?=[a-z])(?!(?:ly|less|head|ship|dess|s)\b)")
SECTION = re.compile(r"\*\s*Verses?\s+[\d ,;-]+\*")


def run(*command):
    try:
        text = subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8", "replace")
        return text.split("\n")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"gather_text: {' '.join(command)}: {error}. Run scripts/setup.sh --text first.")


def diatheke(module, key):
    listed = [line.split(" :")[0] for line in run("diatheke", "-b", "system", "-k", "modulelist")]
    names = [name for name in listed if module in name]
    if not names:
        sys.exit(f"gather_text: the text {module} is not installed. Run scripts/setup.sh --text first.")
    return [line for line in run("diatheke", "-b", names[0], "-f", "plain", "-k", key) if line != f"({names[0]})"]


def plain(line):
    return " ".join(GLUED.sub(r"\1 ", line.replace("*", " ")).split())


def by_place(lines):
    """Yields (book, chapter, line without its reference); a line without one continues the verse before it."""
    book, chapter = None, None
    for line in lines:
        if reference := VERSE.match(line):
            book, chapter = reference[1], int(reference[2])
            line = line[reference.end():]
        if book:
            yield book, chapter, line


def verses(lines):
    """Books of verses: a line each, chapters apart."""
    books, last = {}, None
    for book, chapter, line in by_place(lines):
        text = plain(line)
        if not text or text == book:
            continue
        document = books.setdefault(book, [])
        if last not in (None, (book, chapter)) and document:
            document.append("")
        document.append(text)
        last = (book, chapter)
    return {book: without_running_title(lines) for book, lines in books.items()}


def without_running_title(lines):
    """Leaves out a line that comes with every verse, which happens where a module's headings are not closed."""
    counts = collections.Counter(line for line in lines if line)
    return [line for line in lines if counts[line] * 10 < len(lines) or len(lines) < 20]


def psalms(lines):
    documents = {}
    for _, chapter, line in by_place(lines):
        if text := plain(line):
            documents.setdefault(f"Psalm-{chapter:03}", []).append(text)
    return documents


def commentary(lines):
    """The module gives a chapter's remaining sections at each of its verses: every section is taken once."""
    books, seen = {}, set()
    for book, _, line in by_place(lines):
        for section in SECTION.split(line):
            text = plain(section)
            if len(text) > 40 and text not in seen:
                seen.add(text)
                books.setdefault(book, []).extend([text, ""])
    return books


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources = {
        "kjv": lambda: verses(run("bible", "-f", "gen1:1-rev22:21")),
        "web": lambda: verses(diatheke("WEB", "Gen-Rev")),
        "treasury": lambda: psalms(diatheke("TDavid", "Ps 1:1-150:6")),
        "henry": lambda: commentary(diatheke("MHCC", "Gen-Rev")),
    }
    for name, documents_of in sources.items():
        print(f"gather_text: reading {name}", flush=True)
        documents = documents_of()
        size = 0
        for place, (title, lines) in enumerate(documents.items(), start=1):
            text = "\n".join(lines).strip() + "\n"
            size += len(text.encode())
            (folder / f"{name}-{place:03}-{title.replace(' ', '-')}.txt").write_text(text, encoding="utf-8")
        print(f"gather_text: {name}: {len(documents)} documents, {size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
