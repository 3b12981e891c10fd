#include "trainer/check/case_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <unistd.h>

#include "tests/trainer/check/write_case.h"

namespace longspan {
namespace {

class CaseFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("longspan-case-file-{}", getpid());
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "case.h5";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void expect_refused(ErrorKind kind, const std::string& part) {
    try {
      read_attention_case(path_);
      ADD_FAILURE() << "read without a word, for want of: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos) << error.what();
    }
  }
  void expect_refused(const CaseFileText& text, ErrorKind kind, const std::string& part) {
    write_case(path_, diagonal_case(5), text);
    expect_refused(kind, part);
  }
  void expect_refused(const AttentionCase& c, const std::string& part) {
    write_case(path_, c, {});
    expect_refused(ErrorKind::kData, part);
  }

  std::filesystem::path folder_, path_;
};

TEST_F(CaseFile, ReadsBackWhatWasWritten) {
  const AttentionCase written = diagonal_case(5);
  write_case(path_, written, {.config = "{kind: softmax, causal: true, window: 1, scale: 0.5, sink: false}"});
  const AttentionCase c = read_attention_case(path_);
  EXPECT_EQ(c.problem, written.problem);
  EXPECT_EQ(c.scale, 0.5f);
  EXPECT_EQ(c.value_dim, 3);
  EXPECT_EQ(c.q, written.q);
  EXPECT_EQ(c.dv, written.dv);
  EXPECT_TRUE(c.sink.empty());
}

TEST_F(CaseFile, ScaleIsOneOverTheRootOfTheHeadSizeUnlessGiven) {
  write_case(path_, diagonal_case(2), {});
  EXPECT_FLOAT_EQ(read_attention_case(path_).scale, 0.5f);
}

TEST_F(CaseFile, RefusesWhatIsNoCase) {
  std::ofstream(path_) << "not HDF5";
  expect_refused(ErrorKind::kData, "");
  std::filesystem::remove(path_);
  expect_refused(ErrorKind::kData, "");
  expect_refused({.format = "something-else"}, ErrorKind::kData, "format");
  expect_refused({.version = 2}, ErrorKind::kData, "version 2");
}

TEST_F(CaseFile, OtherOperatorsAreNotBuilt) {
  for (const char* op : {"moba", "nsa", "linear"}) expect_refused({.op = op}, ErrorKind::kUnsupported, op);
}

TEST_F(CaseFile, RefusesConfigsByKey) {
  expect_refused({.config = "{kind: softmax, windw: 1}"}, ErrorKind::kData, "windw");
  expect_refused({.config = "{kind: moba}"}, ErrorKind::kData, "moba");
  expect_refused({.config = "{kind: softmax, causal: perhaps}"}, ErrorKind::kData, "causal");
  expect_refused({.config = "{kind: softmax, causal: false, window: 3}"}, ErrorKind::kData, "window 3");
  expect_refused({.config = "{kind: softmax, sink: true}"}, ErrorKind::kData, "extra/sink");
  expect_refused({.config = "["}, ErrorKind::kData, "YAML");
  expect_refused({.config = "softmax"}, ErrorKind::kData, "map");
}

TEST_F(CaseFile, RefusesDocumentsThatDoNotFitTheTokens) {
  for (const std::vector<std::int64_t>& ends : {std::vector<std::int64_t>{0, 4}, {1, 5}, {0, 3, 2, 5}, {}}) {
    AttentionCase c = diagonal_case(5);
    c.problem.cu_seqlens = ends;
    expect_refused(c, "cu_seqlens");
  }
}

TEST_F(CaseFile, RefusesTensorsOfAnotherShape) {
  AttentionCase c = diagonal_case(5);
  c.dq.resize(4 * 2 * 4);
  expect_refused(c, "dq is of shape [4, 2, 4], not [5, 2, 4]");
}

}  // namespace
}  // namespace longspan
