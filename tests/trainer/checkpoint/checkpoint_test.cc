// Checkpoints: round trip, every way to tear or alter one, which are kept, full disks, errors of the writing thread.
#include "trainer/checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sys/mount.h>
#include <sys/resource.h>

namespace longspan {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFiles = {"COMPLETE", "config.yaml", "state.json", "tensors.h5"};

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "longspan-checkpoint-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Tensors of 6, 1 and 0 elements whose values tell step and place.
  CheckpointState state_at(std::int64_t step) {
    memory_.resize(7);
    std::iota(memory_.begin(), memory_.end(), static_cast<float>(step) + 0.25f);
    CheckpointState state{.step = step,
                          .sequences_consumed = 3 * step,
                          .data_fingerprint = 0xfedcba9876543210u,
                          .config_yaml = "run:\n  name: test\n",
                          .tensors = {}};
    state.tensors.push_back({"weights/model.layers.0.q.weight", {2, 3}, Tensor(memory_.data(), DType::kF32, {6})});
    state.tensors.push_back({"adam_m/norm", {1}, Tensor(memory_.data() + 6, DType::kF32, {1})});
    state.tensors.push_back({"adam_m/nothing", {0}, Tensor(memory_.data(), DType::kF32, {0})});
    return state;
  }
  void save(std::int64_t step, std::int64_t keep = 0) {
    CheckpointWriter writer(folder_, keep, false);
    writer.save(state_at(step));
  }
  std::string path_of(std::int64_t step) const { return fmt::format("{}/step-{:08d}", folder_, step); }
  std::string newest() const {
    return newest_checkpoint(folder_, [](const CheckpointInfo&) {}).value_or("none");
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string folder_;
  std::vector<float> memory_;
};

std::string contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void overwrite(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
}

template <class Body>
std::string message_of(ErrorKind kind, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST_F(CheckpointTest, ReadsBackWhatWasSaved) {
  save(200);
  ASSERT_EQ(newest(), path_of(200));
  const CheckpointState header = read_checkpoint_header(path_of(200));
  EXPECT_EQ(header.step, 200);
  EXPECT_EQ(header.sequences_consumed, 600);
  EXPECT_EQ(header.data_fingerprint, 0xfedcba9876543210u);
  EXPECT_EQ(header.config_yaml, "run:\n  name: test\n");
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<std::int64_t>{2, 3}));

  std::vector<float> read(7, -1.0f);
  read_checkpoint_tensors(path_of(200),
                          {{"adam_m/norm", {1}, Tensor(read.data() + 6, DType::kF32, {1})},
                           {"weights/model.layers.0.q.weight", {2, 3}, Tensor(read.data(), DType::kF32, {6})},
                           {"adam_m/nothing", {0}, Tensor(read.data(), DType::kF32, {0})}});
  EXPECT_EQ(read, memory_);
}

TEST_F(CheckpointTest, NamesTheTensorThatIsMissingOrOfAnotherShape) {
  save(1);
  std::vector<float> read(8);
  const auto read_one = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    read_checkpoint_tensors(path_of(1), {{name, shape, Tensor(read.data(), DType::kF32, {6})}});
  };
  EXPECT_NE(message_of(ErrorKind::kData, [&] { read_one("weights/other", {6}); }).find("weights/other"),
            std::string::npos);
  const std::string message = message_of(ErrorKind::kData, [&] {
    read_one("weights/model.layers.0.q.weight", {3, 2});
  });
  EXPECT_NE(message.find("[2, 3]"), std::string::npos) << message;
}

// One flipped bit anywhere, or the file cut anywhere, makes the checkpoint refused by the name of the file.
TEST_F(CheckpointTest, RefusesEveryFileTornOrAlteredAnywhere) {
  save(1);
  save(2);
  for (const std::string& file : kFiles) {
    const std::string path = path_of(2) + "/" + file;
    const std::string good = contents_of(path);
    const std::size_t stride = std::max<std::size_t>(1, good.size() / 101);
    for (std::size_t at = 0; at < good.size(); at += stride) {
      std::string flipped = good;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
      for (const std::string& bad : {flipped, good.substr(0, at), good + good.substr(0, at + 1)}) {
        overwrite(path, bad);
        const CheckpointInfo info = verify_checkpoint(path_of(2));
        ASSERT_FALSE(info.whole) << file << " byte " << at;
        ASSERT_NE(info.fault.find(file), std::string::npos) << info.fault;
      }
    }
    std::vector<CheckpointInfo> refused;
    EXPECT_EQ(newest_checkpoint(folder_, [&](const CheckpointInfo& info) { refused.push_back(info); }), path_of(1));
    ASSERT_EQ(refused.size(), 1u);
    EXPECT_EQ(refused[0].path, path_of(2));
    fs::remove(path);
    EXPECT_NE(verify_checkpoint(path_of(2)).fault.find(file), std::string::npos);
    overwrite(path, good);
    EXPECT_TRUE(verify_checkpoint(path_of(2)).whole);
  }
}

