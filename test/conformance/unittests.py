# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of one module of CPython's `test` package.

Arguments: the name of the module, and a file with the names of tests to leave out. Each
test prints a line when it begins and one when it is over, which no output of the test can
be taken for:

    \\x16RUN name
    \\x16PASS name (FAIL, SKIP)
"""
import faulthandler
import importlib
import os
import sys
import tempfile
import unittest

OUT = os.dup(1)
os.set_inheritable(OUT, False)


def say(word, test):
    name = test.id() if hasattr(test, "id") else str(test)
    os.write(OUT, f"\n\x16{word} {name.replace(chr(10), ' ')}\n".encode("ascii", "backslashreplace"))


class Result(unittest.TestResult):
    """Says what comes of each test. A subtest counts with the test that it is of."""

    def startTest(self, test):
        super().startTest(test)
        self.word = "PASS"
        say("RUN", test)

    def stopTest(self, test):
        super().stopTest(test)
        say(self.word, test)

    def fail(self, test, err):
        self.word = "FAIL"
        print(self._exc_info_to_string(err, test), flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        self.fail(test, err)
        if not isinstance(test, unittest.TestCase):  # setUpModule, setUpClass
            say("RUN", test)
            say("FAIL", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.fail(test, err)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.word = "FAIL"

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.word = "SKIP"
        if not isinstance(test, unittest.TestCase):
            say("RUN", test)
            say("SKIP", test)


def without(suite, names):
    """The suite without the tests of the names."""
    if isinstance(suite, unittest.TestCase):
        return None if suite.id() in names else suite
    kept = [t for t in (without(t, names) for t in suite) if t is not None]
    return type(suite)(kept) if kept else None


def run(suite, names):
    suite = without(suite, names)
    if suite is not None:
        suite.run(Result())


def main():
    name = sys.argv[1]
    with open(sys.argv[2]) as f:
        names = set(filter(None, f.read().split("\n")))
    faulthandler.enable()
    os.chdir(tempfile.mkdtemp())
    from test import support
    support.use_resources = []
    support.verbose = 1
    support.run_unittest = lambda *classes: run(
        unittest.TestSuite(
            unittest.defaultTestLoader.loadTestsFromModule(sys.modules[c]) if isinstance(c, str)
            else c if isinstance(c, (unittest.TestSuite, unittest.TestCase))
            else unittest.defaultTestLoader.loadTestsFromTestCase(c)
            for c in classes
        ),
        names,
    )
    support._run_suite = lambda suite: run(suite, names)

    class Module:
        def id(self):
            return name

    try:
        module = importlib.import_module("test." + name)
    except unittest.SkipTest as why:
        print(why, flush=True)
        say("RUN", Module())
        say("SKIP", Module())
        return
    if hasattr(module, "test_main"):
        module.test_main()
    else:
        run(unittest.defaultTestLoader.loadTestsFromModule(module), names)
    support.reap_children()
    say("END", Module())


if __name__ == "__main__":
    main()
