#pragma once
// What a token remembers of custody: the roster it obeys and the proposals that are spent (Q5, Q9). Pure.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "crypto/anchor.h"
#include "crypto/quorum.h"

namespace strongroom::crypto {

/// SpendProposal judges whether a token may carry out what a grant was given for, and returns the record in which the
/// proposal is spent; write it before anything is done. The roster must be the one that the record names; a record that
/// names none takes roster 1 at its first sight, and with `after_loss` (the record was lost, and this adoption makes it
/// anew) any. kForbidden (roster-not-enforced), kConflict (already-executed), kUnavailable (clock-back: the clock
/// stands more than five minutes before a time that was seen already).
Result<LedgerRecord> SpendProposal(const LedgerRecord& record, const ExecutionGrant& grant, Millis now,
                                   bool after_loss = false);

/// PossessionText is what a new custodian signs (namespace roster@strongroom) to show that the key is hers.
std::string PossessionText(const InstanceId& instance, std::string_view principal, std::string_view ssh_key);

/// RosterAfter applies a proposal of `roster.change` to a roster and returns the next one. Its parameters:
///   remove-<name>: yes
///   add-<name>: <role> <SPKI hash, 64 hex>[ <key type> <key base64>]    may follow a remove of the same name
///   proof-<name>: <base64 of the SSHSIG over PossessionText>            for each custodian who is added
///   policy-<class>: <votes>
///   new-roster: <version> <hash of the result>                          filled in by the appliance
/// kInvalid for a change that is none or leads to no valid roster, kForbidden (bad-signature) for a proof.
Result<Roster> RosterAfter(const Roster& roster, const ProposalText& proposal);

/// RosterRecord returns the record that obeys the roster after an approved `roster.change`.
Result<LedgerRecord> RosterRecord(const LedgerRecord& record, const ExecutionGrant& grant);

}  // namespace strongroom::crypto