TEST_F(CheckpointTest, RefusesARenamedFolderAndPassesOverOtherNames) {
  save(1);
  fs::rename(path_of(1), path_of(7));
  fs::create_directory(folder_ + "/step-7");
  fs::create_directory(folder_ + "/step-0000000x");
  fs::create_directory(folder_ + "/notes");
  const auto infos = list_checkpoints(folder_);
  ASSERT_EQ(infos.size(), 1u);
  EXPECT_FALSE(infos[0].whole);
  EXPECT_NE(infos[0].fault.find("step 1"), std::string::npos) << infos[0].fault;
  EXPECT_EQ(newest(), "none");
}

TEST_F(CheckpointTest, ReadingAnAlteredTensorFailsByItsName) {
  save(1);
  const std::string path = path_of(1) + "/tensors.h5";
  std::string contents = contents_of(path);
  const std::size_t at = contents.find(std::string(reinterpret_cast<const char*>(memory_.data()), 24));
  ASSERT_NE(at, std::string::npos);
  contents[at] = static_cast<char>(contents[at] ^ 1);
  overwrite(path, contents);
  std::vector<float> read(6);
  const std::string message = message_of(ErrorKind::kData, [&] {
    read_checkpoint_tensors(path_of(1),
                            {{"weights/model.layers.0.q.weight", {2, 3}, Tensor(read.data(), DType::kF32, {6})}});
  });
  EXPECT_NE(message.find("q.weight is altered"), std::string::npos) << message;
}

TEST_F(CheckpointTest, KeepsTheNewestWholeOnes) {
  save(1);
  save(2);
  save(3);
  overwrite(path_of(3) + "/state.json", "torn");
  save(4, 2);  // 4 and 2 are whole; 3 is not and does not count
  EXPECT_EQ(names(), (std::vector<std::string>{"step-00000002", "step-00000003", "step-00000004"}));
  save(5, 1);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-00000005"}));
}

TEST_F(CheckpointTest, ReplacesARefusedOneOfTheSameStepAndTidiesLeftovers) {
  save(1);
  overwrite(path_of(1) + "/state.json", "torn");
  fs::create_directory(folder_ + "/.step-00000009.partial");
  save(1);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-00000001"}));
  EXPECT_TRUE(verify_checkpoint(path_of(1)).whole);
}

TEST_F(CheckpointTest, SavesTheStateOfTheMomentOfTheCall) {
  CheckpointWriter writer(folder_, 0, true);
  const CheckpointState state = state_at(5);
  const std::vector<float> then = memory_;
  writer.save(state);
  std::fill(memory_.begin(), memory_.end(), -1.0f);
  writer.finish();
  std::vector<float> read(6);
  read_checkpoint_tensors(path_of(5),
                          {{"weights/model.layers.0.q.weight", {2, 3}, Tensor(read.data(), DType::kF32, {6})}});
  EXPECT_TRUE(std::equal(read.begin(), read.end(), then.begin()));
}

TEST_F(CheckpointTest, ErrorsOfTheWritingThreadSurfaceOnce) {
  overwrite(folder_ + "/file", "");
  CheckpointWriter writer(folder_ + "/file/inside", 0, true);
  writer.save(state_at(1));
  const std::string message = message_of(ErrorKind::kEnvironment, [&] { writer.finish(); });
  EXPECT_NE(message.find("step-00000001 was not saved"), std::string::npos) << message;
  writer.finish();
  writer.save(state_at(2));
  EXPECT_THROW(writer.save(state_at(3)), Error);
}

// A state larger than what `limit` lets a file hold.
class FullDisk : public CheckpointTest {
 protected:
  void TearDown() override {
    umount2(folder_.c_str(), MNT_DETACH);  // where a test mounted one
    CheckpointTest::TearDown();
  }
  void expect_clean_refusal(bool async, const std::string& reason) {
    std::vector<float> large(std::size_t{1} << 20, 1.0f);
    CheckpointState state = state_at(2);
    state.tensors.push_back({"weights/large", {1 << 20}, Tensor(large.data(), DType::kF32, {1 << 20})});
    CheckpointWriter writer(folder_, 1, async);
    const std::string message = message_of(ErrorKind::kEnvironment, [&] {
      writer.save(state);
      writer.finish();
    });
    EXPECT_NE(message.find("step-00000002 was not saved"), std::string::npos) << message;
    EXPECT_NE(message.find(reason), std::string::npos) << message;
    EXPECT_EQ(names(), (std::vector<std::string>{"step-00000001"}));
    EXPECT_EQ(newest(), path_of(1));
  }
};

TEST_F(FullDisk, AFileThatMayNotGrowIsRefusedCleanly) {
  save(1);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit low{.rlim_cur = 64 << 10, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &low);
  expect_clean_refusal(false, "File too large");
  expect_clean_refusal(true, "File too large");
  setrlimit(RLIMIT_FSIZE, &before);
  save(3);
  EXPECT_EQ(newest(), path_of(3));
}

TEST_F(FullDisk, AFullFileSystemIsRefusedCleanly) {
  if (mount("none", folder_.c_str(), "tmpfs", 0, "size=512k") != 0) GTEST_SKIP() << "may not mount a tmpfs";
  save(1);
  expect_clean_refusal(false, "No space left");
  expect_clean_refusal(true, "No space left");
  save(3, 1);
  EXPECT_EQ(newest(), path_of(3));
}

}  // namespace
}  // namespace longspan
