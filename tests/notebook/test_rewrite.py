"""kerasnb.notebook.rewrite and options: Python outside the two rules stays Python"""

import ast
import contextlib
import io
import traceback
import warnings

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from kerasnb.notebook import rewrite
from kerasnb.notebook.kmodel import Cell
from kerasnb.notebook.options import split

QUICK = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

# --- Programs without layers --------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "x", "words"])
LEAVES = st.one_of(
    st.integers(-9, 9).map(repr), NAMES, st.sampled_from(["'t'", "[1, 2]", "None"])
)


def _larger(inner):
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map("({0[0]} + {0[1]})".format),
        two.map("({0[0]} == {0[1]})".format),
        two.map("[{0[0]}, {0[1]}]".format),
        two.map("({0[0]} if {0[1]} else 3)".format),
        inner.map("note({})".format),
        inner.map("str({})[:3]".format),
        inner.map("[i for i in note([{}])]".format),
        inner.map("(lambda y: [y, {}])(2)".format),
        inner.map("(c := {})".format),
        inner.map("f'{{{0}!s}}'".format),
    )


EXPRESSIONS = st.recursive(LEAVES, _larger, max_leaves=6)


def _indent(block):
    return "\n".join(f"    {line}" for line in block.split("\n"))


def _compound(inner):
    block = inner.map(_indent)
    return st.one_of(
        st.tuples(EXPRESSIONS, block, block).map(
            "if {0[0]}:\n{0[1]}\nelse:\n{0[2]}".format
        ),
        st.tuples(NAMES, block).map("for {0[0]} in (1, 2):\n{0[1]}".format),
        st.tuples(block, block).map(
            "try:\n{0[0]}\nexcept TypeError as error:\n{0[1]}".format
        ),
        block.map("with nothing():\n{}".format),
        block.map("def f(a, *b):\n{}\n    return a\nnote(f(1))".format),
        block.map("def g(x=3):\n    'words'\n{}\n    return x\nnote(g())".format),
        block.map("class K:\n{}\nnote(sorted(n for n in vars(K) if n < '_'))".format),
        st.tuples(EXPRESSIONS, inner).map(
            "match {0[0]}:\n    case 1 | 't':\n        note(1)\n{0[1]}".format
        ),
    )


SIMPLE = st.one_of(
    EXPRESSIONS,
    st.tuples(NAMES, EXPRESSIONS).map("{0[0]} = {0[1]}".format),
    st.tuples(NAMES, EXPRESSIONS).map("{0[0]} += {0[1]}".format),
    st.tuples(NAMES, EXPRESSIONS).map("{0[0]}: int = {0[1]}".format),
    EXPRESSIONS.map("a, *b = note([{}, 2])".format),
    EXPRESSIONS.map("note(  # why\n    {},\n\n)".format),
    st.sampled_from(["pass", "# a comment\n", "...", "'a text'", "import math as b"]),
    st.sampled_from(["del a", "assert words", "global a", "raise ValueError('mine')"]),
)
STATEMENTS = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, min_size=1, max_size=3).map("\n".join)
    | _compound(inner), max_leaves=8
)  # fmt: skip
PROGRAMS = st.lists(STATEMENTS, min_size=1, max_size=5).map("\n".join)


def _valid(source):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "plain", "exec")
    except SyntaxError:
        return False
    return True


def _outcome(code, filename, scope):
    """All that a program does: what it noted, its names at the end, how it failed."""
    noted, out = [], io.StringIO()

    def note(value):
        noted.append(repr(value))
        return value

    scope.update(note=note, nothing=contextlib.nullcontext, a=1, b=[2], c=3, words="w")
    failed = None
    try:
        with contextlib.redirect_stdout(out):
            exec(code, scope)
    except Exception as error:  # noqa: BLE001 - whatever the program raises
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if f.filename == filename]
        failed = type(error).__name__, str(error), lines
    ours = ("note", "nothing", "f", "g", "K", "error")
    names = {
        k: repr(v)
        for k, v in scope.items()
        if not k.startswith("__") and k not in ours and not callable(v)
    }
    return noted, out.getvalue(), failed, names


@QUICK
@given(PROGRAMS.filter(_valid))
def test_python_without_layers_does_what_it_does_as_plain_python(source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = compile(source, "plain", "exec")
        cell = Cell(source, {}, "net", None)
        changed = compile(rewrite.rewrite(source, cell.filename), cell.filename, "exec")
        wanted = _outcome(plain, "plain", {"x": 5})
        cell.begin((4,))
        cell.scope["x"] = 5
        cell._running = True
        found = _outcome(changed, cell.filename, cell.scope)
    assert found == wanted


@QUICK
@given(PROGRAMS.filter(_valid))
def test_every_part_of_a_program_stays_where_it_was(source):
    """Lines and columns are those of the source: for errors, warnings, debuggers."""

    def places(tree):
        return {
            (ast.dump(node, annotate_fields=False), node.lineno, node.col_offset)
            for node in ast.walk(tree)
            if isinstance(node, ast.Name | ast.Constant)
        }

    before = places(ast.parse(source))
    after = places(rewrite.rewrite(source, "cell"))
    assert before <= after
    lines = source.count("\n") + 1
    assert all(1 <= line <= lines for _, line, _ in after)


# --- Lines of options ---------------------------------------------------------------

WORDS = st.text(
    st.characters(
        codec="utf-8", exclude_characters="\"'()[]{}", exclude_categories="Z"
    ),
    min_size=1,
).filter(lambda word: not word.endswith(",") and not any(c.isspace() for c in word))
QUOTED = st.text(st.characters(codec="ascii", exclude_characters="\"'")).map(repr)
BRACKETED = st.lists(WORDS | QUOTED, max_size=3).map(lambda w: f"{{f({', '.join(w)})}}")


@QUICK
@given(st.lists(st.one_of(WORDS, BRACKETED), max_size=6), st.integers(1, 3))
def test_a_line_of_options_is_split_where_it_was_joined(words, spaces):
    assert split((" " * spaces).join(words)) == words


@QUICK
@given(st.text(st.sampled_from("ab,= -{}[]()'\"\\x")))
def test_any_line_is_split_or_refused_in_a_sentence(line):
    try:
        words = split(line)
    except UsageError as error:
        words = str(error).partition(" is missing in: ")[2]
    assert "".join(words).replace(" ", "") == line.replace(" ", "")
