// longspan config: what an experiment resolves to, and every key there is.
#include <fmt/core.h>

#include <memory>

#include "kernels/core/error.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/overrides.h"
#include "trainer/config/config.h"
#include "trainer/launch/launch.h"

namespace longspan {
namespace {

struct ConfigArguments {
  std::string file;
  std::string schema;
  std::vector<std::string> overrides;
};

int show_config(const ConfigArguments& arguments) {
  if (!arguments.schema.empty()) {
    fmt::print("{}", arguments.schema == "markdown" ? config_schema_markdown() : config_schema_text());
    return kExitOk;
  }
  LS_REQUIRE(kUsage, !arguments.file.empty(), "name an experiment's file, or ask for --schema");
  fmt::print("{}", to_yaml(load_config(arguments.file, parse_overrides(arguments.overrides))));
  return kExitOk;
}

}  // namespace

void add_config_command(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ConfigArguments>();
  CLI::App* command = app.add_subcommand("config", "Check an experiment and print it with all defaults, or the schema");
  command->add_option("FILE", arguments->file, "Experiment (YAML)");
  command->add_option("--schema", arguments->schema, "Print every key with default, unit and meaning: text or markdown")
      ->expected(0, 1)
      ->default_str("text")
      ->check(CLI::IsMember({"text", "markdown"}));
  command->allow_extras();
  command->footer("Any key can be overridden: --section.key=value");
  command->callback([command, arguments, &action] {
    arguments->overrides = command->remaining();
    action = [arguments] { return show_config(*arguments); };
  });
}

}  // namespace longspan
