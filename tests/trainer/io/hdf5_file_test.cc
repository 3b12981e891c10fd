// Hdf5File: what is written is read back; every fault is an Error(kData) naming file and object, and nothing prints.
#include "trainer/io/hdf5_file.h"

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include "kernels/core/error.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

class Hdf5FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / ("longspan-io-" + std::string(test->name()) + "-" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path folder_;
};

std::string fault_of(const std::function<void()>& body) {
  ::testing::internal::CaptureStderr();
  std::string message = "no fault";
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    message = error.what();
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "HDF5 printed";
  return message;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <class T>
std::vector<T> iota_of(std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), T{0});
  return values;
}

TEST_F(Hdf5FileTest, RoundTripsAttributesDatasetsAndGroups) {
  const std::vector<float> matrix = iota_of<float>(3 * 5);
  const double scalar = 2.5;
  {
    Hdf5File file = Hdf5File::create(path("a.h5"));
    file.set_attribute("format", "text with \xC3\xA9 and\nlines");
    file.set_attribute("empty", "");
    file.set_attribute("number", std::int64_t{-1234567890123});
    file.set_attribute("number", std::int64_t{-1234567890124});  // replaces
    file.create_dataset("deep/er/matrix", {Hdf5Type::kFloat32, {3, 5}});
    file.write<float>("deep/er/matrix", matrix);
    file.set_attribute("rank", std::int64_t{7}, "deep/er/matrix");
    file.create_dataset("scalar", {Hdf5Type::kFloat64, {}});
    file.write<double>("scalar", std::span(&scalar, 1));
    file.create_dataset("nothing", {Hdf5Type::kInt64, {0, 4}});
    file.write<std::int64_t>("nothing", {});
    file.close();
  }
  const Hdf5File file = Hdf5File::open(path("a.h5"));
  EXPECT_EQ(file.string_attribute("format"), "text with \xC3\xA9 and\nlines");
  EXPECT_EQ(file.string_attribute("empty"), "");
  EXPECT_EQ(file.int64_attribute("number"), -1234567890124);
  EXPECT_EQ(file.int64_attribute("rank", "deep/er/matrix"), 7);
  EXPECT_TRUE(file.has_attribute("number"));
  EXPECT_FALSE(file.has_attribute("absent"));
  EXPECT_FALSE(file.has_attribute("rank", "absent"));
  EXPECT_TRUE(file.has_dataset("deep/er/matrix"));
  EXPECT_FALSE(file.has_dataset("deep/er"));
  EXPECT_FALSE(file.has_dataset("no/such/matrix"));
  EXPECT_EQ(file.dataset_names(), (std::vector<std::string>{"deep/er/matrix", "nothing", "scalar"}));
  EXPECT_EQ(file.dataset("deep/er/matrix").shape, (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(file.dataset("scalar").num_elements(), 1);
  EXPECT_EQ(file.dataset("nothing").num_elements(), 0);
  std::vector<float> whole(15);
  file.read<float>("deep/er/matrix", std::span(whole));
  EXPECT_EQ(whole, matrix);
  std::vector<double> part(4);
  file.read<double>("deep/er/matrix", {{1, 2}, {2, 2}}, std::span(part));
  EXPECT_EQ(part, (std::vector<double>{7, 8, 12, 13}));
}

TEST_F(Hdf5FileTest, WritesSlabsOfLargeDatasets) {
  Hdf5File file = Hdf5File::create(path("slabs.h5"));
  file.create_dataset("x", {Hdf5Type::kInt32, {1009}});
  const auto values = iota_of<std::int32_t>(1009);
  for (std::int64_t first = 0; first < 1009; first += 100) {
    const std::int64_t count = std::min<std::int64_t>(100, 1009 - first);
    file.write<std::int32_t>(
        "x", {{first}, {count}},
        std::span(values).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
  }
  file.close();
  std::vector<std::int32_t> back(1009);
  Hdf5File::open(path("slabs.h5")).read<std::int32_t>("x", std::span(back));
  EXPECT_EQ(back, values);
}

TEST_F(Hdf5FileTest, GrowsAndConvertsTypes) {
  Hdf5File file = Hdf5File::create(path("grow.h5"));
  file.create_growing_dataset("tokens", Hdf5Type::kUint16, 64);
  const auto values = iota_of<std::int32_t>(1000);
  for (std::size_t at = 0; at < values.size(); at += 125) {
    file.append<std::int32_t>("tokens", std::span(values).subspan(at, 125));
  }
  file.append<std::int32_t>("tokens", {});
  file.close();
  const Hdf5File back = Hdf5File::open(path("grow.h5"));
  EXPECT_EQ(back.dataset("tokens").type, Hdf5Type::kUint16);
  std::vector<std::int64_t> read(1000);
  back.read<std::int64_t>("tokens", std::span(read));
  EXPECT_EQ(read, iota_of<std::int64_t>(1000));
}

TEST_F(Hdf5FileTest, FaultsNameFileAndObject) {
  EXPECT_EQ(fault_of([&] { Hdf5File::open("/no/such/file.h5"); }),
            "/no/such/file.h5: cannot open the file as HDF5: No such file or directory");
  EXPECT_EQ(fault_of([&] { Hdf5File::create("/no/such/file.h5"); }),
            "/no/such/file.h5: cannot create the file: No such file or directory");
  std::ofstream(path("text.h5")) << "not HDF5 at all, only text";
  EXPECT_EQ(fault_of([&] { Hdf5File::open(path("text.h5")); }),
            path("text.h5") + ": cannot open the file as HDF5: file signature not found");
  std::ofstream(path("zero.h5")).flush();
  EXPECT_TRUE(contains(fault_of([&] { Hdf5File::open(path("zero.h5")); }), "zero.h5: cannot open the file as HDF5: "));

  Hdf5File file = Hdf5File::create(path("b.h5"));
  file.create_dataset("x", {Hdf5Type::kInt32, {10}});
  file.set_attribute("text", "t");
  file.set_attribute("number", std::int64_t{1});
  std::vector<std::int32_t> nine(9);
  EXPECT_EQ(fault_of([&] { file.read<std::int32_t>("y", std::span(nine)); }),
            path("b.h5") + ": y: there is no such dataset in the file");
  EXPECT_EQ(fault_of([&] { file.read<std::int32_t>("x", std::span(nine)); }),
            path("b.h5") + ": x: holds 10 elements where 9 were expected");
  EXPECT_EQ(fault_of([&] {
              file.read<std::int32_t>("x", {{2}, {9}}, std::span(nine));
            }),
            path("b.h5") + ": x: elements 2 to 11 of dimension 0 asked for, which has 10");
  EXPECT_EQ(fault_of([&] { file.string_attribute("absent"); }), path("b.h5") + ": /: has no attribute 'absent'");
  EXPECT_EQ(fault_of([&] { file.int64_attribute("text"); }), path("b.h5") + ": /: attribute 'text' is not an integer");
  EXPECT_EQ(fault_of([&] { file.string_attribute("number"); }),
            path("b.h5") + ": /: attribute 'number' is not a string");
  EXPECT_TRUE(contains(fault_of([&] {
                         file.create_dataset("x", {Hdf5Type::kInt32, {1}});
                       }),
                       "b.h5: x: cannot create the dataset: "));
}

TEST_F(Hdf5FileTest, TruncatedFilesAreRefusedOrReadFails) {
  {
    Hdf5File file = Hdf5File::create(path("whole.h5"));
    file.create_dataset("x", {Hdf5Type::kInt64, {4096}});
    const auto values = iota_of<std::int64_t>(4096);
    file.write<std::int64_t>("x", values);
    file.close();
  }
  const auto size = fs::file_size(path("whole.h5"));
  for (const std::uintmax_t keep : {std::uintmax_t{1}, std::uintmax_t{95}, size / 4, size / 2, size - 1}) {
    fs::copy_file(path("whole.h5"), path("torn.h5"), fs::copy_options::overwrite_existing);
    fs::resize_file(path("torn.h5"), keep);
    EXPECT_TRUE(contains(fault_of([&] { Hdf5File::open(path("torn.h5")); }), "torn.h5: cannot open the file as HDF5: "))
        << keep;
  }
}

// A file-size limit stands for a full disk: both make write() fail.
TEST_F(Hdf5FileTest, FullDiskIsAnErrorNotSilence) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 64 * 1024;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto values = iota_of<std::int64_t>(1 << 16);
  const std::string large = fault_of([&] {
    Hdf5File file = Hdf5File::create(path("large.h5"));
    file.create_growing_dataset("x", Hdf5Type::kInt64, 1024);
    file.append<std::int64_t>("x", values);
    file.close();
  });
  small.rlim_cur = 1024;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string at_close = fault_of([&] {
    Hdf5File file = Hdf5File::create(path("small.h5"));
    file.create_growing_dataset("x", Hdf5Type::kInt64, 1024);
    file.append<std::int64_t>("x", std::span(values).first(1024));
    file.close();
  });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(contains(large, "large.h5")) << large;
  EXPECT_TRUE(contains(large, "File too large")) << large;
  EXPECT_TRUE(contains(at_close, "small.h5")) << at_close;
  EXPECT_TRUE(contains(at_close, "File too large")) << at_close;
  // The library stays usable.
  Hdf5File file = Hdf5File::create(path("after.h5"));
  file.create_dataset("x", {Hdf5Type::kInt64, {1 << 16}});
  file.write<std::int64_t>("x", values);
  file.close();
}

TEST_F(Hdf5FileTest, ThreadsMayWorkOnTheirOwnFiles) {
  std::vector<std::thread> threads;
  std::vector<int> good(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string mine = path("t" + std::to_string(t) + ".h5");
      for (int round = 0; round < 5; ++round) {
        const std::vector<std::int64_t> values(300, t * 1000 + round);
        Hdf5File file = Hdf5File::create(mine);
        file.create_growing_dataset("x", Hdf5Type::kInt64, 64);
        file.append<std::int64_t>("x", values);
        file.close();
        std::vector<std::int64_t> back(300);
        Hdf5File::open(mine).read<std::int64_t>("x", std::span(back));
        good[static_cast<std::size_t>(t)] += back == values;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, std::vector<int>(4, 5));
}

}  // namespace
}  // namespace longspan
