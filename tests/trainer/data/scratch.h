// What the tests of data share: a folder that goes away, token files of made-up documents, the message of a fault.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <unistd.h>
#include <vector>

#include "kernels/core/error.h"
#include "trainer/data/random.h"
#include "trainer/data/token_file.h"

namespace longspan {

using Documents = std::vector<std::vector<std::int32_t>>;

class ScratchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("longspan-") + test->test_suite_name() + "-" +
                                                        test->name() + "-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write_text(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }
  std::string write_tokens(const std::string& name, const Documents& documents) const {
    TokenFileWriter writer(path(name), *make_tokenizer("bytes"));
    for (const auto& document : documents) writer.add_document(document);
    writer.finish();
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

// Documents whose tokens tell them apart, up to chance: random bytes, lengths 1 … longest.
inline Documents made_documents(std::int64_t count, std::int64_t longest, std::uint64_t seed) {
  SplitMix64 random(seed);
  Documents documents(static_cast<std::size_t>(count));
  for (auto& document : documents) {
    document.resize(static_cast<std::size_t>(1 + random.below(longest)));
    for (auto& token : document) token = static_cast<std::int32_t>(random.below(256));
    document.back() = 257;
  }
  return documents;
}

template <class Body>
std::string fault_of(ErrorKind kind, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "no fault";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace longspan
