// Token files: what is written is read; torn, altered and foreign files are refused with their name.
#include "trainer/data/token_file.h"

#include "tests/trainer/data/scratch.h"
#include "trainer/io/hdf5_file.h"

namespace longspan {
namespace {

namespace fs = std::filesystem;

class TokenFileTest : public ScratchTest {
 protected:
  // A token file with one thing other than it should be.
  struct Odd {
    std::string format = "longspan-tokens";
    std::int64_t version = 1, vocab = 259;
    std::vector<std::int32_t> tokens = {1, 2, 3, 257};
    std::vector<std::int64_t> documents = {0, 2, 4};
    std::string leave_out = {};
  };
  std::string write(const Odd& odd) {
    Hdf5File file = Hdf5File::create(path("odd.h5"));
    const auto kept = [&](const std::string& name) { return odd.leave_out != name; };
    if (kept("format")) file.set_attribute("format", odd.format);
    if (kept("version")) file.set_attribute("version", odd.version);
    if (kept("tokenizer")) file.set_attribute("tokenizer", "bytes");
    if (kept("tokenizer_hash")) file.set_attribute("tokenizer_hash", std::int64_t{1});
    if (kept("content_hash")) file.set_attribute("content_hash", std::int64_t{1});
    if (kept("vocab")) file.set_attribute("vocab", odd.vocab);
    if (kept("tokens")) {
      file.create_dataset("tokens", {Hdf5Type::kInt32, {static_cast<std::int64_t>(odd.tokens.size())}});
      file.write<std::int32_t>("tokens", odd.tokens);
    }
    if (kept("documents")) {
      file.create_dataset("documents", {Hdf5Type::kInt64, {static_cast<std::int64_t>(odd.documents.size())}});
      file.write<std::int64_t>("documents", odd.documents);
    }
    file.close();
    return path("odd.h5");
  }
  std::string fault(const Odd& odd) {
    const std::string file = write(odd);
    const std::string text = fault_of(ErrorKind::kData, [&] { TokenFile open(file); });
    return text.rfind(file + ": ", 0) == 0 ? text.substr(file.size() + 2) : text;
  }
};

TEST_F(TokenFileTest, RoundTrips) {
  Documents documents = made_documents(5000, 300, 7);
  documents[17].clear();  // a tokenizer without an end token makes empty documents
  const TokenFile file(write_tokens("a.h5", documents));
  EXPECT_EQ(file.tokenizer_name(), "bytes");
  EXPECT_EQ(file.tokenizer_hash(), make_tokenizer("bytes")->hash());
  EXPECT_EQ(file.vocab(), 259);
  ASSERT_EQ(file.num_documents(), 5000);
  std::int64_t begin = 0;
  for (std::int64_t d = 0; d < file.num_documents(); ++d) {
    const auto& document = documents[static_cast<std::size_t>(d)];
    ASSERT_EQ(file.document_begin(d), begin);
    ASSERT_EQ(file.document_length(d), static_cast<std::int64_t>(document.size()));
    std::vector<std::int32_t> tokens(document.size());
    file.read(begin, std::span(tokens));
    ASSERT_EQ(tokens, document) << d;
    begin += static_cast<std::int64_t>(document.size());
  }
  EXPECT_EQ(file.num_tokens(), begin);
  file.verify();
}

TEST_F(TokenFileTest, ContentHashTellsContentsNotPieces) {
  const TokenFile a(write_tokens("a.h5", {{1, 2, 3}, {4}})), same(write_tokens("b.h5", {{1, 2, 3}, {4}}));
  EXPECT_EQ(a.content_hash(), same.content_hash());
  EXPECT_NE(a.content_hash(), TokenFile(write_tokens("c.h5", {{1, 2}, {3, 4}})).content_hash());
  EXPECT_NE(a.content_hash(), TokenFile(write_tokens("d.h5", {{1, 2, 3}, {5}})).content_hash());
}

TEST_F(TokenFileTest, NothingIsLeftWhereWritingWasGivenUp) {
  write_tokens("a.h5", {{1, 2, 3}});
  {
    TokenFileWriter writer(path("a.h5"), *make_tokenizer("bytes"));
    writer.add_document(std::vector<std::int32_t>{9, 9});
  }
  EXPECT_EQ(TokenFile(path("a.h5")).num_tokens(), 3);
  TokenFileWriter empty(path("b.h5"), *make_tokenizer("bytes"));
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { empty.finish(); }),
            path("b.h5") + ": not written: the input holds no text");
  { TokenFileWriter moved = std::move(empty); }
  int files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(path(""))) ++files;
  EXPECT_EQ(files, 1);
}

