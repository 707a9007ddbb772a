// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "godwit.h"
#include "runtime/cli/info_command.h"
#include "runtime/cli/run_command.h"

namespace godwit::cli {
namespace {

constexpr const char* kUsage =
    "usage: godwit COMMAND\n"
    "\n"
    "  run [OPTIONS] -- CMD ARGS...  run a program whose malloc is memory that migrates to VRAM\n"
    "  info [--json]                 which engines and devices this machine has, and why not "
    "others\n"
    "  help                          this text; `godwit run --help` lists the options\n"
    "  --version                     the version\n";

int dispatch(const std::vector<std::string>& words) {
  if (words.empty()) {
    std::fputs(kUsage, stderr);
    return kOwnFailure;
  }
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (words[0] == "run") return run_command(rest);
  if (words[0] == "info") return info_command(rest);
  int status = 0;
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    fmt::print("{}", kUsage);
  } else if (words[0] == "--version") {
    fmt::print("godwit {}.{}\n", GODWIT_VERSION_MAJOR, GODWIT_VERSION_MINOR);
  } else {
    fmt::print(stderr, "godwit: no such command: {} (godwit help)\n", words[0]);
    status = kOwnFailure;
  }
  return status;
}

}  // namespace
}  // namespace godwit::cli

int main(int argc, char** argv) {
  try {
    const int status = godwit::cli::dispatch(std::vector<std::string>(argv + 1, argv + argc));
    if (std::fflush(stdout) != 0) {
      std::perror("godwit: cannot write to standard output");
      return status != 0 ? status : godwit::cli::kOwnFailure;
    }
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "godwit: %s\n", error.what());
    return godwit::cli::kOwnFailure;
  }
}
