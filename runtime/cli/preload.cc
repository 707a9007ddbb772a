// SPDX-License-Identifier: MIT
#include "runtime/cli/preload.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace godwit::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 2> kLibraries = {"libgodwit_malloc.so", "libgodwit_blas.so"};

// Relative to this program's own folder: installed beside it, installed in lib, Bazel's output.
constexpr std::array<std::string_view, 7> kPlaces = {
    ".",
    "../lib/godwit",
    "../lib",
    "../bindings/malloc",
    "../bindings/blas",
    "../../bindings/malloc",
    "../../bindings/blas",
};

std::vector<fs::path> folders() {
  std::vector<fs::path> result;
  if (const char* list = ::getenv("GODWIT_LIBRARY_PATH"); list != nullptr && *list != '\0') {
    std::string_view rest = list;
    while (!rest.empty()) {
      const std::size_t colon = rest.find(':');
      const std::string_view folder = rest.substr(0, colon);
      if (!folder.empty()) result.emplace_back(folder);
      rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
    }
    return result;
  }
  std::error_code error;
  const fs::path own = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (error) return result;
  for (const std::string_view place : kPlaces) result.push_back(own / place);
  return result;
}

}  // namespace

Result<std::vector<std::string>> find_libraries() {
  std::vector<std::string> result;
  const std::vector<fs::path> places = folders();
  for (const std::string_view library : kLibraries) {
    std::string found;
    for (const fs::path& place : places) {
      // Canonical: the program may change its folder, and its children inherit the value.
      std::error_code error;
      const fs::path path = fs::canonical(place / library, error);
      if (error || ::access(path.c_str(), R_OK) != 0) continue;
      found = path.string();
      break;
    }
    if (found.empty()) {
      std::vector<std::string> reasons;
      reasons.reserve(places.size());
      for (const fs::path& place : places) {
        reasons.push_back("not in " + place.lexically_normal().string());
      }
      return fail(Code::kUnavailable,
                  fmt::format("{} not found; set GODWIT_LIBRARY_PATH to its folder", library),
                  std::move(reasons));
    }
    // The dynamic loader separates by colons and spaces, expands $, and knows no quoting.
    if (found.find_first_of(": \t\n$") != std::string::npos) {
      return fail(
          Code::kInvalidArgument,
          fmt::format("LD_PRELOAD cannot hold the path '{}' (it has a colon, a space or a $)",
                      found));
    }
    result.push_back(std::move(found));
  }
  return result;
}

std::string preload_value(const std::vector<std::string>& libraries, const char* existing) {
  std::string value;
  for (const std::string& library : libraries) {
    if (!value.empty()) value += ':';
    value += library;
  }
  if (existing != nullptr && *existing != '\0') {
    value += ':';
    value += existing;
  }
  return value;
}

}  // namespace godwit::cli
