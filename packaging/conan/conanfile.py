# SPDX-License-Identifier: Apache-2.0
"""kvsharer for Conan 2, from the sources around this recipe: `conan create packaging/conan`."""
import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load


class KvsharerConan(ConanFile):
    name = "kvsharer"
    description = "Layer-shared KV caches for language models"
    license = "Apache-2.0"
    topics = ("llm", "kv-cache", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"with_cpu": [True, False], "with_json": [True, False]}
    default_options = {"with_cpu": True, "with_json": True}
    no_copy_source = True

    @property
    def _checkout(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        text = load(self, os.path.join(self._checkout, "include", "kvsharer", "version.hpp"))
        numbers = re.findall(r"#define KVSHARER_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text)
        self.version = ".".join(numbers)

    def export_sources(self):
        copy(self, "include/*", self._checkout, self.export_sources_folder)
        copy(self, "LICENSE", self._checkout, self.export_sources_folder)

    def requirements(self):
        if self.options.with_cpu:
            self.requires("eigen/[>=3.4 <4]")
        if self.options.with_json:
            self.requires("nlohmann_json/[>=3.9 <4]")

    def package_id(self):
        self.info.clear()

    def validate(self):
        check_min_cppstd(self, 20)

    def package(self):
        copy(self, "include/*", self.source_folder, self.package_folder)
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "kvsharer")
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        parts = {"kvsharer": []}
        if self.options.with_cpu:
            parts["cpu"] = ["kvsharer", "eigen::eigen"]
        if self.options.with_json:
            parts["json"] = ["kvsharer", "nlohmann_json::nlohmann_json"]
        for part, requires in parts.items():
            component = self.cpp_info.components[part]
            component.set_property("cmake_target_name", f"kvsharer::{part}")
            component.bindirs = []
            component.libdirs = []
            component.requires = requires
