// Plan files: what is written is what is read, in the same bytes every time; what is wrong is named by its field.
#include <gtest/gtest.h>

#include "parallel/context/plan_json.h"
#include "tests/parallel/context_cases.h"

namespace longspan {
namespace {

TEST(ContextPlanJson, ReadsWhatItWrites) {
  for (const ContextPlanner* planner : context_planners())
    for (const ContextProblem& problem : context_cases::small_problems())
      for (const int ranks : {1, 2, 4, 5}) {
        if (context_cases::refuses(*planner, problem, ranks)) continue;
        const ContextPlan plan = planner->plan(problem, ranks);
        const std::string text = to_json(plan);
        const ContextPlan read = context_plan_from_json(text);
        ASSERT_EQ(read, plan) << text;
        ASSERT_EQ(to_json(read), text);
      }
}

TEST(ContextPlanJson, WritesTheDocumentedFields) {
  const std::string text = to_json(make_context_plan("striped", {{0, 3}, 2, 1, true, 0}, 2));
  EXPECT_EQ(text, R"({
  "format": "longspan-context-plan", "version": 1,
  "scheme": "striped", "ranks": 2, "heads": 2, "kv_heads": 1,
  "causal": true, "window": 0, "cu_seqlens": [0, 3],
  "home": [
    [{"first": 0, "stride": 2, "count": 2}],
    [{"first": 1, "stride": 2, "count": 1}]
  ],
  "forward": {
    "transfers": [
      {"kind": "kv", "from": 1, "to": 0, "step": 0, "range": [1, 0, 1], "heads": [0, 1]},
      {"kind": "kv", "from": 0, "to": 1, "step": 0, "range": [0, 0, 1], "heads": [0, 1]}
    ],
    "tasks": [
      {"rank": 0, "step": 0, "q": [0, 0, 2], "kv": [0, 0, 2], "heads": [0, 2], "band": [null, 0]},
      {"rank": 1, "step": 0, "q": [1, 0, 1], "kv": [1, 0, 1], "heads": [0, 2], "band": [null, null]},
      {"rank": 0, "step": 1, "q": [0, 1, 2], "kv": [1, 0, 1], "heads": [0, 2], "band": [null, null]},
      {"rank": 1, "step": 1, "q": [1, 0, 1], "kv": [0, 0, 1], "heads": [0, 2], "band": [null, null]}
    ]
  },
  "backward": {
    "transfers": [
      {"kind": "kv", "from": 1, "to": 0, "step": 0, "range": [1, 0, 1], "heads": [0, 1]},
      {"kind": "kv", "from": 0, "to": 1, "step": 0, "range": [0, 0, 1], "heads": [0, 1]},
      {"kind": "dkv", "from": 0, "to": 1, "step": 1, "range": [1, 0, 1], "heads": [0, 1]},
      {"kind": "dkv", "from": 1, "to": 0, "step": 1, "range": [0, 0, 1], "heads": [0, 1]}
    ],
    "tasks": [
      {"rank": 0, "step": 0, "q": [0, 0, 2], "kv": [0, 0, 2], "heads": [0, 2], "band": [null, 0]},
      {"rank": 1, "step": 0, "q": [1, 0, 1], "kv": [1, 0, 1], "heads": [0, 2], "band": [null, null]},
      {"rank": 0, "step": 1, "q": [0, 1, 2], "kv": [1, 0, 1], "heads": [0, 2], "band": [null, null]},
      {"rank": 1, "step": 1, "q": [1, 0, 1], "kv": [0, 0, 1], "heads": [0, 2], "band": [null, null]}
    ]
  }
}
)");
}

TEST(ContextPlanJson, ToleratesWhatItDoesNotKnow) {
  const ContextPlan plan = context_plan_from_json(R"({"format": "longspan-context-plan", "version": 1, "note": [1],
    "ranks": 1, "heads": 1, "kv_heads": 1, "cu_seqlens": [0, 2], "home": [[{"first": 0, "stride": 1, "count": 2}]],
    "forward": {"transfers": [], "tasks": [{"rank": 0, "step": 0, "q": [0, 0, 2], "kv": [0, 0, 2], "heads": [0, 1]}]},
    "backward": {"transfers": [], "tasks": []}})");
  EXPECT_TRUE(plan.problem.causal);
  EXPECT_EQ(plan.problem.window, 0);
  EXPECT_EQ(plan.forward.tasks.front().band, Band{});
}

std::string message_of(const std::string& text) {
  try {
    context_plan_from_json(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "no error";
}

TEST(ContextPlanJson, NamesTheFieldThatIsWrong) {
  const std::string right = to_json(make_context_plan("ring", {{0, 8}, 2, 1, true, 0}, 2));
  const auto expect = [&](std::string_view from, std::string_view to, std::string_view words) {
    std::string text = right;
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    const std::string message = message_of(text.replace(at, from.size(), to));
    EXPECT_NE(message.find(words), std::string::npos) << message;
  };
  expect("\"version\": 1", "\"version\": 2", "version is 2, expected 1");
  expect("longspan-context-plan", "other", "format is \"other\"");
  expect("\"ranks\": 2", "\"ranks\": 2.5", "ranks is 2.5, expected an integer");
  expect("\"ranks\": 2", "\"ranks\": 99999999999", "ranks is 99999999999");
  expect("\"ranks\": 2,", "", "ranks is missing");
  expect("\"heads\": 2", "\"heads\": 18446744073709551615", "at most 61 bits");
  expect("[0, 8]", "[0, \"8\"]", "cu_seqlens[1] is \"8\"");
  expect("\"causal\": true", "\"causal\": 1", "causal is 1, expected true or false");
  expect("\"stride\": 1", "\"stride\": null", "home[0][0].stride is null");
  expect("\"kind\": \"kv\"", "\"kind\": \"vk\"", "forward.transfers[0].kind is \"vk\"");
  expect("\"range\": [0, 0, 4]", "\"range\": [0, 0]",
         "forward.transfers[0].range is [0,0], expected [owner, begin, end]");
  expect("\"band\": [null, 0]", "\"band\": 0", "forward.tasks[0].band is 0");
  expect("\"backward\"", "\"backwards\"", "backward is missing");
  EXPECT_NE(message_of(right.substr(0, 100)).find("not JSON"), std::string::npos);
  EXPECT_NE(message_of("[]").find("no object"), std::string::npos);
  EXPECT_NE(message_of("").find("not JSON"), std::string::npos);
}

}  // namespace
}  // namespace longspan
