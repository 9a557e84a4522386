#include "provisioning/next_steps.h"

#include <algorithm>
#include <array>

namespace strongroom::provisioning {
namespace {

struct Step {
  std::string_view slug, text;
};
constexpr auto kSteps = std::to_array<Step>({
    {"unavailable",
     "try again in a moment; if it stays so, see whether the appliance runs (strongroom dev up --dir DIR starts a dev "
     "one)"},
    {"not-operational", "see strongroom status for the check that fails"},
    {"overloaded", "try again in a moment, or send larger batches"},
    {"keyring-not-found", "see strongroom keyring list for what this principal may use"},
    {"operation-not-granted", "ask for it in the keyring's grants"},
    {"role-refused", "use the certificate of a principal whose role may do this (--cert, --key)"},
    {"unknown-principal", "use a certificate whose key is in the roster (--cert, --key)"},
    {"unwrap-failed", "check keyring, AAD and that the text is whole: strongroom inspect TEXT"},
    {"quorum-missing", "let another custodian approve it: strongroom approve ID --key FILE"},
    {"stale", "propose it again: the state it was signed for is gone"},
    {"proposal-expired", "propose it again"},
    {"proposal-not-found", "see strongroom proposal list; what is older: strongroom ledger show"},
    {"vote-exists", "nothing is left to do for this custodian"},
    {"rejected", "a rejection is final: propose again if the reason for it is gone"},
    {"already-executed", "see strongroom proposal show ID for the outcome"},
    {"no-own-kek", "propose keyring.rotate --keyring install"},
    {"uninitialised", "run the first boot: strongroomd --first-boot DIR"},
    {"ledger-full", "free disk space or raise map-gib; strongroom status names the check"},
    {"not-anchored", "it is done; see strongroom status for why the token has not signed it yet"},
    {"not-rolled-back", "nothing is left to do: strongroom status says operational when all is well"},
    {"foreign-instance", "put in this instance's token, or restore a backup of the instance that the token belongs to"},
    {"checkpoint-key-changed", "restore a newer backup, or put the right token back"},
    {"too-many-keys", "restore a newer backup: strongroom restore"},
    {"file-exists", "name a new file"},
    {"roster-not-enforced",
     "restore the newest backup, which has the roster that the token obeys; docs/tokens.md has it for further tokens"},
    {"proof-missing", "she runs: strongroom principal prove NAME --key FILE; give its output as --proof"},
    {"ceremony-stopped", "the transcript says how far it came; what was proposed stands until it is settled"},
    {"not-confirmed", "run it again when the text is what you want to sign"},
    {"concerned-vote", "let another custodian vote"},
    {"clock-back", "set the token host's clock right"},
    {"rollback", "put the newest database back, or adopt this one: strongroom propose ledger.adopt --reason WHY"},
    {"token-lies",
     "use this module for nothing: ask its vendor, with the token host's log; strongroom status names the token"},
    {"too-many-objects", "look at the token with the vendor's tool: objects that are not Strongroom's must go"},
    {"attribute-too-long", "look at the token with the vendor's tool: an object of this label is not Strongroom's"},
    {"key-suite", "report this: the appliance named a KEK with another suite than its own; nothing was done"},
    {"other-keyring", "report this: the appliance asked for a DEK to leave its keyring; nothing was done"},
    {"no-checkpoint-key", "run strongroom-tokend --config FILE --make-checkpoint-key --roster ROSTER"},
    {"token-without-root", "on the token's machine: strongroom-tokend --config FILE --set-root --roster ROSTER"},
    {"root-missing", "on the token's machine: strongroom-tokend --config FILE --set-root --roster ROSTER"},
    {"root-exists", "the root of a token cannot be changed: give the roster that it names, or make another token"},
    {"roots-differ", "somebody has written into the token: take it out of service; see the guide on recovery"},
    {"no-chain", "bring the chain of rosters from the database: strongroom propose ledger.adopt does"},
    {"record-too-small", "the token's objects hold too little: take another token, or another profile"},
    {"root-damaged", "somebody has written into the token: take it out of service; see the guide on recovery"},
    {"record-missing", "propose ledger.adopt; see the guide on recovery"},
    {"record-damaged", "propose ledger.adopt; see the guide on recovery"},
    {"record-newer", "start the newer build that has written the token's record"},
    {"record-too-long", "use the profile of the token that its record was written under"},
    {"record-invalid", "report this: what was asked for makes a record that cannot be; nothing was done"},
    {"record-full", "wait for the next entry's end, cancel a destruction, or take a rotation policy away"},
    {"record-not-confirmed", "ask again in a moment: another token host looks at what was done"},
    {"record-rolled-back", "ask again in a moment: another token host looks at what is there"},
    {"custody-forked", "propose ledger.adopt, which merges the two restrictively; see the guide on recovery"},
    {"custody-superseded", "stop one of the two token sides, then restart the other"},
    {"token-in-use", "stop the other strongroom-tokend; if its machine is gone: strongroom-tokend --take-token"},
    {"token-behind", "propose ledger.adopt; see the guide on recovery"},
    {"destruction-under-way", "nothing: the KEK goes now"},
    {"clock-stepped", "set the clock right, wait for a day, or propose clock.accept"},
    {"log-jumps", "ask for heads in smaller steps; the service does"},
    {"journal-damaged",
     "put the whole file back; or move the one that is named away and run strongroom ledger rebuild --data DIR "
     "--without-journal: the evidence of the last moment before the crash is lost then, and the log says so"},
    {"journal-missing",
     "copy both data.mdb and evidence.journal from where data.mdb comes from; if it is lost: strongroom ledger rebuild "
     "--data DIR "
     "--without-journal"},
    {"ledger-failed", "free disk space, then restart strongroomd"},
    {"already-running", "stop the other one first, or use another directory"},
    {"tls-refused", "use a certificate of the appliance's CA (--cert, --key) and that CA (--ca)"},
    {"not-started", "see log/ in the directory, mend what it says, then run strongroom dev up again"},
    {"file-missing", "nothing was changed; with the file back in its place run strongroom dev up again"},
    {"token-missing", "nothing was changed; with the token back in its place run strongroom dev up again"},
    {"pin-missing", "nothing was changed; with the PIN file back in its place run strongroom dev up again"},
    {"directory-in-use", "name a new folder, or move what is there away first"},
    {"ledger-missing", "name the data directory of an appliance (of a dev appliance: DIR/data)"},
    {"tls-setup", "check that the files named by --ca, --cert and --key are there and readable"},
    {"inventory-differs",
     "take another copy of the backup: this one was changed, or its inventory is another backup's"},
    {"inventory-damaged", "take another copy of the backup"},
    {"inventory-unbound",
     "make a new backup if the appliance still runs; or restore with --unbound-inventory, which takes its wrapped DEKs "
     "unproven and says so in the restored log"},
    {"backup-not-covered", "strongroom status says whether heads can be signed; then make the backup again"},
    {"backup-not-found", "make the backup again: strongroom backup --out FILE"},
    {"certificate-key", "use a certificate with a new key: openssl ecparam -genkey -name prime256v1"},
    {"shared-key", "let each custodian make a key of her own: docs/custodians.md"},
    {"weak-key", "have the custodian make a new key with ssh-keygen: docs/custodians.md"},
    {"directory-not-yours", "name a folder of your own, or a new one"},
    {"bad-signature", "sign the exact text of strongroom proposal show ID --text with the key that is in the roster"},
    {"not-a-custodian", "name the custodian with --custodian, or use the key file that bears the custodian's name"},
    {"not-open", "see strongroom proposal show ID for what became of it"},
    {"unknown-operation", "take one of those: docs/custodians.md says what each does"},
    {"unknown-parameter", "docs/custodians.md has the parameters of each operation"},
    {"other-organisation", "let a custodian of that organisation vote: strongroom principal list"},
    {"keyring-disabled", "a quorum enables it: strongroom propose keyring.enable --keyring NAME --reason WHY"},
    {"version-state", "see strongroom keyring show NAME for what each version is"},
    {"version-archived", "a quorum brings it back: strongroom propose version.restore"},
    {"version-compromised", "rewrap what was wrapped under it: strongroom rewrap"},
    {"version-destroyed", "nothing opens it any more; data under it is lost unless it was rewrapped before"},
    {"version-pending-destruction", "strongroom version cancel-destruction NAME N, then propose version.restore"},
    {"destruction-not-pending", "strongroom version cancel-destruction NAME N, then propose version.destroy again"},
    {"provider-unhealthy", "see strongroom status; if the check is wrong, a quorum overrides it: break-glass.open"},
    {"clock-frozen", "set the host's clock right, then: strongroom propose clock.accept --reason WHY"},
    {"clock-not-frozen", "nothing is left to do"},
    {"not-overridable", "mend what fails: strongroom status says what it is"},
    {"nothing-to-override", "nothing is stopped; to practise give --param drill=yes"},
    {"break-glass-open", "strongroom break-glass list shows it, strongroom break-glass close ID closes it"},
    {"review-owed", "somebody else reviews the last one: strongroom break-glass review ID --finding TEXT --key FILE"},
    {"still-open", "strongroom break-glass close ID"},
    {"own-review", "let a custodian review it who neither asked for it nor opened it"},
    {"break-glass-not-found", "see strongroom break-glass list"},
    {"job-running", "strongroom job list shows it; strongroom job watch ID waits for it, job cancel ID ends it"},
    {"job-not-found", "see strongroom job list"},
    {"job-state", "see strongroom job show ID for what became of it"},
    {"rotated-recently", "wait, or in an emergency: strongroom propose keyring.emergency-rotate"},
    {"dek-not-found", "see strongroom dek list --keyring NAME"},
    {"bad-dek-id", "give it another id"},
    {"census-inventory", "strongroom propose rewrap.start moves them; see strongroom rewrap-plan NAME"},
    {"census-awaited", "they run strongroom census acknowledge, or the proposal names them: --param waive=NAME,NAME"},
    {"census-quiet", "wait, or propose it with --param quiet-hours=N and say why"},
    {"version-pending", "strongroom version attest NAME N --statement TEXT, when it is backed up"},
    {"acknowledged-recently", "wait a minute and acknowledge again"},
    {"no-emergency", "nothing is left to do: strongroom keyring show NAME"},
    {"gcm-exhausted", "rotate the keyring: strongroom propose keyring.rotate"},
    {"token-not-enrolled", "strongroom propose token.enrol --param token=SERIAL --reason WHY; see docs/tokens.md"},
    {"token-not-connected", "see strongroom status; a further token needs a [[token]] in strongroom.toml"},
    {"token-not-verified", "see strongroom status for what is wrong with the token"},
    {"token-without-record", "see whether it is the right token; an emptied one is enrolled again"},
    {"execution-unsettled", "bring its token back (strongroom status); what was cut off is settled by itself then"},
    {"policy-set", "strongroom propose keyring.set-policy --keyring NAME --param rotate-days=none --reason WHY"},
    {"not-released", "unwrap it with its AAD: that wraps it under the primary version"},
    {"nothing-to-adopt", "have the token's owner make that key with her own tool; see docs/tokens.md"},
    {"not-a-further-token", "strongroom propose keyring.rotate --keyring NAME --reason WHY"},
    {"nothing-to-archive", "strongroom ledger show evidence has what is there; name a later time"},
    {"evidence-in-use", "close the break-glass or emergency first: strongroom status"},
    {"archive-missing", "name the folder of the export that has it: --archive DIR"},
    {"entries-archived", "they are in the export that the proposal of ledger.archive names"},
    {"token-inventory", "have the key removed or explained before any ceremony goes on: strongroom status"},
    {"wrong-namespace", "sign it again in the namespace that the error names: ssh-keygen -Y sign -n NAMESPACE"},
    {"wrong-hash-algorithm", "sign it again without -O hashalg: sha512 is the default"},
    {"certificate-signature", "sign it again with the plain key (its .pub file), not with its certificate"},
    {"malformed-signature", "give the file that ssh-keygen -Y sign has written, as it is"},
    {"requester-vote", "let another custodian vote"},
    {"forbidden", "see docs/custodians.md for who may do what"},
    {"reviewed-already", "nothing is left to do: strongroom break-glass list"},
    {"closed-already", "nothing is left to do: strongroom break-glass list"},
    {"keyring-exists", "name a new keyring; strongroom keyring list shows those that are there"},
    {"keyring-enabled", "nothing is left to do"},
    {"nothing-changes", "nothing is left to do: it is so already"},
    {"no-install-keyring", "strongroom propose keyring.create --keyring install --param custody=token --reason WHY"},
    {"version-not-found", "see strongroom keyring show NAME for the versions that are there"},
    {"too-many-votes", "send each custodian's vote once"},
    {"too-many-proposals", "settle, reject or withdraw some first: strongroom proposal list"},
    {"requester-over-share", "withdraw some first: strongroom proposal list, strongroom proposal withdraw ID"},
    {"too-many-filings", "have another operator propose it, or wait until the time that is named"},
    {"inventory-full", "delete what is not needed any more: strongroom dek delete ID --keyring NAME"},
    {"inventory-over-share", "delete what is not needed any more: strongroom dek delete ID --keyring NAME"},
    {"dek-of-another", "put it under another id, or propose a grant.change that grants you manage"},
    {"dek-busy", "try again"},
    {"tenant-over-share", "wait a moment; others share this appliance"},
    {"deadline", "try again in a moment"},
    {"rotated-meanwhile", "try again"},
    {"interrupted", "see strongroom proposal show ID for what became of it; propose it again if it is still wanted"},
    {"rotation-overdue", "propose keyring.rotate; if the check is wrong, a quorum overrides it: break-glass.open"},
    {"pin-latched", "correct the PIN file, then: strongroom-tokend --config FILE --clear-pin-latch"},
    {"would-not-verify", "nothing was changed; report it with the service's log, and see strongroom status"},
    {"address-in-use", "stop what listens there, or change listen in strongroom.toml"},
    {"already-initialised", "nothing is left to do; the roster changes by votes: strongroom principal"},
    {"bad-vkey", "give the key as it was handed out at the ceremony, one line, or the file that holds it"},
    {"body-too-large", "send less at once: DEKs as a stream (--ndjson), principals in several proposals"},
    {"data-directory", "make the folder writable for the user that runs strongroomd, or name another one"},
    {"ledger-io", "see the disk's state, then restart strongroomd; docs/recovery.md has the rest"},
    {"destruction-not-due", "wait: strongroom keyring show NAME has the day"},
    {"mandate-not-due", "wait, or rotate by votes: strongroom propose keyring.rotate"},
    {"mandate-over", "set a new policy: strongroom propose keyring.set-policy"},
    {"mandate-pending", "wait until the rotation that is under way has settled: strongroom keyring show NAME"},
    {"no-mandate", "strongroom propose keyring.set-policy, or keyring.rotate"},
    {"key-exists", "have the key explained or removed before any ceremony goes on: strongroom status"},
    {"key-drift", "have the key explained or removed before any ceremony goes on: strongroom status"},
    {"unknown-requester", "have an operator or a custodian of the roster in force propose it"},
    {"key-pending", "rotate the keyring, or take the destruction back: strongroom version cancel-destruction NAME N"},
    {"key-missing", "see that the right token is in: strongroom status; docs/recovery.md if a key is gone"},
    {"grant-mismatch",
     "keep everything as it is and see strongroom ledger show: what was signed is not what was asked for"},
    {"log-forked", "keep everything as it is and see docs/recovery.md: the token has signed another log"},
    {"log-rewound", "put the newest database back; docs/recovery.md says what to do if there is none"},
    {"foreign-origin", "see that token and database belong together: docs/recovery.md"},
    {"log-not-found", "the logs are control and evidence"},
    {"index-past-head", "see strongroom status for how long the log is"},
    {"no-checkpoint", "try again in a moment; strongroom status says why the token has not signed yet"},
    {"malformed-checkpoint", "give the checkpoint as it was exported"},
    {"malformed-note", "give the checkpoint as it was exported"},
    {"token-enrolled", "nothing is left to do: strongroom status"},
    {"token-exists", "name a new label, or remove the other token first"},
    {"token-module", "see the module's path in strongroom.toml, and that its package is installed"},
    {"too-many-tokens", "docs/tokens.md has the bound; a group of members counts as one"},
    {"not-the-main-token", "see docs/tokens.md: only the main token does this"},
    {"peer-refused", "run it as the user that strongroom.toml names for it"},
});

std::string_view ByCode(Code code) {
  switch (code) {
    case Code::kInvalid:
      return "correct what it names; --help and docs/api.md have the form";
    case Code::kNotFound:
      return "see strongroom status, keyring list and proposal list for what there is";
    case Code::kForbidden:
      return "see docs/custodians.md for who may do what";
    case Code::kConflict:
      return "see strongroom status and strongroom proposal list for what stands in the way";
    case Code::kExpired:
      return "ask for it again";
    case Code::kUnwrapFailed:
      return "check keyring, AAD and that the text is whole: strongroom inspect TEXT";
    case Code::kUnavailable:
    case Code::kOverloaded:
      return "try again in a moment; strongroom status says what is wrong if it stays so";
    case Code::kTokenFault:
      return "see strongroom status; the token side's log has the rest";
    case Code::kPinRejected:
      return "correct the PIN file, then: strongroom-tokend --config FILE --clear-pin-latch";
    case Code::kIntegrity:
      return "keep everything as it is and see docs/recovery.md";
    case Code::kIo:
      return "see that the file or folder is there, writable, and that the disk has room";
  }
  return "see strongroom status";
}

}  // namespace

std::string_view NextStep(const Error& error) {
  const auto of = [](std::string_view slug) {
    return std::find_if(kSteps.begin(), kSteps.end(), [&](const Step& s) { return s.slug == slug; });
  };
  // A program that would not start has said why, as "PROGRAM: SLUG: DETAIL": that has a next step of its own.
  if (error.Slug() == "not-started") {
    const std::string_view said = error.detail;
    const auto from = said.find(": "), to = from == said.npos ? said.npos : said.find(": ", from + 2);
    if (to != said.npos)
      if (const auto* const inner = of(said.substr(from + 2, to - from - 2)); inner != kSteps.end()) return inner->text;
  }
  const auto* const at = of(error.Slug());
  return at == kSteps.end() ? ByCode(error.code) : at->text;
}

}  // namespace strongroom::provisioning
