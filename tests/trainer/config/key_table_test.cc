// The key table: whole, without doubles, with defaults that its own limits allow.
#include "trainer/config/key_table.h"

#include <gtest/gtest.h>

#include <set>

#include "trainer/config/value_text.h"

namespace longspan {
namespace {

TEST(KeyTable, EachKeyOnceWithAMeaning) {
  std::set<std::string> paths;
  for (const Key& key : key_table()) {
    EXPECT_TRUE(paths.insert(key.path).second) << key.path;
    EXPECT_FALSE(key.meaning.empty()) << key.path;
    EXPECT_NE(key.meaning.back(), '.') << key.path;
    EXPECT_FALSE(is_section(key.path)) << key.path;
    EXPECT_EQ(find_key(key.path), &key);
  }
  EXPECT_EQ(find_key("model"), nullptr);
  EXPECT_TRUE(is_section("model.rope.scaling"));
  EXPECT_FALSE(is_section("model.rope.theta"));
}

// Two keys that shared a member would overwrite each other without a word.
TEST(KeyTable, EachKeyHasAPlaceOfItsOwn) {
  Config config;
  std::set<const void*> places;
  std::size_t addressed = 0;
  for (const Key& key : key_table()) {
    std::visit(
        [&](const auto& place) {
          if constexpr (requires { place(config); }) {
            places.insert(static_cast<const void*>(&place(config)));
            ++addressed;
          }
        },
        key.place);
  }
  // model.pattern begins where its first map, hence model.attention.kind, does not: vectors hold their maps elsewhere.
  EXPECT_EQ(places.size(), addressed);
}

// Every default, written out and read back as an override, is accepted and changes nothing.
TEST(KeyTable, DefaultsAreValid) {
  const Config defaults = parse_config("", "x", {});
  for (const Key& key : key_table()) {
    if (key.path == "model.pattern") continue;
    const std::string text = value_text(key, unresolved_config());
    const std::string raw = text.front() == '"' ? text.substr(1, text.size() - 2) : text;  // as a command line has it
    Config config;
    ASSERT_NO_THROW(config = parse_config("", "x", {{key.path, raw}})) << key.path;
    EXPECT_EQ(value_text(key, config), value_text(key, defaults)) << key.path;
  }
}

}  // namespace
}  // namespace longspan