TEST_F(TokenFileTest, RefusesFilesThatAreNone) {
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { TokenFile open(path("absent.h5")); }),
            path("absent.h5") + ": cannot open the file as HDF5: No such file or directory");
  const std::string text = write_text("text.h5", "plain text");
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { TokenFile open(text); }),
            text + ": cannot open the file as HDF5: file signature not found");
  EXPECT_TRUE(contains(fault_of(ErrorKind::kData, [&] { TokenFile open(path("")); }), "cannot open the file as HDF5"));
}

TEST_F(TokenFileTest, RefusesTornFilesAtAnyLength) {
  const std::string whole = write_tokens("whole.h5", made_documents(300, 200, 1));
  const auto size = fs::file_size(whole);
  for (std::uintmax_t keep = 0; keep < size; keep += size / 23 + 1) {
    fs::copy_file(whole, path("torn.h5"), fs::copy_options::overwrite_existing);
    fs::resize_file(path("torn.h5"), keep);
    EXPECT_TRUE(contains(fault_of(ErrorKind::kData, [&] { TokenFile open(path("torn.h5")); }), "torn.h5: "))
        << keep << " of " << size;
  }
}

TEST_F(TokenFileTest, FindsAlteredTokens) {
  const std::string file = write_tokens("a.h5", {std::vector<std::int32_t>(1000, 65)});
  std::fstream raw(file, std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(raw)), {});
  const std::size_t at = bytes.find(std::string("A\0A\0A\0A\0", 8));
  ASSERT_NE(at, std::string::npos);
  raw.seekp(static_cast<std::streamoff>(at + 100));
  raw.put('B');
  raw.close();
  const TokenFile altered(file);
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { altered.verify(); }),
            file + ": the tokens are not those that were written (checksum differs); tokenize the text again");
}

TEST_F(TokenFileTest, SaysWhatIsOdd) {
  EXPECT_EQ(fault({}), "no fault");
  EXPECT_EQ(fault({.format = "other"}),
            "not a token file (format 'other', not 'longspan-tokens'); `longspan data tokenize` writes one");
  EXPECT_EQ(fault({.leave_out = "format"}),
            "not a token file (format '', not 'longspan-tokens'); `longspan data tokenize` writes one");
  EXPECT_EQ(fault({.version = 2}), "token file of version 2; this program reads version 1");
  for (const char* attribute : {"version", "tokenizer", "tokenizer_hash", "content_hash", "vocab"}) {
    EXPECT_EQ(fault({.leave_out = attribute}), std::string("/: has no attribute '") + attribute + "'");
  }
  EXPECT_EQ(fault({.vocab = 0}), "attribute 'vocab' is 0");
  EXPECT_EQ(fault({.leave_out = "tokens"}), "tokens: there is no such dataset in the file");
  EXPECT_EQ(fault({.leave_out = "documents"}), "documents: there is no such dataset in the file");
  EXPECT_EQ(fault({.tokens = {}, .documents = {0}}), "holds no tokens");
  EXPECT_EQ(fault({.tokens = {}, .documents = {}}), "holds no tokens");
  EXPECT_EQ(fault({.documents = {1, 4}}), "documents: begins at 1, not at 0");
  EXPECT_EQ(fault({.documents = {0, 3, 2, 4}}), "documents: offset 2 is 2, below the one before it, 3");
  EXPECT_EQ(fault({.documents = {0, 5}}), "documents: ends at 5, but there are 4 tokens");
  EXPECT_EQ(fault({.documents = {0, 3}}), "documents: ends at 3, but there are 4 tokens");
}

TEST_F(TokenFileTest, TokensOutsideTheVocabularyAreFoundWhenRead) {
  const std::string file = write({.tokens = {1, 2, 300, -4}});
  const TokenFile tokens(file);
  std::vector<std::int32_t> two(2);
  tokens.read(0, std::span(two));
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { tokens.read(2, std::span(two)); }),
            file + ": token 2 is 300, outside the vocabulary of 259");
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { tokens.read(3, std::span(two)); }),
            file + ": tokens: elements 3 to 5 of dimension 0 asked for, which has 4");
}

}  // namespace
}  // namespace longspan
