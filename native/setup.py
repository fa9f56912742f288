"""One module in C, against the stable ABI: one wheel for CPython 3.11 and all later versions."""

from setuptools import Extension, setup

setup(
    ext_modules=[Extension("tellwire_fast", ["tellwire_fast.c"], py_limited_api=True)],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
