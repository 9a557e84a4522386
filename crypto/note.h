#pragma once
// C2SP signed notes (c2sp.org/signed-note) and checkpoints (c2sp.org/tlog-checkpoint).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/digest.h"

namespace strongroom::crypto {

/// NoteKey is a verifier key: "<name>+<key id, 8 hex digits>+<base64 of type and key>". Types: 1 Ed25519 (32 bytes),
/// 2 ECDSA P-256 over SHA-256 (SubjectPublicKeyInfo, DER).
class NoteKey {
 public:
  /// Parse refuses an id that is not the key's. kInvalid.
  static Result<NoteKey> Parse(std::string_view vkey);
  /// FromEcdsa makes the verifier key of a P-256 key. kInvalid when `spki` is no P-256 key or `name` has a blank or
  /// '+'.
  static Result<NoteKey> FromEcdsa(std::string name, ByteView spki);

  const std::string& name() const { return name_; }
  std::uint32_t id() const { return id_; }
  std::string Text() const;
  /// Verify checks a raw signature (without the key id) over a note's text.
  bool Verify(std::string_view text, ByteView signature) const;
  bool operator==(const NoteKey&) const = default;

 private:
  std::string name_;
  std::uint32_t id_ = 0;
  std::uint8_t type_ = 0;
  Bytes key_;
};

/// Note is a text with signatures that have been verified.
struct Note {
  std::string text;
  std::vector<std::string> verified;  // names of the keys, in the order of their lines
};

/// OpenNote parses a note and verifies it. Signatures by keys that are not among `keys` are passed over; one by a known
/// key that does not verify fails the whole note, and so does a note that no known key has signed. kIntegrity, with
/// what was wrong; kInvalid for what is no note at all.
Result<Note> OpenNote(std::string_view note, std::span<const NoteKey> keys);

/// NoteSignatureLine formats one signature; SealNote joins a text (that ends in a line end) and such lines.
std::string NoteSignatureLine(const NoteKey& key, ByteView signature);
std::string SealNote(std::string_view text, std::span<const std::string> signature_lines);

/// EcdsaDer turns the raw r || s of 64 bytes that a PKCS#11 token yields into the DER form of signed notes.
Result<Bytes> EcdsaDer(ByteView raw);

/// Checkpoint is the head of a log.
struct Checkpoint {
  std::string origin;
  std::uint64_t size = 0;
  Digest root{};
  std::vector<std::string> extensions;
  std::string Text() const;
  /// Parse takes a note's text. kInvalid when it is not a checkpoint of a 32-byte root.
  static Result<Checkpoint> Parse(std::string_view text);
  bool operator==(const Checkpoint&) const = default;
};

}  // namespace strongroom::crypto
