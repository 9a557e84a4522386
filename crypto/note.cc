#include "crypto/note.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "crypto/base/freer.h"
#include "crypto/text_rules.h"

namespace strongroom::crypto {
namespace {

constexpr std::uint8_t kTypeEd25519 = 1;
constexpr std::uint8_t kTypeEcdsa = 2;
constexpr std::string_view kDash = "\xE2\x80\x94 ";  // an em dash and a blank
std::string ToBase64(ByteView bytes) { return EncodeBase64(bytes, Base64::kStandardPadded); }
std::optional<Bytes> FromBase64Text(std::string_view text) { return DecodeBase64(text, Base64::kStandardPadded); }

constexpr std::size_t kMaxNote = std::size_t{1} << 20;
constexpr std::size_t kMaxSignatures = 100;

using EvpKey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;

std::uint32_t IdOf(const Digest& digest) {
  return static_cast<std::uint32_t>(digest[0]) << 24 | static_cast<std::uint32_t>(digest[1]) << 16 |
         static_cast<std::uint32_t>(digest[2]) << 8 | digest[3];
}

std::uint32_t KeyIdOf(std::string_view name, std::uint8_t type, ByteView key) {
  if (type == kTypeEcdsa) return IdOf(Sha256(key));
  const std::array<std::uint8_t, 2> separator = {'\n', type};
  return IdOf(Sha256({AsBytes(name), separator, key}));
}

bool IsKeyName(std::string_view name) {
  if (name.empty() || name.find('+') != std::string_view::npos || !IsUtf8(name)) return false;
  return std::none_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20; });
}

EvpKey LoadKey(std::uint8_t type, ByteView key) {
  if (type == kTypeEd25519 && key.size() == 32)
    return EvpKey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()));
  if (type != kTypeEcdsa) return nullptr;
  const auto* at = key.data();
  EvpKey loaded(d2i_PUBKEY(nullptr, &at, static_cast<long>(key.size())));
  std::array<char, 32> group{};
  std::size_t size = 0;
  const bool p256 = loaded && at == key.data() + key.size() && EVP_PKEY_is_a(loaded.get(), "EC") == 1 &&
                    EVP_PKEY_get_group_name(loaded.get(), group.data(), group.size(), &size) == 1 &&
                    std::string_view(group.data(), size) == "prime256v1";
  ERR_clear_error();
  return p256 ? std::move(loaded) : nullptr;
}

std::string Hex32(std::uint32_t id) {
  std::array<std::uint8_t, 4> bytes{};
  for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(id >> (24 - 8 * i));
  return ToHex(bytes);
}

Error Broken(const std::string& what) { return Invalid("not a signed note: " + what, "malformed-note"); }

struct SignatureLine {
  std::string_view name;
  std::uint32_t id = 0;
  Bytes signature;
};

Result<SignatureLine> ParseSignatureLine(std::string_view line) {
  if (!line.starts_with(kDash)) return Broken("a signature line does not begin with a dash");
  line.remove_prefix(kDash.size());
  const auto blank = line.find(' ');
  if (blank == std::string_view::npos || !IsKeyName(line.substr(0, blank))) return Broken("a signature has no name");
  auto bytes = FromBase64Text(line.substr(blank + 1));
  if (!bytes || bytes->size() < 5) return Broken("a signature is not base64 of a key id and more");
  SignatureLine out{line.substr(0, blank), 0, {}};
  for (std::size_t i = 0; i < 4; ++i) out.id = out.id << 8 | (*bytes)[i];
  out.signature.assign(bytes->begin() + 4, bytes->end());
  return out;
}

}  // namespace

Result<NoteKey> NoteKey::Parse(std::string_view vkey) {
  const auto first = vkey.find('+');
  const auto second = first == std::string_view::npos ? first : vkey.find('+', first + 1);
  const auto wrong = [] { return Invalid("not a verifier key: NAME+ID+BASE64", "bad-vkey"); };
  if (second == std::string_view::npos || second - first != 9) return wrong();
  NoteKey key;
  key.name_ = vkey.substr(0, first);
  const auto id = FromHex(vkey.substr(first + 1, 8));
  const auto material = FromBase64Text(vkey.substr(second + 1));
  if (!IsKeyName(key.name_) || !id || !material || material->size() < 2) return wrong();
  key.type_ = material->front();
  key.key_.assign(material->begin() + 1, material->end());
  key.id_ = KeyIdOf(key.name_, key.type_, key.key_);
  if (Hex32(key.id_) != ToHex(*id) || !LoadKey(key.type_, key.key_)) return wrong();
  return key;
}

