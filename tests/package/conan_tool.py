# SPDX-License-Identifier: Apache-2.0
"""conan_tool.py <conanfile.py> <exported sources> <package> <version>: what Conan does with a recipe of headers, with
stand-ins for the few parts of Conan that the recipe uses. Says what went wrong and exits with 1."""
import fnmatch
import importlib.util
import os
import pathlib
import shutil
import sys
import types

COPIED = []


class Info:
    def __init__(self):
        self.cleared = False

    def clear(self):
        self.cleared = True


class CppInfo:
    def __init__(self):
        self.properties, self.requires, self.bindirs, self.libdirs = {}, [], ["bin"], ["lib"]
        self.components = {}

    def set_property(self, name, value):
        self.properties[name] = value


class Components(dict):
    def __missing__(self, name):
        self[name] = CppInfo()
        return self[name]


class Options(types.SimpleNamespace):
    pass


class ConanFile:
    def __init__(self, recipe_folder, options):
        self.recipe_folder = recipe_folder
        self.options = Options(**options)
        self.required = []
        self.info = Info()
        self.cpp_info = CppInfo()
        self.cpp_info.components = Components()

    def requires(self, reference):
        self.required.append(reference)


def copy(_, pattern, src, dst):
    """Every file below src whose path there matches, to the same path below dst."""
    for path in sorted(pathlib.Path(src).rglob("*")):
        relative = path.relative_to(src)
        if path.is_file() and fnmatch.fnmatch(relative.as_posix(), pattern):
            target = pathlib.Path(dst) / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            COPIED.append(target)


def module(name, **members):
    made = types.ModuleType(name)
    vars(made).update(members)
    sys.modules[name] = made


def expect(truth, text):
    if not truth:
        sys.exit(f"the Conan recipe: {text}")


def main(recipe, exported, package, version):
    standards = []
    module("conan", ConanFile=ConanFile)
    module("conan.tools")
    module("conan.tools.build", check_min_cppstd=lambda _, standard: standards.append(standard), can_run=lambda _: True)
    module("conan.tools.cmake", CMake=object, cmake_layout=lambda _: None)
    module("conan.tools.files", copy=copy, load=lambda _, path: pathlib.Path(path).read_text())
    spec = importlib.util.spec_from_file_location("recipe", recipe)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    compile((pathlib.Path(recipe).parent / "test_package" / "conanfile.py").read_text(), "test_package", "exec")

    folder = os.path.dirname(os.path.abspath(recipe))
    for with_cpu, with_json in ((True, True), (True, False), (False, False)):
        made = loaded.KvsharerConan(folder, {"with_cpu": with_cpu, "with_json": with_json})
        made.requirements()
        made.package_info()
        names = {r.split("/")[0] for r in made.required}
        expect(names == {n for n, on in (("eigen", with_cpu), ("nlohmann_json", with_json)) if on}, f"requires {names}")
        of_parts = {r.split("::")[0] for c in made.cpp_info.components.values() for r in c.requires if "::" in r}
        expect(of_parts == names, f"its components use {of_parts}, it requires {names}")
        targets = {c.properties["cmake_target_name"] for c in made.cpp_info.components.values()}
        expect("kvsharer::kvsharer" in targets and len(targets) == 1 + with_cpu + with_json, f"has targets {targets}")

    made.set_version()
    expect(made.version == version, f"says version {made.version}; the sources say {version}")
    made.package_id()
    expect(made.info.cleared, "has one package for every compiler, though it is headers")
    made.validate()
    expect(standards == [20], "asks for another standard than C++20")
    made.export_sources_folder = exported
    made.export_sources()
    made.source_folder, made.package_folder = exported, package
    made.package()
    expect(COPIED, "copies nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
