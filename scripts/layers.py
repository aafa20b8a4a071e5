#!/usr/bin/env python3
"""Checks includes and symbols against the table "Who may use whom" in docs/architecture.md.

Five checks in each layer of the table:
  - #include "…": the header is in the includer's layer, or the includer's row names the header's layer;
  - #include <…>: only C11 headers, <jinduo/…>, and the headers that the row's last cell adds; likewise, with a build
    directory, functions of the system: those of C11, those that the last cell adds, and those behind base/platform/;
  - with a build directory: each symbol that one object needs and another defines. An internal symbol belongs to the layer of
    the header that declares it, a public symbol to the layer of the object that defines it;
  - with a build directory: a layer defines the symbols that its headers declare, or its row names the layers that define them.
    Otherwise a layer could call a higher layer by declaring the function itself;
  - macros that name an operating system, such as _WIN32: only in base/ and include/jinduo/platform.h.

The table's cells hold tokens between backticks. `folder/` is a layer: the files below the folder that no more specific row
covers. A path, or a path with * for one component and ** for several, is a set of files. Any other token is a symbol.

Exit status 0 if every use is allowed, else 1. Each error is a line "FILE:LINE: the use; the row that forbids it".
"""

import argparse
import collections
import dataclasses
import functools
import json
import os
import pathlib
import re
import subprocess
import sys

PAGE = "docs/architecture.md"
HEADING = "## Who may use whom"
FOLDERS = ("include/jinduo", "base", "net", "proactor", "examples")
PUBLIC = "include/jinduo/"
PLATFORM = "base/platform/"
SYSTEM_MACROS = frozenset(("_WIN32", "_WIN64", "__linux__", "__unix__", "__APPLE__", "__MINGW32__", "__MINGW64__", "_MSC_VER"))
SYSTEM_MACRO_PLACES = ("base/", "include/jinduo/platform.h")
C11_HEADERS = frozenset(f"{name}.h" for name in (
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic "
    "stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype").split())

# Those that libraries use, and the ones that compilers call instead (bcmp). Others are reported until they are listed.
C11_FUNCTIONS = frozenset(
    "abort abs aligned_alloc atexit bcmp bsearch calloc clock exit free getenv malloc qsort realloc strtod strtol strtoll strtoul "
    "strtoull memchr memcmp memcpy memmove memset strchr strcmp strcpy strcspn strlen strncmp strncpy strpbrk strrchr strspn "
    "strstr fclose fflush fgets fopen fprintf fputc fputs fread fseek ftell fwrite printf putchar puts snprintf sprintf sscanf "
    "vfprintf vsnprintf difftime gmtime localtime mktime strftime time isalnum isalpha isdigit isspace tolower toupper".split())


# ---- the table ----

@functools.lru_cache(maxsize=None)
def _pattern(glob):
    parts = re.split(r"(\*\*|\*)", glob)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts))


def _is_symbol(token):
    return re.fullmatch(r"[A-Za-z_]\w*", token) is not None


@dataclasses.dataclass
class Row:
    """A layer: its row of the table."""
    name: str
    line: int
    uses: tuple
    definers: tuple  # the other layers that define symbols of this layer's headers
    system_headers: frozenset  # allowed between angle brackets, and functions beyond C11; None: all

    def covers(self, path):
        return path.startswith(self.name) if self.name.endswith("/") else _pattern(self.name).fullmatch(path) is not None

    def specificity(self):
        return len(self.name.split("*")[0]), not self.name.endswith("/"), len(self.name)

    def allowed(self):
        return ", ".join(self.uses) or "nothing else"


