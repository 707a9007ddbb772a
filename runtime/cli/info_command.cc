// SPDX-License-Identifier: MIT
#include "runtime/cli/info_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "runtime/cli/inventory.h"
#include "runtime/cli/run_command.h"

namespace godwit::cli {

int info_command(const std::vector<std::string>& arguments) {
  CLI::App app("Tells which engines and devices this machine has, and why not others.");
  app.name("godwit info");
  bool json = false;
  app.add_flag("--json", json, "as JSON");
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "godwit: info: {} (godwit info --help)\n", error.what());
    return kOwnFailure;
  }
  const Inventory inventory = take_inventory();
  std::fputs((json ? inventory_json(inventory) : inventory_text(inventory)).c_str(), stdout);
  return 0;
}

}  // namespace godwit::cli
