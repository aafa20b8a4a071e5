#!/usr/bin/env python3
"""Turns a header's plain comments into Doxygen comments, line by line: line numbers do not change.

  the file's first comment            describes the file
  /* ... */ on lines of its own       documents the declaration below
  code; /* ... */                     documents the code on its line
  indented lines in a comment         a picture, shown verbatim
  a declaration without a comment,
  below another one                   shares the comment of that one
"""

import re
import sys

SPECIAL = re.compile(r"[\\@&$#<>%]")
INDENTED = re.compile(r" \*\s{3,}\S")
FUNCTION = re.compile(r"\b(jd_\w+)\(")


def escape(text):
    text = SPECIAL.sub(lambda match: "\\" + match[0], text)
    return re.sub(r"^( \* \d+)\.", r"\1\\.", text)  # a number, but no item of a Markdown list


def mark_pictures(lines):
    """Makes indented lines, and empty lines between them, verbatim, from the empty line in front of them on."""
    result, inside = [], False
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else ""
        empty = line.strip() == "*"
        if not inside and empty and INDENTED.match(following):
            result.append(" * @verbatim")
            inside = True
        elif inside and empty and not INDENTED.match(following):
            result.append("   @endverbatim")
            inside = False
        elif inside and line.strip() == "*/":
            result.append("   @endverbatim */")
            inside = False
        else:
            result.append(line.replace(" *", "  ", 1) if inside else escape(line))
    return result


def convert_comment(lines, opening):
    lines = mark_pictures(lines)
    lines[0] = lines[0].replace("/*", opening, 1)
    return lines


def convert(name, lines):
    result, i, shared = [], 0, None
    while i < len(lines):
        line = lines[i]
        begin = line.find("/*")
        if begin < 0:
            documented = bool(result) and result[-1].rstrip().endswith("*/")
            if line.startswith("JD_API"):
                function = FUNCTION.search(line)[1]
                if documented:
                    shared = function
                elif shared:
                    line = f"/** @copydoc {shared} */ {line}"
            elif not line.startswith(" "):
                shared = None
            result.append(line)
            i += 1
            continue
        end = i
        while "*/" not in lines[end]:
            end += 1
        comment, code = [line[begin:], *lines[i + 1:end + 1]], line[:begin]
        opening = "/**<" if code.strip() else f"/** @file {name} @brief" if i == 0 else "/**"
        comment = convert_comment(comment, opening)
        comment[0] = code + comment[0]
        result += comment
        i = end + 1
    return result


def main():
    path = sys.argv[1]
    with open(path, encoding="utf-8") as header:
        lines = header.read().splitlines()
    print("\n".join(convert(path.rsplit("/", 1)[-1], lines)))


if __name__ == "__main__":
    main()