class Table:
    def __init__(self, root):
        self.errors = []
        self.rows = {}
        for number, cells in _table_lines(root / PAGE):
            if len(cells) != 5 or not re.match(r"(all|C11(, `[^`]+`)*)$", cells[4]):
                self.errors.append(f'{PAGE}:{number}: a row must have five cells, and the last must be "all" or "C11", `header.h` …')
                continue
            names, uses, definers, system = (tuple(re.findall(r"`([^`]+)`", cells[column])) for column in (0, 2, 3, 4))
            for name in names:
                if name in self.rows:
                    self.errors.append(f"{PAGE}:{number}: {name} has two rows")
                self.rows[name] = Row(name, number, uses, definers,
                                      None if cells[4] == "all" else C11_HEADERS.union(system))
        if not self.rows:
            self.errors.append(f'{PAGE}:1: the table below "{HEADING}" is missing')

    @functools.lru_cache(maxsize=None)
    def row_of(self, path):
        """The most specific row that covers the file, or None."""
        return max((row for row in self.rows.values() if row.covers(path)), key=Row.specificity, default=None)

    def allows(self, row, path):
        """Whether files of the row may use what the file at path declares or defines."""
        owner = self.row_of(path)
        if owner is row:
            return True
        return any(owner is not None and owner.name == token or
                   not token.endswith("/") and not _is_symbol(token) and _pattern(token).fullmatch(path)
                   for token in row.uses)

    def check(self, files, symbols):
        """Yields an error for each row that covers no file, and for each token that is no layer, file or (if known) symbol."""
        used = {self.row_of(path).name for path in files if self.row_of(path)}
        for row in self.rows.values():
            if row.name not in used:
                yield f"{PAGE}:{row.line}: the row {row.name} covers no file"
            for token in row.uses:
                if _is_symbol(token):
                    known = symbols is None or token in symbols
                elif token.endswith("/"):
                    known = token in self.rows
                else:
                    known = any(_pattern(token).fullmatch(path) for path in files)
                if not known:
                    yield f"{PAGE}:{row.line}: {token}, in the row {row.name}, is no layer, file or symbol"
            for token in row.definers:
                if token not in self.rows:
                    yield f"{PAGE}:{row.line}: {token}, in the row {row.name}, is no layer"


