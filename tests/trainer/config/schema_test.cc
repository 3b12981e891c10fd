// The schema: every key is in it, and docs/config.md is what the program prints.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "trainer/config/config.h"
#include "trainer/config/key_table.h"
#include "trainer/config/value_text.h"

namespace longspan {
namespace {

TEST(Schema, ListsEveryKeyWithDefaultUnitAndMeaning) {
  const std::string text = config_schema_text(), markdown = config_schema_markdown();
  for (const Key& key : key_table()) {
    EXPECT_NE(text.find("  " + key.path + " = "), std::string::npos) << key.path;
    EXPECT_NE(markdown.find("| `" + key.path + "` | `"), std::string::npos) << key.path;
    for (const std::string& part : {key.meaning, expected_value(key), key.traits.unit}) {
      EXPECT_NE(text.find(part), std::string::npos) << key.path;
      EXPECT_NE(markdown.find(part), std::string::npos) << key.path;
    }
  }
  EXPECT_NE(text.find("  run.steps = 1000 steps\n"), std::string::npos);
  EXPECT_NE(text.find("  model.kv_heads = auto\n"), std::string::npos);
}

TEST(Schema, DocumentationIsUpToDate) {
  std::ifstream file(LONGSPAN_SOURCE "/docs/config.md");
  ASSERT_TRUE(file) << "docs/config.md is missing: longspan config --schema=markdown > docs/config.md";
  std::ostringstream content;
  content << file.rdbuf();
  EXPECT_EQ(content.str(), config_schema_markdown()) << "run: longspan config --schema=markdown > docs/config.md";
}

}  // namespace
}  // namespace longspan
