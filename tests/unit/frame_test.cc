#include "hsm/frame.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/sample_record.h"

namespace strongroom::hsm {
namespace {

KeyRef Ref(std::uint8_t n) {
  KeyRef ref{"serial-" + std::to_string(n), {}, crypto::Suite::kGcm};
  ref.key.fill(n);
  return ref;
}

std::vector<KeyOp> Ops() {
  std::vector<KeyOp> ops;
  ops.emplace_back(WrapOp{Ref(1), *SecretBytes::CopyOf(AsBytes("0123456789abcdef")), Context{{1}, {2}, Bytes(3, 'c')}});
  ops.emplace_back(UnwrapOp{Ref(2), Bytes(60, 7), Context{{2}, {3}, Bytes(4096, 'd')}, Ref(3)});
  ops.emplace_back(RewrapOp{Ref(4), Ref(5), Bytes(104, 9)});
  ops.emplace_back(DataKeyOp{Ref(6), 64, Context{}, true});
  ops.emplace_back(ReleaseOp{Ref(7), "there", Bytes(96, 8)});
  ops.emplace_back(AdmitOp{Ref(8), *SecretBytes::CopyOf(AsBytes("0123456789abcdef")), crypto::Sha256(AsBytes("f"))});
  return ops;
}

ByteView WithoutLength(const Frame& frame) { return frame.bytes().subspan(4); }

TEST(Frame, ExecuteComesBack) {
  const auto ops = Ops();
  const auto frame = EncodeExecute(77, ops);
  const auto request = DecodeRequest(WithoutLength(frame));
  ASSERT_TRUE(request) << request.error().Line();
  EXPECT_EQ(request->id, 77U);
  EXPECT_EQ(EncodeRequest(*request), frame);
}

TEST(Frame, GenerateAndAnswersComeBack) {
  const auto frame = EncodeRequest(
      {5, GenerateRequest{{"text", {{"custodian-1", crypto::Verdict::kApprove, "sig"}}, "roster"}, {Ref(9), "label"}}});
  const auto request = DecodeRequest(WithoutLength(frame));
  ASSERT_TRUE(request);
  EXPECT_EQ(EncodeRequest(*request), frame);

  ExecuteResponse results;
  results.emplace_back(KeyOpOutput{Bytes(40, 1), *SecretBytes::CopyOf(AsBytes("secret-secret-16"))});
  results.emplace_back(UnwrapFailed());
  const auto answer = EncodeResponse({77, std::move(results)});
  const auto decoded = DecodeResponse(WithoutLength(answer));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(EncodeResponse(*decoded), answer);
  EXPECT_EQ(std::get<ExecuteResponse>(decoded->body)[1].error().code, Code::kUnwrapFailed);
}

TEST(Frame, LedgerRecordAndItsChangesComeBack) {
  const auto change =
      EncodeRequest({6, ChangeRecordRequest{{"text", {{"custodian-1", crypto::Verdict::kApprove, "sig"}}, "roster"}}});
  const auto request = DecodeRequest(WithoutLength(change));
  ASSERT_TRUE(request);
  EXPECT_EQ(EncodeRequest(*request), change);
  const auto record = tests::SampleRecord();
  for (const auto& answer :
       {EncodeResponse({6, RecordResponse{RecordToAdopt{record, AdoptedFrom::kForked}}}),
        EncodeResponse({7, SignResponse{std::vector<CheckpointSignature>{{2, Bytes(70, 1)}, {1, Bytes(71, 2)}}}}),
        EncodeResponse(
            {8, CheckpointKeysResponse{std::vector<CheckpointKey>{{2, Bytes(91, 1), Bytes(91, 2), Bytes(70)}}}}),
        EncodeResponse({9, ChangeRecordResponse{Result<void>(Conflict("stale"))}})}) {
    const auto decoded = DecodeResponse(WithoutLength(answer));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(EncodeResponse(*decoded), answer);
    for (std::size_t n = 0; n + 4 < answer.size(); ++n)
      EXPECT_FALSE(DecodeResponse(WithoutLength(answer).first(n))) << n;
  }
  const auto decoded =
      DecodeResponse(WithoutLength(EncodeResponse({6, RecordResponse{RecordToAdopt{record, AdoptedFrom::kForked}}})));
  const auto& outcome = *std::get<RecordResponse>(decoded->body).outcome;
  EXPECT_EQ(outcome.record, record);
  EXPECT_EQ(outcome.from, AdoptedFrom::kForked);
}

// Does a cut or lengthened frame, or one of an unknown kind, ever pass for a whole one?
TEST(Frame, CutAndUnknownFramesAreRefused) {
  const auto frame = EncodeExecute(77, Ops());
  const auto body = WithoutLength(frame);
  for (std::size_t n = 0; n < body.size(); ++n) EXPECT_FALSE(DecodeRequest(body.first(n))) << n;
  Bytes longer(body.begin(), body.end());
  longer.push_back(0);
  EXPECT_FALSE(DecodeRequest(longer));
  Bytes unknown(body.begin(), body.end());
  unknown[8] = 99;
  EXPECT_FALSE(DecodeRequest(unknown));
  Bytes unknown_op(body.begin(), body.end());
  unknown_op[11] = 9;
  EXPECT_FALSE(DecodeRequest(unknown_op));
}

// Random damage: parse or refuse, never crash; run under the sanitizers this is a small fuzzer.
TEST(Frame, RandomDamageNeverCrashes) {
  std::mt19937 random(20261121);
  const auto frame = EncodeExecute(77, Ops());
  ExecuteResponse results;
  results.emplace_back(KeyOpOutput{Bytes(40, 1), {}});
  const auto answer = EncodeResponse({77, std::move(results)});
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    Bytes request(frame.begin() + 4, frame.end()), response(answer.begin() + 4, answer.end());
    for (int k = 0; k < 3; ++k) {
      request[random() % request.size()] = static_cast<std::uint8_t>(random());
      response[random() % response.size()] = static_cast<std::uint8_t>(random());
    }
    refused += DecodeRequest(request) ? 0 : 1;
    refused += DecodeResponse(response) ? 0 : 1;
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace strongroom::hsm
