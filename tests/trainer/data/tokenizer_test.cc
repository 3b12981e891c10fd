// Tokenizers: text comes back as it went in; what cannot be said is refused by name and place.
#include "trainer/data/tokenizer.h"

#include "tests/trainer/data/scratch.h"
#include "trainer/data/sentencepiece_tokenizer.h"
#include "trainer/io/utf8.h"

namespace longspan {
namespace {

std::vector<std::int32_t> encode(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}

TEST(ByteTokenizer, RoundTripsEveryByte) {
  const auto tokenizer = make_tokenizer("bytes");
  EXPECT_EQ(tokenizer->name(), "bytes");
  EXPECT_EQ(tokenizer->vocab_size(), 259);
  EXPECT_EQ(tokenizer->begin_id(), 256);
  EXPECT_EQ(tokenizer->end_id(), 257);
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text.push_back(static_cast<char>(byte));
  const auto ids = encode(*tokenizer, text);
  ASSERT_EQ(ids.size(), 256u);
  for (std::int32_t byte = 0; byte < 256; ++byte) EXPECT_EQ(ids[static_cast<std::size_t>(byte)], byte);
  EXPECT_EQ(tokenizer->decode(ids), text);
  EXPECT_EQ(encode(*tokenizer, ""), std::vector<std::int32_t>());
  EXPECT_EQ(tokenizer->decode({256, 'a', 258, 'b', 257}), "ab");
}

TEST(ByteTokenizer, RefusesTokensItDoesNotHave) {
  const auto tokenizer = make_tokenizer("bytes");
  for (const std::int32_t id : {-1, 259}) {
    EXPECT_EQ(fault_of(ErrorKind::kData, [&] { tokenizer->decode({id}); }),
              "token " + std::to_string(id) + " is outside the 259 tokens of bytes");
  }
}

TEST(ByteTokenizer, AppendsToWhatIsThere) {
  std::vector<std::int32_t> ids{256};
  make_tokenizer("bytes")->encode("A", ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{256, 65}));
}

TEST(Utf8, FindsTheFirstByteThatIsNot) {
  EXPECT_EQ(first_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("plain, \xC3\xA9, \xE2\x82\xAC, \xF0\x9F\x98\x80, \xF4\x8F\xBF\xBF"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8(std::string_view("a\0b", 3)), std::nullopt);
  const std::pair<std::string, std::size_t> broken[] = {
      {"\x80", 0},              // continuation without a lead
      {"ab\xC3", 2},            // cut
      {"ab\xE2\x82", 2},        // cut
      {"\xC0\xAF", 0},          // overlong
      {"\xE0\x80\xAF", 0},      // overlong
      {"\xF0\x80\x80\xAF", 0},  // overlong
      {"x\xED\xA0\x80", 1},     // surrogate
      {"\xF4\x90\x80\x80", 0},  // above U+10FFFF
      {"\xF5\x80\x80\x80", 0},  // no such lead
      {"\xC3\xA9\xC3(", 2},     // lead without continuation
      {"\xFF", 0},
  };
  for (const auto& [text, offset] : broken)
    EXPECT_EQ(first_invalid_utf8(text), offset) << ::testing::PrintToString(text);
}

class SentencePieceTest : public ScratchTest {
 protected:
  std::string train(const std::string& name, std::int64_t vocab) {
    SplitMix64 random(3);
    int lines = 0;
    const std::vector<std::string> words = {"river", "stone", "caf\xC3\xA9", "long", "text", "42", "walks", "and"};
    train_sentencepiece({.model_path = path(name), .vocab = vocab}, [&](std::string& line) {
      if (++lines > 200) return false;
      line.clear();
      for (int i = 0; i < 12; ++i) line += words[static_cast<std::size_t>(random.below(8))] + " ";
      return true;
    });
    return path(name);
  }
};

TEST_F(SentencePieceTest, TrainsAndRoundTripsAnyText) {
  const auto tokenizer = make_tokenizer(train("a.model", 320));
  EXPECT_EQ(tokenizer->vocab_size(), 320);
  EXPECT_EQ(tokenizer->name(), path("a.model"));
  EXPECT_GE(tokenizer->end_id(), 0);
  for (const std::string& text : {std::string("the river walks"), std::string("  two  blanks \n\n\ttab "),
                                  std::string("\xF0\x9F\x98\x80 unseen \xE2\x82\xAC"), std::string("caf\xC3\xA9"),
                                  std::string("\xEF\xAC\x81 is not fi"), std::string(20000, 'r')}) {
    EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text)), text);
  }
  EXPECT_LT(encode(*tokenizer, "river stone river stone").size(), 12u);
  EXPECT_TRUE(encode(*tokenizer, "").empty());
}

TEST_F(SentencePieceTest, TrainingRepeats) {
  EXPECT_EQ(make_tokenizer(train("a.model", 320))->hash(), make_tokenizer(train("b.model", 320))->hash());
  EXPECT_NE(make_tokenizer(train("a.model", 320))->hash(), make_tokenizer(train("c.model", 310))->hash());
}

TEST_F(SentencePieceTest, InvalidTextNamesTheByte) {
  const auto tokenizer = make_tokenizer(train("a.model", 320));
  EXPECT_EQ(fault_of(ErrorKind::kData, [&] { encode(*tokenizer, "fine \xC3\xA9 \xFFnot"); }),
            "byte 8 of the text is not UTF-8 (0xff); convert it, or use the tokenizer bytes");
  EXPECT_TRUE(contains(fault_of(ErrorKind::kData, [&] { tokenizer->decode({320}); }), "token 320 is outside"));
}

TEST_F(SentencePieceTest, RefusesWhatIsNoModel) {
  EXPECT_EQ(
      fault_of(ErrorKind::kData, [&] { make_tokenizer(path("absent.model")); }),
      path("absent.model") +
          ": cannot read the tokenizer: No such file or directory; give bytes or the path of a SentencePiece model");
  EXPECT_TRUE(contains(fault_of(ErrorKind::kData, [&] { make_tokenizer(path("")); }), "it is a folder"));
  for (const std::string& content : {std::string(), std::string("not a model"), std::string(1000, '\xFF')}) {
    const std::string file = write_text("bad.model", content);
    EXPECT_EQ(fault_of(ErrorKind::kData, [&] { make_tokenizer(file); }),
              file + ": not a SentencePiece model; `longspan data train-tokenizer` writes one");
  }
}

TEST_F(SentencePieceTest, TooLittleTextIsSaidSo) {
  EXPECT_EQ(fault_of(ErrorKind::kData,
                     [&] {
                       train_sentencepiece({.model_path = path("x"), .vocab = 300}, [](std::string&) { return false; });
                     }),
            "no text to train a tokenizer on");
  const std::string fault = fault_of(ErrorKind::kData, [&] { train("huge.model", 50000); });
  EXPECT_TRUE(contains(fault, "cannot train a tokenizer of 50000 pieces: Vocabulary size")) << fault;
  EXPECT_FALSE(std::filesystem::exists(path("huge.model")));
}

TEST_F(SentencePieceTest, ErrorsOfTheReaderPassThrough) {
  const auto fault = fault_of(ErrorKind::kData, [&] {
    int lines = 0;
    train_sentencepiece({.model_path = path("x"), .vocab = 300}, [&](std::string& line) {
      if (++lines == 5) throw Error(ErrorKind::kData, "a.jsonl:5: not JSON");
      line = "some words";
      return true;
    });
  });
  EXPECT_EQ(fault, "a.jsonl:5: not JSON");
}

}  // namespace
}  // namespace longspan
