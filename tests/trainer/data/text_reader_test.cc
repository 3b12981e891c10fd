// TextReader: documents of text files, JSON lines and folders; faults with file and line.
#include "trainer/data/text_reader.h"

#include "tests/trainer/data/scratch.h"

namespace longspan {
namespace {

using Texts = std::vector<std::string>;

class TextReaderTest : public ScratchTest {
 protected:
  static Texts read_all(const Texts& inputs, const TextOptions& options = {}, Texts* origins = nullptr) {
    TextReader reader(inputs, options);
    Texts texts;
    for (std::string text; reader.next(text);) {
      texts.push_back(text);
      if (origins != nullptr) origins->push_back(reader.origin());
    }
    std::string after;
    EXPECT_FALSE(reader.next(after));
    return texts;
  }
};

TEST_F(TextReaderTest, AFileIsADocument) {
  const std::string a = write_text("a.txt", "one\n\ntwo\r\n"), empty = write_text("b.txt", "");
  const std::string binary = write_text("c", std::string("\0x\xFF", 3));
  EXPECT_EQ(read_all({a, empty, binary, a}), (Texts{"one\n\ntwo\r\n", std::string("\0x\xFF", 3), "one\n\ntwo\r\n"}));
}

TEST_F(TextReaderTest, BlankLinesPartDocuments) {
  const std::string file = write_text("a.txt", "\n \none\ntwo\n\n\r\n\t\nthree\r\n\nlast without end");
  Texts origins;
  EXPECT_EQ(read_all({file}, {.separator = ""}, &origins), (Texts{"one\ntwo\n", "three\r\n", "last without end"}));
  EXPECT_EQ(origins, (Texts{file + ":3", file + ":8", file + ":10"}));
}

TEST_F(TextReaderTest, ALinePartsDocuments) {
  const std::string file = write_text("a.txt", "<end>\none\n\ntwo\n<end>\r\n<end>\n <end>\nthree\n<end>");
  EXPECT_EQ(read_all({file}, {.separator = "<end>"}), (Texts{"one\n\ntwo\n", " <end>\nthree\n"}));
}

TEST_F(TextReaderTest, JsonLines) {
  const std::string file = write_text(
      "a.jsonl", "{\"text\": \"one\\nline \\u00e9\", \"id\": 1}\n\n  \r\n{\"text\": \"\"}\n{\"text\":\"two\"}");
  Texts origins;
  EXPECT_EQ(read_all({file}, {}, &origins), (Texts{"one\nline \xC3\xA9", "two"}));
  EXPECT_EQ(origins, (Texts{file + ":1", file + ":5"}));
}

TEST_F(TextReaderTest, FaultyJsonNamesTheLine) {
  const auto fault = [&](const std::string& line) {
    const std::string file = write_text("b.jsonl", "{\"text\": \"fine\"}\n" + line + "\n");
    const std::string text = fault_of(ErrorKind::kData, [&] { read_all({file}); });
    return text.rfind(file, 0) == 0 ? text.substr(file.size()) : text;
  };
  EXPECT_TRUE(contains(fault("{\"text\": "), ":2: not JSON: parse error")) << fault("{\"text\": ");
  EXPECT_TRUE(contains(fault("{\"text\": \"\xFF\"}"), ":2: not JSON: "));
  EXPECT_EQ(fault("[]"), ":2: expected an object with a string under \"text\"");
  EXPECT_EQ(fault("{\"txt\": \"a\"}"), ":2: expected an object with a string under \"text\"");
  EXPECT_EQ(fault("{\"text\": 7}"), ":2: expected an object with a string under \"text\"");
}

TEST_F(TextReaderTest, FoldersAreSortedAndHiddenFilesLeftOut) {
  write_text("f/b.txt", "b");
  write_text("f/a/z.txt", "az");
  write_text("f/a/c.jsonl", "{\"text\": \"ac\"}\n");
  write_text("f/.hidden", "no");
  write_text("f/.git/x", "no");
  EXPECT_EQ(read_all({path("f")}), (Texts{"ac", "az", "b"}));
}

TEST_F(TextReaderTest, CountsBytes) {
  const std::string a = write_text("a.txt", std::string(100, 'a')), b = write_text("b.jsonl", "{\"text\": \"x\"}\n");
  TextReader reader({a, b}, {});
  EXPECT_EQ(reader.bytes_total(), 114);
  for (std::string text; reader.next(text);) {
  }
  EXPECT_EQ(reader.bytes_read(), 114);
}

TEST_F(TextReaderTest, MissingInputsAreNamed) {
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { TextReader({path("absent")}, {}); }),
            path("absent") + ": there is no such file or folder");
  std::filesystem::create_directories(path("empty"));
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { TextReader({path("empty")}, {}); }),
            path("empty") + ": the folder holds no files");
}

}  // namespace
}  // namespace longspan
