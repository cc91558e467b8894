"""kerasnb.notebook.rewrite and options: Python outside the two rules stays Python"""

import ast
import contextlib
import inspect
import io
import re
import traceback
import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from kerasnb.notebook import rewrite
from kerasnb.notebook.errors import KModelError
from kerasnb.notebook.kmodel import Cell, build_model
from kerasnb.notebook.magics import KerasMagics
from kerasnb.notebook.options import HelpAsked, parse, split

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
        inner.map("{{k: {} for k in 'ab'}}".format),
        inner.map("note(*[{}], **{{}})".format),
        inner.map("sum(i for i in range(len(str({}))))".format),
        two.map("({0[0]} and not {0[1]})".format),
        two.map("{{'x': {0[0]}, **{{'y': {0[1]}}}}}['y']".format),
    )


EXPRESSIONS = st.recursive(LEAVES, _larger, max_leaves=6)


def _indent(block):
    return "\n".join(f"    {line}" for line in block.split("\n"))


def _compound(inner):
    block = inner.map(_indent)
    deeper = block.map(_indent)
    return st.one_of(
        st.tuples(EXPRESSIONS, block, block).map(
            "if {0[0]}:\n{0[1]}\nelse:\n{0[2]}".format
        ),
        st.tuples(NAMES, block).map("for {0[0]} in (1, 2):\n{0[1]}".format),
        st.tuples(block, block).map(
            "try:\n{0[0]}\nexcept TypeError as error:\n{0[1]}".format
        ),
        block.map("with nothing():\n{}".format),
        block.map("with nothing(4) as x, nothing():\n{}".format),
        block.map("try:\n    note(1 / 0)\nexcept ArithmeticError as x:\n{}".format),
        st.tuples(block, block).map(
            "try:\n{0[0]}\nelse:\n    pass\nfinally:\n{0[1]}".format
        ),
        st.tuples(block, block).map(
            "i = 0\nwhile i < 2:\n    i += 1\n{0[0]}\nelse:\n{0[1]}".format
        ),
        block.map("def f(a, *b):\n{}\n    return a\nnote(f(1))".format),
        block.map("def g(x=3):\n    'words'\n{}\n    return x\nnote(g())".format),
        deeper.map("def out():\n    def f(a):\n{}\n    f(1)\nout()".format),
        deeper.map("def own(x):\n    def f(a):\n{}\n    f(1)\nown(7)".format),
        block.map("@note\ndef h(a, *, b=note(2)) -> note(3):\n{}\nh(1)".format),
        block.map("def turns(a):\n{}\n    yield a\nnote(list(turns(1)))".format),
        block.map("async def f(a):\n{}\nf(1).close()".format),
        deeper.map(
            "class K(dict):\n    def __init__(self):\n        super().__init__(a=1)\n{}"
            "\nnote(len(K()))".format
        ),
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
    EXPRESSIONS.map("b[0:1] = [{}]".format),
    EXPRESSIONS.map("words, x = {}, note(x)".format),
    EXPRESSIONS.map("note('a\\\n   b'); c = {}".format),
    EXPRESSIONS.map('note("""two\n  # lines\n""" + str({}))'.format),
    EXPRESSIONS.map("\n\n# é\nnote('é\u2028ü\x0c') == {}  # why".format),
    st.sampled_from(["pass", "# a comment\n", "...", "'a text'", "import math as b"]),
    st.sampled_from(["from math import pi as x", "lambda: note(1)", "note(x)", "-c"]),
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


def _shown(value):
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))


def _outcome(code, filename, scope):
    """All that a program does: what it noted, its names at the end, how it failed."""
    noted, out = [], io.StringIO()

    def note(value):
        noted.append(_shown(value))
        return value

    scope.update(note=note, nothing=contextlib.nullcontext, a=1, b=[2], c=3, words="w")
    failed = None
    try:
        with contextlib.redirect_stdout(out):
            exec(code, scope)
    except Exception as error:  # noqa: BLE001 - whatever the program raises
        frames = traceback.extract_tb(error.__traceback__)
        places = [
            (f.lineno, f.end_lineno, f.colno, f.end_colno)
            for f in frames
            if f.filename == filename
        ]
        failed = type(error).__name__, _shown(error), places
    ours = ("note", "nothing", "error")
    names = {
        k: _shown(v)
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


def place(node):
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def hook(node):
    """Which of the three functions of rules a node calls, if any."""
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return node.func.id if named else ""


def misplaced(source):
    """The parts of a rewritten program that are not where what they came from is."""
    places = Counter(
        (type(node).__name__, place(node))
        for node in ast.walk(ast.parse(source))
        if hasattr(node, "lineno")
    )
    wrong, added = [], set()
    tree = rewrite.rewrite(source, "cell")
    for node in ast.walk(tree):
        new, where = [], None
        if hook(node) == rewrite.SEEN:
            new, where = [node, node.func], place(node.args[0])
        elif isinstance(node, ast.If) and hook(node.test) == rewrite.TAKES:
            test, (change,) = node.test, node.body
            new = [node, test, test.func, test.args[1], *ast.walk(change)]
            where = place(node)
            places["Expr", where] -= 1
        elif (
            getattr(node, "names", 0) == ["x"]
            and not places[type(node).__name__, place(node)]
        ):  # `global x` or `nonlocal x`, and none of the source's own
            new, where = [node], place(node)
            wrong += [] if any(where == at for _, at in places) else [node]
        wrong += [n for n in new if hasattr(n, "lineno") and place(n) != where]
        added.update(new)
    places.subtract(
        (type(node).__name__, place(node))
        for node in ast.walk(tree)
        if hasattr(node, "lineno") and node not in added
    )
    return wrong + [key for key, count in places.items() if count]


@QUICK
@given(PROGRAMS.filter(_valid))
def test_every_part_of_a_program_stays_where_it_was(source):
    """Lines and columns are those of the source: for errors, warnings, debuggers."""
    assert misplaced(source) == []


PLACE = rewrite._place


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda new, old: new,
        lambda new, old: ast.fix_missing_locations(new),
        lambda new, old: ast.increment_lineno(PLACE(new, old)),
        lambda new, old: PLACE(new, ast.Pass(lineno=3, col_offset=0)),
    ],
    ids=["no place", "the first line", "the next line", "one line for all"],
)
def test_a_part_in_the_wrong_place_would_be_noticed(monkeypatch, spoiled):
    source = "\nif a:\n    note(3)\n    x = b[0]\n\n    def f(n):\n        (n)\n"
    assert misplaced(source) == []
    monkeypatch.setattr(rewrite, "_place", spoiled)
    assert misplaced(source)


