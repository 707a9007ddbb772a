# SPDX-License-Identifier: MIT
"""Rules of this tree: the native ones with our warnings, and shaders."""

_WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wconversion",
    "-Werror",
]

_GTEST = "@com_google_googletest//:gtest_main"

def godwit_cc_library(name, copts = [], **kwargs):
    native.cc_library(name = name, copts = _WARNINGS + copts, **kwargs)

def godwit_cc_binary(name, copts = [], **kwargs):
    native.cc_binary(name = name, copts = _WARNINGS + copts, **kwargs)

def godwit_cc_shared(name, version_script = None, copts = [], linkopts = [], **kwargs):
    """A shared library lib<name>.so, to be named by that target: `:lib<name>.so`.

    Args:
      name: without lib and .so.
      version_script: linker version script; symbols that it does not name should be local.
      copts: after the warnings.
      linkopts: after the version script.
      **kwargs: as for cc_binary. Exported symbols must be defined in srcs or in an alwayslink library: the linker drops
        objects of other libraries that nothing refers to.
    """
    file = "lib" + name + ".so"
    script = [version_script] if version_script else []
    native.cc_binary(
        name = file,
        additional_linker_inputs = kwargs.pop("additional_linker_inputs", []) + script,
        copts = _WARNINGS + copts,
        linkopts = [
            "-Wl,-soname," + file,
            "-Wl,--as-needed",
        ] + ["-Wl,--version-script=$(location %s)" % s for s in script] + linkopts,
        linkshared = True,
        **kwargs
    )

def godwit_cc_test(name, copts = [], deps = [], size = "small", **kwargs):
    """A GoogleTest program. A main in srcs takes precedence over GoogleTest's."""
    native.cc_test(
        name = name,
        size = size,
        copts = _WARNINGS + copts,
        deps = deps + ([] if _GTEST in deps else [_GTEST]),
        **kwargs
    )

def glsl_to_spirv_header(name, src, variable, defines = [], includes = [], visibility = None):
    """Compiles a compute shader; `:name` is a cc_library with the one header <package>/<name>.h.

    Args:
      name: of the library and of the header.
      src: the .comp file.
      variable: the whole name, as in kCopyKernel: `inline constexpr uint32_t kCopyKernel[]` in namespace godwit::spirv.
      defines: "NAME" or "NAME=VALUE".
      includes: files that src includes, by path from the root of this tree or relative to src.
      visibility: of the library.
    """
    flags = "--target-env=vulkan1.2 -fshader-stage=compute -O -Werror -I. " + " ".join(["-D'%s'" % d for d in defines])
    header = name + ".h"
    native.genrule(
        name = name + "_gen",
        srcs = [src] + includes,
        outs = [header],
        cmd = " && ".join([
            "spv=$(@D)/%s.spv" % name,
            "/usr/bin/glslc %s -o $$spv $(location %s)" % (flags, src),
            "/usr/bin/spirv-val --target-env vulkan1.2 $$spv",
            "words=$$(od -An -v -tx4 -w32 $$spv | sed 's/ \\([0-9a-f]\\{8\\}\\)/0x\\1,/g')",
            "rm $$spv",
            "printf '// Generated from %s.\\n#pragma once\\n\\n#include <cstdint>\\n\\nnamespace godwit::spirv {\\n" % src +
            "inline constexpr uint32_t %s[] = {\\n%%s\\n};\\n}  // namespace godwit::spirv\\n' \"$$words\" > $@" % variable,
        ]),
        message = "Compiling shader",
    )
    native.cc_library(
        name = name,
        hdrs = [header],
        visibility = visibility,
    )