def _table_lines(page):
    """The rows of the table, as (line number, cells)."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("## "):
            inside = line == HEADING
        elif inside and re.match(r"\|\s*`", line):
            yield number, [cell.strip() for cell in line.strip().strip("|").split("|")]


# ---- the sources ----

def _blank(match):
    """The same number of empty lines."""
    return " " + "\n" * match.group().count("\n")


COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.S | re.M)
INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>|(\S+))')


class Source:
    """A file: its includes, the names it mentions, the names it declares for others."""

    def __init__(self, root, path):
        self.path = path
        text = (root / path).read_text(encoding="utf-8")
        # Remove comments but not strings: the name of a header looks like a string.
        self._text = COMMENT.sub(lambda match: match.group(1) or _blank(match), text)

    def includes(self):
        """Yields (line, name in quotes, name in angle brackets, macro) for each include; one of the three is set."""
        for number, line in enumerate(self._text.splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, *match.groups()

    @functools.cached_property
    def mentions(self):
        """The identifiers, each with the line of its first occurrence."""
        lines = {}
        for number, line in enumerate(COMMENT_OR_STRING.sub(_blank, self._text).splitlines(), 1):
            for name in re.findall(r"[A-Za-z_]\w*", line):
                lines.setdefault(name, number)
        return lines

    @functools.cached_property
    def declares(self):
        """The functions declared at file scope without static, and the objects declared extern."""
        code = DIRECTIVE.sub(_blank, COMMENT_OR_STRING.sub(_blank, self._text))
        names = set()
        for statement in re.findall(r"\bextern\b[^;{}()]*(?:\([^;{}]*)?;", code):
            names.update(re.findall(r"([A-Za-z_]\w*)\s*(?=[;,\[]|__attribute__)", statement))
        for statement in _file_scope(code):
            if not re.search(r"\b(static|typedef)\b", statement):
                names.update(re.findall(r"([A-Za-z_]\w*)\s*\(", statement))
        return names


def _file_scope(code):
    """The statements outside braces that end with a semicolon; not functions with a body."""
    statement, depth = [], 0
    for token in re.findall(r"[{};]|[^{};]+", code):
        if token == "{":
            if depth == 0:
                is_function = "".join(statement).rstrip().endswith(")")
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0 and is_function:
                statement = []
        elif depth == 0 and token == ";":
            yield "".join(statement)
            statement = []
        elif depth == 0:
            statement.append(token)


def _files(root):
    return sorted(str(path.relative_to(root)) for folder in FOLDERS for path in (root / folder).rglob("*.[ch]"))


# ---- the objects ----

class Objects:
    """The symbols that the objects of a build directory define and need, by source."""

    def __init__(self, root, build, files):
        self.defined_in = {}
        self.needs = collections.defaultdict(set)
        known = set(files)
        source_of = {}
        commands = build / "compile_commands.json"
        if not commands.exists():
            sys.exit(f"layers: {build}: not a build directory: {commands.name} is missing")
        for entry in json.loads(commands.read_text(encoding="utf-8")):
            directory = pathlib.Path(entry["directory"])
            source = os.path.relpath((directory / entry["file"]).resolve(), root)
            if source in known:
                source_of[str(directory / entry["output"])] = source
        missing = [path for path in source_of if not os.path.exists(path)]
        if missing or not source_of:
            sys.exit(f"layers: {build}: {missing[0] if missing else 'no object of the sources'} has not been built")
        self.sources = set(source_of.values())
        output = subprocess.run(["nm", "--print-file-name", "--extern-only", "--format=posix", *source_of], check=True,
                                capture_output=True, text=True, timeout=120).stdout
        for line in output.splitlines():  # "OBJECT: NAME TYPE ADDRESS SIZE"
            path, _, symbol = line.partition(": ")
            name, kind = symbol.split()[:2]
            if name.startswith("__"):  # of the compiler or a sanitizer
                continue
            if kind in "Uwv":
                self.needs[source_of[path]].add(name)
            else:
                self.defined_in[name] = source_of[path]
        if not self.defined_in:
            sys.exit(f"layers: {build}: nm(1) finds no symbols in the objects")


# ---- the checks ----

class Checker:
    def __init__(self, root, build):
        self.root = root
        self.table = Table(root)
        self.files = _files(root)
        self.sources = {path: Source(root, path) for path in self.files}
        self.objects = Objects(root, build, self.files) if build else None

    def errors(self):
        if self.table.errors:
            return self.table.errors
        errors = list(self.table.check(self.files, self.objects and self.objects.defined_in))
        for path, source in self.sources.items():
            row = self.table.row_of(path)
            if row is None:
                errors.append(f"{path}:1: no row of {PAGE} covers this file")
            else:
                errors += self._check_includes(source, row)
            errors += self._check_system_macros(source)
        if self.objects:
            errors += self._check_symbols()
        return errors

    @staticmethod
    def _forbidden(where, what, row):
        return f"{where}: {what}; the row {row.name} ({PAGE}:{row.line}) allows {row.allowed()}"

    @staticmethod
    def _system_headers(row):
        if row.system_headers is None:
            return "all system headers, <jinduo/…>"
        return ", ".join(["C11 headers", *(f"<{name}>" for name in sorted(row.system_headers - C11_HEADERS)), "<jinduo/…>"])

    def _check_includes(self, source, row):
        for line, quoted, system, macro in source.includes():
            where = f"{source.path}:{line}"
            if macro:
                yield f"{where}: includes {macro}: write the name of the header, so that it can be checked"
            elif quoted:
                if quoted not in self.sources:
                    yield f'{where}: includes "{quoted}", which does not exist; paths start at the root of the tree'
                elif not self.table.allows(row, quoted):
                    yield self._forbidden(where, f'includes "{quoted}"', row)
            elif system.startswith("jinduo/"):
                if f"include/{system}" not in self.sources:
                    yield f"{where}: includes <{system}>, which does not exist"
            elif row.system_headers is not None and system not in row.system_headers:
                yield (f"{where}: includes the system's <{system}>; the row {row.name} ({PAGE}:{row.line}) allows "
                       f"{self._system_headers(row)} only")

    @staticmethod
    def _check_system_macros(source):
        if not source.path.startswith(SYSTEM_MACRO_PLACES):
            for name in sorted(SYSTEM_MACROS & source.mentions.keys()):
                yield (f"{source.path}:{source.mentions[name]}: {name}: what differs between operating systems belongs in base/ or "
                       "include/jinduo/platform.h")

    def _check_symbols(self):
        headers = collections.defaultdict(list)
        for path, source in self.sources.items():
            if path.endswith(".h"):
                for name in sorted(source.declares & self.objects.defined_in.keys()):
                    headers[name].append(path)
        for user, needed in sorted(self.objects.needs.items()):
            row = self.table.row_of(user)
            for name in sorted(needed & self.objects.defined_in.keys()) if row else ():
                yield from self._check_use(user, row, name, headers[name])
            for name in sorted(needed - self.objects.defined_in.keys()) if row and row.system_headers is not None else ():
                yield from self._check_system_function(user, row, name)
        for name, declaring in sorted(headers.items()):
            yield from self._check_definition(name, declaring)

    @functools.cached_property
    def _platform_names(self):
        """What inline functions of base/platform/ may call on behalf of a portable layer."""
        return set().union(*(source.mentions for path, source in self.sources.items() if path.startswith(PLATFORM)))

    def _check_system_function(self, user, row, name):
        """Only where the row does not allow all system headers."""
        if not (name.startswith("_") or name in C11_FUNCTIONS or name in row.system_headers or name in self._platform_names):
            yield (f"{self._place_of_use(user, name)}: calls {name}, which is no function of C11; the row {row.name} "
                   f"({PAGE}:{row.line}) allows those, and calls through {PLATFORM} only")

    def _check_use(self, user, row, name, headers):
        definer = self.objects.defined_in[name]
        where = self._place_of_use(user, name)
        if not headers:
            yield f"{where}: uses {name}, which no header declares; {self._place(definer, name)} defines it"
            return
        if name in row.uses:
            return
        if any(header.startswith(PUBLIC) for header in headers):
            # A row that names the layer of the public headers may use all that they declare.
            if PUBLIC not in row.uses and not self.table.allows(row, definer):
                yield self._forbidden(where, f"uses {name}, a public function that {self._place(definer, name)} defines", row)
        elif not any(self.table.allows(row, header) for header in headers):
            yield self._forbidden(where, f"uses {name}, which {self._place(headers[0], name)} declares", row)

    def _check_definition(self, name, headers):
        definer = self.table.row_of(self.objects.defined_in[name])
        owners = [row for row in map(self.table.row_of, headers) if row]
        if definer and owners and not any(row is definer or row.name == PUBLIC or definer.name in row.definers for row in owners):
            row = owners[0]
            yield (f"{self._place(headers[0], name)}: declares {name}, which {self._place(self.objects.defined_in[name], name)} "
                   f"defines; the row {row.name} ({PAGE}:{row.line}) allows definitions in "
                   f"{', '.join([row.name, *row.definers])} only")

    def _place(self, path, name):
        return f"{path}:{self.sources[path].mentions.get(name, 1)}"

    def _place_of_use(self, user, name):
        """The place where the file uses the name: in itself, or in a macro or inline function of a header that it includes."""
        if name in self.sources[user].mentions:
            return self._place(user, name)
        found = None
        seen, queue = {user}, collections.deque([(user, 0)])
        while queue:
            path, line = queue.popleft()
            if name in self.sources[path].mentions:
                place = f"{user}:{line} (by {self._place(path, name)})"
                if name not in self.sources[path].declares:
                    return place
                found = found or place
            for number, quoted, _, _ in self.sources[path].includes():
                if quoted in self.sources and quoted not in seen:
                    seen.add(quoted)
                    queue.append((quoted, line or number))
        return found or f"{user}:1"

    def explain(self, path):
        row = self.table.row_of(path)
        if row is None:
            return f"{path}: no row of {PAGE} covers it"
        definers = "every layer" if row.name == PUBLIC else ", ".join([row.name, *row.definers])
        return (f"{path} is in the layer {row.name} ({PAGE}:{row.line})\n"
                f"  it may use, besides its own layer: {row.allowed()}\n"
                f"  headers between angle brackets: {self._system_headers(row)}\n"
                f"  its headers' functions are defined in: {definers}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=pathlib.Path,
                        help="build directory whose objects are checked too; it must be built")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent,
                        help="the source tree (default: the tree of this script)")
    parser.add_argument("--explain", metavar="FILE", help="only print what FILE may use; FILE need not exist")
    arguments = parser.parse_args()
    checker = Checker(arguments.root.resolve(), arguments.build and arguments.build.resolve())
    if arguments.explain:
        print("\n".join(checker.table.errors) or checker.explain(arguments.explain))
        return
    errors = checker.errors()
    for error in errors:
        print(error)
    checked = f"{len(checker.files)} files"
    if checker.objects:
        unseen = [path for path in checker.files if path.endswith(".c") and path not in checker.objects.sources]
        if unseen:
            print(f"layers: not compiled in this build, only includes are checked: {', '.join(unseen)}")
        checked += f", {len(checker.objects.sources)} objects' sources"
    print(f"layers: {checked}, {len(errors)} error{'s' * (len(errors) != 1)}")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