Result<NoteKey> NoteKey::FromEcdsa(std::string name, ByteView spki) {
  NoteKey key;
  key.name_ = std::move(name);
  key.type_ = kTypeEcdsa;
  key.key_.assign(spki.begin(), spki.end());
  key.id_ = KeyIdOf(key.name_, key.type_, key.key_);
  if (!IsKeyName(key.name_) || !LoadKey(kTypeEcdsa, spki)) return Invalid("not a P-256 key with a name", "bad-vkey");
  return key;
}

std::string NoteKey::Text() const {
  Bytes material = {type_};
  Append(material, key_);
  return name_ + "+" + Hex32(id_) + "+" + ToBase64(material);
}

bool NoteKey::Verify(std::string_view text, ByteView signature) const {
  const auto key = LoadKey(type_, key_);
  const std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  const auto* md = type_ == kTypeEcdsa ? EVP_sha256() : nullptr;
  const auto bytes = AsBytes(text);
  const bool good =
      key && context && EVP_DigestVerifyInit(context.get(), nullptr, md, nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), bytes.data(), bytes.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<Note> OpenNote(std::string_view note, std::span<const NoteKey> keys) {
  if (note.size() > kMaxNote) return Broken("longer than 1 MiB");
  if (!IsUtf8(note)) return Broken("not UTF-8");
  for (const char c : note)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n') return Broken("a control character");
  const auto split = note.rfind("\n\n");
  if (split == std::string_view::npos || !note.ends_with('\n') || split + 2 >= note.size())
    return Broken("no empty line before signatures, or no line end behind them");
  Note out{std::string(note.substr(0, split + 1)), {}};
  const auto lines = SplitWords(note.substr(split + 2, note.size() - split - 3), '\n');
  if (lines.size() > kMaxSignatures) return Broken("more than 100 signatures");
  std::vector<const NoteKey*> seen;
  for (const auto line : lines) {
    TRY_ASSIGN(const auto signature, ParseSignatureLine(line));
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const NoteKey& k) {
      return k.name() == signature.name && k.id() == signature.id;
    });
    if (key == keys.end() || std::find(seen.begin(), seen.end(), &*key) != seen.end()) continue;
    seen.push_back(&*key);
    if (!key->Verify(out.text, signature.signature))
      return Integrity("the signature by " + key->name() + " does not fit the note", "bad-note-signature");
    out.verified.push_back(key->name());
  }
  if (out.verified.empty()) return Integrity("no known key has signed the note", "unverified-note");
  return out;
}

std::string NoteSignatureLine(const NoteKey& key, ByteView signature) {
  Bytes bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(key.id() >> shift));
  Append(bytes, signature);
  return std::string(kDash) + key.name() + " " + ToBase64(bytes) + "\n";
}

std::string SealNote(std::string_view text, std::span<const std::string> signature_lines) {
  std::string note(text);
  note += "\n";
  for (const auto& line : signature_lines) note += line;
  return note;
}

Result<Bytes> EcdsaDer(ByteView raw) {
  if (raw.size() != 64) return Integrity("the token's signature is not 64 bytes");
  const std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>> signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(raw.data(), 32, nullptr);
  BIGNUM* s = BN_bin2bn(raw.data() + 32, 32, nullptr);
  if (!signature || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return Io("no memory for a signature");
  }
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return Io("no memory for a signature");
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

std::string Checkpoint::Text() const {
  std::string text = origin + "\n" + std::to_string(size) + "\n" + ToBase64(root) + "\n";
  for (const auto& line : extensions) text += line + "\n";
  return text;
}

Result<Checkpoint> Checkpoint::Parse(std::string_view text) {
  const auto wrong = [](const char* what) {
    return Invalid(std::string("not a checkpoint: ") + what, "malformed-checkpoint");
  };
  if (!text.ends_with('\n')) return wrong("no line end at its end");
  const auto lines = SplitWords(text.substr(0, text.size() - 1), '\n');
  if (lines.size() < 3) return wrong("origin, size and root are three lines");
  Checkpoint out;
  out.origin = lines[0];
  if (out.origin.empty()) return wrong("no origin");
  const auto size = ParseNumber(lines[1]);
  if (!size) return wrong("its size is not a number");
  out.size = *size;
  const auto root = FromBase64Text(lines[2]);
  if (!root || root->size() != out.root.size()) return wrong("its root is not base64 of 32 bytes");
  std::copy(root->begin(), root->end(), out.root.begin());
  for (std::size_t i = 3; i < lines.size(); ++i) {
    if (lines[i].empty()) return wrong("an empty line");
    out.extensions.emplace_back(lines[i]);
  }
  return out;
}

}  // namespace strongroom::crypto
