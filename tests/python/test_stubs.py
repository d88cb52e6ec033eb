# SPDX-License-Identifier: MIT
"""The stubs say what the extension has, and every public name explains itself."""

import ast
import inspect
import os
import unittest

import kmem
import kmem._kmem
import kmem.shared_memory

PACKAGE = os.path.dirname(kmem.__file__)


def public(names):
    return sorted(name for name in names if not name.startswith("_"))


def parameters_of_stub(function, is_method):
    """(name, kind, has a default) of each, as inspect has them."""
    arguments = function.args
    kinds = inspect.Parameter
    plain = [(a.arg, kinds.POSITIONAL_ONLY) for a in arguments.posonlyargs]
    plain += [(a.arg, kinds.POSITIONAL_OR_KEYWORD) for a in arguments.args]
    n_without = len(plain) - len(arguments.defaults)
    found = [(name, kind, i >= n_without) for i, (name, kind) in enumerate(plain)]
    found += [(a.arg, kinds.KEYWORD_ONLY, default is not None)
              for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    return found[1:] if is_method else found


def parameters_of(function, is_method):
    found = [(p.name, p.kind, p.default is not p.empty)
             for p in inspect.signature(function).parameters.values()]
    return found[1:] if is_method else found


class Stubs(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(PACKAGE, "_kmem.pyi"), encoding="utf-8") as stub:
            self.body = ast.parse(stub.read()).body
        self.block = next(node for node in self.body if isinstance(node, ast.ClassDef))

    def functions(self, body):
        return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}

    def test_the_stub_names_what_the_extension_has(self):
        functions = self.functions(self.body)
        self.assertEqual(public([*functions, "Block"]), public(dir(kmem._kmem)))
        for name, node in functions.items():
            self.assertEqual(parameters_of_stub(node, False),
                             parameters_of(getattr(kmem._kmem, name), False), name)

    def test_the_stub_names_what_a_block_has(self):
        functions = self.functions(self.block.body)
        self.assertEqual(public(functions), public(dir(kmem.Block)))
        for name in public(functions):
            attribute = getattr(kmem.Block, name)
            is_property = bool(functions[name].decorator_list)
            self.assertEqual(is_property, not callable(attribute), name)
            if not is_property:
                self.assertEqual(parameters_of_stub(functions[name], True),
                                 parameters_of(attribute, True), name)

    def test_every_public_name_explains_itself(self):
        things = {name: getattr(kmem, name) for name in [*kmem.__all__, "Array", "shared_memory"]}
        for owner in (kmem.Block, kmem.shared_memory.SharedMemory):
            things |= {f"{owner.__name__}.{name}": getattr(owner, name)
                       for name in public(dir(owner))}
        for name, thing in things.items():
            self.assertTrue(inspect.getdoc(thing), name)

    def test_the_package_is_typed_and_whole(self):
        self.assertTrue(os.path.exists(os.path.join(PACKAGE, "py.typed")))
        self.assertEqual(sorted(set(public(vars(kmem))) - {"annotations", "shared_memory"}),
                         sorted({*kmem.__all__, "Iterator", "Optional", "Union"}))
        with self.assertRaises(AttributeError):
            kmem.nothing


if __name__ == "__main__":
    unittest.main(verbosity=2)
