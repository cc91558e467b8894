"""The two rules of a model cell, as a change to the cell's syntax tree.

A line that is only an expression, `Dense(10)`, becomes

    if __kmodel_takes__(Dense(10), True):
        x = __kmodel_apply__(x)

where the first function says whether the value is a layer and the second calls it. `x`
is thus read only where a layer stands, and every other line keeps its meaning. Calls
and assigned values also pass through `__kmodel_seen__`, which hands them on unchanged:
that is how each layer learns the line it was called on.
"""

import ast
from typing import Any, TypeVar

TAKES, APPLY, SEEN = "__kmodel_takes__", "__kmodel_apply__", "__kmodel_seen__"

Node = TypeVar("Node", bound=ast.AST)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def rewrite(source: str, filename: str) -> ast.Module:
    """The syntax tree of a model cell with its two rules applied.

    In a function of the cell the rules hold as well: for its own `x` if it has one
    (`def block(x, filters)`), else for the cell's. Classes and lambdas are left alone.
    """
    return ast.fix_missing_locations(_Rewriter().visit(ast.parse(source, filename)))


class _Rewriter(ast.NodeTransformer):
    def __init__(self) -> None:
        self.enclosing: list[bool] = []
        """For each function around: whether `x` is its own."""

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """A line that is only an expression."""
        if isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom | ast.Await):
            return self.generic_visit(node)  # type: ignore[return-value]
        is_call = ast.Constant(isinstance(node.value, ast.Call))
        test = _call(TAKES, self.visit(node.value), is_call)
        change = ast.Assign(
            [ast.Name("x", ast.Store())], _call(APPLY, ast.Name("x", ast.Load()))
        )
        return _place(ast.If(test, [_place(change, node)], []), node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """A call anywhere in a line."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            return node  # It looks into its caller's frame.
        return _place(_call(SEEN, node), node)

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        """An assignment: operators make layers too, as in `x = x + skip`."""
        self.generic_visit(node)
        if isinstance(node.value, ast.BinOp | ast.UnaryOp | ast.Subscript):
            node.value = _place(_call(SEEN, node.value), node.value)
        return node

    def visit_FunctionDef(self, node: _Function) -> ast.stmt:
        """A function of the cell."""
        own, declared = _binds_x(node)
        outer = any(self.enclosing)
        self.enclosing.append(own or (outer and declared is None))
        self.generic_visit(node)
        self.enclosing.pop()
        if not own:
            kind = declared or (ast.Nonlocal if outer else ast.Global)
            has_words = ast.get_docstring(node, clean=False) is not None
            node.body.insert(int(has_words), _place(kind(["x"]), node.body[0]))
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> ast.stmt:
        """A word on where `x` lives: it goes before all lines that may change `x`."""
        node.names = [name for name in node.names if name != "x"]
        return node if node.names else _place(ast.Pass(), node)

    visit_Nonlocal = visit_Global

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        """A class of the cell, such as a layer of the user's own: plain Python."""
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        """A lambda, which a Lambda layer may write to a file: plain Python."""
        return node


_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
_COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def _binds_x(
    function: _Function,
) -> tuple[bool, type[ast.Global] | type[ast.Nonlocal] | None]:
    """Whether `x` is a function's own name; the word that says it lives elsewhere."""
    args = function.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    names = {arg.arg for arg in named if arg is not None}
    declared: dict[str, Any] = {}
    waiting: list[tuple[ast.AST, bool]] = [(node, False) for node in function.body]
    while waiting:
        node, comprehended = waiting.pop()
        match node:
            case ast.Global() | ast.Nonlocal():
                declared.update(dict.fromkeys(node.names, type(node)))
            case ast.NamedExpr():
                names.add(node.target.id)
            case ast.Name(ctx=ast.Store() | ast.Del()) if not comprehended:
                names.add(node.id)
            case ast.alias():
                names.add((node.asname or node.name).partition(".")[0])
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
            case _:  # functions, classes, exceptions, captures of `match`
                names.add(getattr(node, "name", None) or "")
        if not isinstance(node, _SCOPES):
            inside = comprehended or isinstance(node, _COMPREHENSIONS)
            waiting.extend((child, inside) for child in ast.iter_child_nodes(node))
    return "x" in names - declared.keys(), declared.get("x")


def _call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])


def _place(new: Node, old: ast.AST) -> Node:
    """`new` at the line and columns of `old`, its new parts too."""
    return ast.fix_missing_locations(ast.copy_location(new, old))