@QUICK
@given(PROGRAMS.filter(_valid))
def test_comments_and_blank_lines_survive(source):
    cell = Cell(source, {}, "net", "%%kmodel net")
    typed = source.removesuffix("\n")  # which ends a line and begins none
    assert "\n".join(cell.lines) == f"%%kmodel net\n{typed}"
    assert len(cell.lines) == typed.count("\n") + 2
    assert cell.source == f"\n{source}"


FUNCTION = """\
def block(n):  # why

    '''words'''
    # A comment, and a blank line

    Dense(n)  # applied
"""


@pytest.mark.parametrize(
    "above", ["", "'\u2028\x0c\x1c'  # \x85\n", "a = '''\r\n'''\r\n"]
)
def test_the_source_of_what_a_cell_defines_is_what_was_typed(above):
    """Also behind what ends a line for `str.splitlines`, and not for Python."""
    kept = []
    source = f"{above}{FUNCTION}\nkept.append(block)\nblock(3)\n"
    build_model(source, {"kept": kept}, input=(4,), header="%%kmodel net")
    assert inspect.getsource(kept.pop()) == FUNCTION
    with pytest.raises(KModelError) as caught:
        build_model(f"{source}Densse(3)\n", {"kept": kept}, input=(4,))
    assert caught.value.text == "Densse(3)"


@pytest.mark.parametrize(
    "line",
    [
        "mixed = kept({1: 2, 'a': 3})",
        "kept([{1: 2, 'a': x}])",
        "own[0] = own",
        "own.append(own)\nown",
        "own = kept({'own': own})\nown['own'] = own\nown = kept(own)",
        "own.append(own)\nx = kept([own, x])[1]",
    ],
)
def test_any_structure_may_pass_through_a_cell(line):
    """Also a dict whose keys cannot be sorted, and a list that holds itself."""
    source = f"def kept(value):\n    return value\nown = [1]\n{line}\nDense(2)"
    assert build_model(source, input=(4,)).output_shape == (None, 2)


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


VALUES = st.one_of(
    st.sampled_from(["adam", "28,28,1", "x_train[:9, 0]", "0.1", "'a b'", "left=4"]),
    BRACKETED,
)


@QUICK
@given(
    st.dictionaries(
        st.sampled_from("optimizer learning-rate loss target dtype seed".split()),
        VALUES,
    ),
    st.lists(VALUES, max_size=3),
    st.sets(st.sampled_from("keep quiet code jit".split())),
    st.randoms(),
)
def test_options_are_read_as_they_were_given_in_any_order(given, inputs, flags, mix):
    parts = [f"--{name} {value}" for name, value in given.items()]
    parts += [f"--input {value}" for value in inputs] + [f"--{flag}" for flag in flags]
    mix.shuffle(parts)
    found = vars(parse(KerasMagics.kmodel, " ".join(["net", *parts])))
    assert found["name"] == "net"
    assert sorted(found["input"]) == sorted(inputs)
    for name in "optimizer learning-rate loss target dtype seed".split():
        assert found[name.replace("-", "_")] == given.get(name)
    assert {name for name in ("keep", "quiet", "code", "jit") if found[name]} == flags


PIECES = st.sampled_from(
    "net|--input|--inptu|-i|-|--|--loss=|--keep|4,4|{f(|)}|'|--no-jit|--metrics|a,b|%d"
    "|{1}|--help=3|==|é|x y".split("|")
)


@QUICK
@given(
    st.sampled_from([KerasMagics.kmodel, KerasMagics.kfit, KerasMagics.kinspect]),
    st.lists(PIECES, max_size=6).map(" ".join),
)
def test_any_line_is_read_or_refused_in_a_sentence(magic, line):
    said = "%kfit: nothing"
    try:
        parse(magic, line)
    except UsageError as error:
        said = str(error)
    except HelpAsked:
        pass
    assert re.fullmatch(r"%?%k\w+[: ].+", said), said
