// strongroom: the command line for operators, custodians, auditors and services.

#include <CLI/CLI.hpp>
#include <csignal>
#include <functional>
#include <iostream>

#include "crypto/base/secret.h"
#include "provisioning/backup.h"
#include "provisioning/ceremony.h"
#include "provisioning/cli_pages.h"
#include "provisioning/custody_commands.h"
#include "provisioning/data_commands.h"
#include "provisioning/dev_appliance.h"
#include "provisioning/dev_tokens.h"
#include "provisioning/governance_commands.h"
#include "provisioning/ledger_commands.h"
#include "provisioning/ledger_export.h"
#include "provisioning/principal_commands.h"
#include "provisioning/rotation_commands.h"

namespace {

using namespace strongroom;
using namespace strongroom::provisioning;

struct Arguments {
  CliSession session;
  std::string dir, principal = "operator-1", name, id, data_directory;
  unsigned short port = 0;
  unsigned token_hosts = 0;
  bool text_only = false, blank = false, without_journal = false;
  std::uint64_t number = 0;
  ReviewOptions review;
  CeremonyOptions ceremony;
  std::vector<std::string> members;
  DataOptions data;
  DekOptions dek;
  std::uint64_t count = 0;
  std::string statement;
  ProposeOptions propose;
  VoteOptions vote;
  LedgerShowOptions ledger;
  RestoreOptions restore;
  std::vector<std::string> archives;
  PrincipalOptions principal_change;
};

using Command = std::function<int()>;

void AddDev(CLI::App& app, Arguments& a, Command& run) {
  auto* dev =
      app.add_subcommand("dev", "a complete local appliance on SoftHSM, for development")->require_subcommand(1);
  auto* up = dev->add_subcommand("up", "make and start it; changes nothing that is there");
  up->add_option("--dir", a.dir, "the directory to keep it in")->required();
  up->add_option("--port", a.port, "port on 127.0.0.1; 0 (the default) picks one");
  up->add_option("--token-hosts", a.token_hosts, "host processes for the token, 1 (at first) to 16")
      ->check(CLI::Range(1, 16));
  up->add_flag("--blank", a.blank, "stop before the first boot: for a first-boot ceremony");
  up->callback([&] { run = [&] { return DevUp(a.session, a.dir, a.port, a.token_hosts, a.blank); }; });
  auto* down = dev->add_subcommand("down", "stop it; nothing is deleted");
  down->add_option("--dir", a.dir, "the directory of the appliance")->required();
  down->callback([&] { run = [&] { return DevDown(a.session, a.dir); }; });
  auto* issue = dev->add_subcommand("issue", "make a client certificate by the appliance's own CA, for principal add");
  issue->add_option("name", a.name, "what the principal is to be called")->required();
  issue->add_option("--dir", a.dir, "the directory of the appliance")->required();
  issue->callback([&] { run = [&] { return DevIssue(a.session, a.dir, a.name); }; });
  auto* token = dev->add_subcommand("token", "make a further token and connect it; token.enrol enrols it");
  token->add_option("--dir", a.dir, "the directory of the appliance")->required();
  token->add_option("name", a.name, "what the token is to be called")->required();
  token->callback([&] { run = [&] { return DevToken(a.session, a.dir, a.name); }; });
  auto* env = dev->add_subcommand("env", "print export lines for a principal");
  env->add_option("--dir", a.dir, "the directory of the appliance")->required();
  env->add_option("--as", a.principal, "the principal, default operator-1");
  env->callback([&] { run = [&] { return DevEnv(a.session, a.dir, a.principal); }; });
}

void AddData(CLI::App& app, Arguments& a, Command& run) {
  const auto add = [&](const char* name, const char* help, ledger::Operation operation) {
    auto* command = app.add_subcommand(name, help);
    command->add_option("--keyring", a.data.keyring, "the keyring")->required();
    if (operation != ledger::Operation::kRewrap)
      command->add_option("--aad", a.data.aad, "additional data in base64, bound to the wrapped DEK");
    if (operation == ledger::Operation::kDataKey) {
      command->add_option("--bytes", a.data.bytes, "length of the DEK: 16, 24, 32 or 64");
      command->add_flag("--plaintext", a.data.plaintext, "print the DEK too, in base64, on a second line");
    } else {
      command->add_option("--in", a.data.in, "input file, default standard input");
    }
    command->add_flag("--ndjson", a.data.ndjson,
                      "a stream: one JSON request a line in, one answer a line out, in order");
    if (operation == ledger::Operation::kDataKey) command->add_option("--in", a.data.in, "with --ndjson: input file");
    command->add_option("--out", a.data.out, "output file (mode 0600), default standard output");
    command->callback([&a, &run, operation] {
      run = [&a, operation] {
        return a.data.ndjson ? RunStream(a.session, operation, a.data) : RunData(a.session, operation, a.data);
      };
    });
  };
  add("wrap", "wrap a DEK (base64 in, wrapped DEK out)", ledger::Operation::kWrap);
  add("unwrap", "unwrap a wrapped DEK (base64 out)", ledger::Operation::kUnwrap);
  add("rewrap", "move a wrapped DEK to the primary version, inside the token", ledger::Operation::kRewrap);
  add("datakey", "draw a fresh DEK, wrapped", ledger::Operation::kDataKey);
  auto* inspect = app.add_subcommand("inspect", "explain a wrapped DEK or a checkpoint without any key");
  inspect->add_option("text", a.name, "the text, srw1:...; or a checkpoint, its file or text")->required();
  inspect->callback([&] { run = [&] { return Inspect(a.session, a.name); }; });
}

void AddGovernance(CLI::App& app, Arguments& a, Command& run) {
  app.add_subcommand("status", "state, checks, tokens, ledger heads")->callback([&] {
    run = [&] { return ShowStatus(a.session); };
  });
  auto* keyring = app.add_subcommand("keyring", "look at keyrings")->require_subcommand(1);
  keyring->add_subcommand("list", "all that this principal may see")->callback([&] {
    run = [&] { return ListKeyrings(a.session); };
  });
  auto* show = keyring->add_subcommand("show", "one keyring with its versions");
  show->add_option("name", a.name, "the keyring's name")->required();
  show->callback([&] { run = [&] { return ShowKeyring(a.session, a.name); }; });

  auto* disable = keyring->add_subcommand("disable", "stop a keyring at once; enabling it again takes a quorum");
  disable->add_option("name", a.name, "the keyring's name")->required();
  disable->callback([&] { run = [&] { return DisableKeyring(a.session, a.name); }; });
  auto* version = app.add_subcommand("version", "versions of a keyring")->require_subcommand(1);
  auto* cancel = version->add_subcommand("cancel-destruction", "take a destruction back that has not happened yet");
  cancel->add_option("name", a.name, "the keyring's name")->required();
  cancel->add_option("version", a.number, "the version's number")->required();
  cancel->callback([&] { run = [&] { return CancelDestruction(a.session, a.name, a.number); }; });

  const auto add_emergency = [&](const char* name, const char* help,
                                 int (*command)(const CliSession&, const std::string&, std::uint64_t)) {
    auto* one = version->add_subcommand(name, help);
    one->add_option("name", a.name, "the keyring's name")->required();
    one->add_option("version", a.number, "the version's number")->required();
    one->callback([&a, &run, command] { run = [&a, command] { return command(a.session, a.name, a.number); }; });
  };
  auto* attest =
      version->add_subcommand("attest", "say that a new version is backed up or replicated: it is active then");
  attest->add_option("name", a.name, "the keyring's name")->required();
  attest->add_option("version", a.number, "the version's number")->required();
  attest->add_option("--statement", a.statement, "what was seen and where, one line; it is kept in the ledger")
      ->required();
  attest->callback([&] { run = [&] { return Attest(a.session, a.name, a.number, a.statement); }; });
  add_emergency("report", "what happened to a version that was compromised", ShowReport);
  add_emergency("close-emergency", "end an emergency: what is still wrapped under the version is lost from then on",
                CloseEmergency);

  auto* propose = app.add_subcommand("propose", "ask for a change of custody, which custodians then vote on");
  propose
      ->add_option("operation", a.propose.operation,
                   "what to do: docs/custodians.md has them all; an unknown one is answered with their names")
      ->required();
  propose->add_option("--keyring", a.propose.keyring, "the keyring that it is about");
  propose
      ->add_option("--param", a.propose.params,
                   "NAME=VALUE, as often as there are parameters; docs/custodians.md has each operation's")
      ->allow_extra_args(false);
  propose->add_option("--reason", a.propose.reason, "why, one line; custodians read and sign it")->required();
  propose->callback([&] { run = [&] { return Propose(a.session, a.propose); }; });
  auto* proposal = app.add_subcommand("proposal", "look at proposals")->require_subcommand(1);
  proposal->add_subcommand("list", "all proposals")->callback([&] { run = [&] { return ListProposals(a.session); }; });
  auto* one = proposal->add_subcommand("show", "one proposal");
  one->add_option("id", a.id, "the proposal's id")->required();
  one->add_flag("--text", a.text_only, "print the exact canonical text, nothing else");
  one->callback([&] { run = [&] { return ShowProposal(a.session, a.id, a.text_only); }; });
  auto* withdraw = proposal->add_subcommand("withdraw", "take back a proposal of one's own");
  withdraw->add_option("id", a.id, "the proposal's id")->required();
  withdraw->callback([&] { run = [&] { return Withdraw(a.session, a.id); }; });

  const auto add_vote = [&](const char* name, const char* help, crypto::Verdict verdict) {
    auto* command = app.add_subcommand(name, help);
    command->add_option("id", a.vote.id, "the proposal's id")->required();
    command->add_option("--key", a.vote.key_file,
                        "SSH key file (or a .pub whose private half ssh-agent holds); ssh-keygen signs with it");
    command->add_option("--signature", a.vote.signature_file,
                        "a signature made elsewhere with ssh-keygen -Y sign -n vote@strongroom");
    command->add_option("--custodian", a.vote.custodian, "the custodian; default: the key file's name");
    command->callback([&a, &run, verdict] {
      a.vote.verdict = verdict;
      run = [&a] { return CastVote(a.session, a.vote); };
    });
  };
  add_vote("approve", "show a proposal's text, sign it, submit the vote", crypto::Verdict::kApprove);
  add_vote("reject", "the same with verdict reject; one rejection is final but for roster, emergency and recovery",
           crypto::Verdict::kReject);
  auto* execute = app.add_subcommand("execute", "run an approved proposal, once, and wait for the outcome");
  execute->add_option("id", a.id, "the proposal's id")->required();
  execute->callback([&] { run = [&] { return Execute(a.session, a.id); }; });
}

void AddInventory(CLI::App& app, Arguments& a, Command& run) {
  auto& o = a.dek;
  auto* dek =
      app.add_subcommand("dek", "wrapped DEKs that are kept in the appliance's inventory")->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, bool takes_id) {
    auto* command = dek->add_subcommand(name, help);
    if (takes_id) command->add_option("id", o.id, "the DEK's id")->required();
    command->add_option("--keyring", o.data.keyring, "the keyring")->required();
    return command;
  };
  auto* put = add("put", "leave one wrapped DEK, or with --ndjson many: an import", false);
  put->add_option("id", o.id, "the DEK's id");
  put->add_option("--in", o.data.in, "the wrapped DEK, default standard input");
  put->add_flag("--ndjson", o.data.ndjson, "one {\"id\",\"wrapped\"} a line in, one answer a line out");
  put->add_option("--out", o.data.out, "with --ndjson: file for the answers (mode 0600), default standard output");
  put->callback([&] { run = [&] { return PutDek(a.session, o); }; });
  add("get", "print one", true)->callback([&] { run = [&] { return GetDek(a.session, o); }; });
  add("delete", "take one away", true)->callback([&] { run = [&] { return DeleteDek(a.session, o); }; });
  auto* list = add("list", "list them, or with --ndjson write them as lines that dek put takes: an export", false);
  list->add_option("--version", o.version, "only those under this version");
  list->add_flag("--quarantined", o.quarantined, "only those that a job could not move; goes with --version");
  list->add_flag("--ndjson", o.data.ndjson, "one {\"id\",\"wrapped\"} a line");
  list->add_option("--out", o.data.out, "with --ndjson: a new file, default standard output");
  list->callback([&] { run = [&] { return ListDeks(a.session, o); }; });
  auto* unwrap = add("unwrap", "unwrap one (base64 out)", true);
  unwrap->add_option("--aad", o.data.aad, "the additional data in base64 that it was wrapped with");
  unwrap->add_option("--out", o.data.out, "output file (mode 0600), default standard output");
  unwrap->callback([&] { run = [&] { return UnwrapDek(a.session, o); }; });
}

void AddRotation(CLI::App& app, Arguments& a, Command& run) {
  auto* plan = app.add_subcommand("rewrap-plan", "what a rewrap of an inventory would do: a dry run");
  plan->add_option("name", a.name, "the keyring's name")->required();
  plan->callback([&] { run = [&] { return ShowPlan(a.session, a.name); }; });
  auto* job = app.add_subcommand("job", "jobs that move an inventory to its primary version")->require_subcommand(1);
  job->add_subcommand("list", "all jobs, the newest first")->callback([&] {
    run = [&] { return ListJobs(a.session); };
  });
  const auto add_job = [&](const char* name, const char* help, std::function<int()> command) {
    auto* one = job->add_subcommand(name, help);
    auto* id = one->add_option("id", a.id, "the job's id");
    if (std::string_view(name) != "watch") id->required();
    one->callback([&run, command = std::move(command)] { run = command; });
  };
  add_job("show", "one job", [&] { return ShowJob(a.session, a.id); });
  add_job("watch", "follow one, the newest unless its id is given, to its end",
          [&] { return WatchJob(a.session, a.id); });
  add_job("pause", "let it stand at the next batch", [&] { return SwitchJob(a.session, a.id, "pause"); });
  add_job("resume", "let a paused one go on", [&] { return SwitchJob(a.session, a.id, "resume"); });
  add_job("cancel", "end it at the next batch; what it moved stays moved",
          [&] { return SwitchJob(a.session, a.id, "cancel"); });
  auto* census = app.add_subcommand("census", "who still keeps something under former versions")->require_subcommand(1);
  auto* show = census->add_subcommand("show", "inventory, acknowledgements and last use of each former version");
  show->add_option("name", a.name, "the keyring's name")->required();
  show->callback([&] { run = [&] { return ShowCensus(a.session, a.name); }; });
  auto* acknowledge = census->add_subcommand("acknowledge", "a service says that it keeps nothing under a version");
  acknowledge->add_option("name", a.name, "the keyring's name")->required();
  acknowledge->add_option("--version", a.number, "this version, and all before it")->required();
  acknowledge->add_option("--count", a.count, "how many it has rewrapped")->required();
  acknowledge->callback([&] { run = [&] { return Acknowledge(a.session, a.name, a.number, a.count); }; });
}

void AddBreakGlass(CLI::App& app, Arguments& a, Command& run) {
  auto* glass = app.add_subcommand("break-glass", "overrides of a check; opening one is a proposal of break-glass.open")
                    ->require_subcommand(1);
  glass->add_subcommand("list", "every one there ever was, and what is owed")->callback([&] {
    run = [&] { return ListBreakGlass(a.session); };
  });
  auto* close = glass->add_subcommand("close", "close an open one at once");
  close->add_option("id", a.id, "its id")->required();
  close->callback([&] { run = [&] { return CloseBreakGlass(a.session, a.id); }; });
  auto* review = glass->add_subcommand("review", "sign and file the review of a closed one");
  review->add_option("id", a.review.id, "its id")->required();
  review->add_option("--finding", a.review.finding, "what the reviewer has found, one line")->required();
  review->add_option("--key", a.review.key_file,
                     "SSH key file (or a .pub whose private half ssh-agent holds); ssh-keygen signs with it");
  review->add_option("--signature", a.review.signature_file,
                     "a signature made elsewhere with ssh-keygen -Y sign -n vote@strongroom");
  review->add_option("--reviewer", a.review.reviewer, "the custodian; default: the key file's name");
  review->add_flag("--text", a.review.text_only, "print what is to be signed, nothing else");
  review->callback([&] { run = [&] { return ReviewBreakGlass(a.session, a.review); }; });
}

void AddCeremony(CLI::App& app, Arguments& a, Command& run) {
  auto& c = a.ceremony;
  auto* ceremony = app.add_subcommand("ceremony", "scripted, recorded changes of custody")->require_subcommand(1);
  auto* one = ceremony->add_subcommand("run", "walk people through a script and keep what happened in the ledger");
  one->add_option("file", c.script, "the script, TOML; docs/ceremonies.md has those that come along")->required();
  one->add_option("--set", c.set, "NAME=VALUE for a parameter of the script; what is not given is asked for")
      ->allow_extra_args(false);
  one->add_option("--participant", c.participants,
                  "LABEL=PRINCIPAL[,SSH-KEY-FILE]; a custodian without a key here votes from her own machine")
      ->allow_extra_args(false);
  one->add_option("--out", c.out, "folder for the transcript, default the current one");
  one->add_flag("--dry-run", c.dry_run, "say what would be done, look, change nothing");
  one->add_option("--wait-seconds", c.wait_seconds, "how long a vote from elsewhere is waited for, default 3600");
  one->callback([&] { run = [&] { return RunCeremony(a.session, c); }; });
}

void AddPrincipals(CLI::App& app, Arguments& a, Command& run) {
  auto& p = a.principal_change;
  auto* principal =
      app.add_subcommand("principal", "the roster: who may do what, with which keys; changes are proposals")
          ->require_subcommand(1);
  const auto add_common = [&p](CLI::App* command) {
    command->add_option("name", p.name, "the principal")->required();
    command->add_option("--reason", p.reason, "why, one line; custodians read and sign it")->required();
    command->add_option("--votes", p.votes, "votes that every class of operations needs from then on");
  };
  principal->add_subcommand("list", "the roster in force: who, in which role, how many votes")->callback([&] {
    run = [&] { return ListPrincipals(a.session); };
  });
  auto* add = principal->add_subcommand("add", "propose a new principal, or with --replace new keys for one");
  add_common(add);
  add->add_option("--role", p.role, "operator, custodian, auditor, monitor or service")->required();
  add->add_option("--cert", p.certificate, "her certificate; its key is what counts")->required();
  add->add_option("--ssh-key", p.ssh_key, "custodians: her SSH public key");
  add->add_option("--proof", p.proof, "custodians: what principal prove printed, a file or the text");
  add->add_flag("--replace", p.replace, "she is in the roster already");
  add->callback([&] { run = [&] { return AddPrincipal(a.session, p); }; });
  auto* many = principal->add_subcommand("import", "propose many principals at once, from a file");
  many->add_option("file", a.name, "lines 'NAME ROLE CERTIFICATE' (or the SHA-256 of its public key), - for input")
      ->required();
  many->add_option("--reason", p.reason, "why; stands in the text that custodians sign")->required();
  many->callback(
      [&] { run = [&] { return ImportPrincipals(a.session, a.name == "-" ? "" : a.name, p.reason); }; }  // namespace
  );
  auto* revoke = principal->add_subcommand("revoke", "propose that a principal is one no more");
  add_common(revoke);
  revoke->callback([&] { run = [&] { return RevokePrincipal(a.session, p); }; });
  auto* first = principal->add_subcommand("first", "write roster 1 for a first boot; every custodian then signs it");
  first->add_option("--dir", a.dir, "folder for roster.txt")->required();
  first->add_option("--votes", p.votes, "votes that every class of operations needs")->required();
  first
      ->add_option("--member", a.members,
                   "'NAME ROLE CERTIFICATE', for custodians with the file of an SSH public key behind it; one each")
      ->required()
      ->allow_extra_args(false);
  first->callback([&] {
    run = [&] {
      const auto made = MakeFirstRoster(a.dir, p.votes, a.members);
      if (!made) return Fail(made.error());
      std::cout << a.dir << "/roster.txt\n";
      std::cerr << "next: each custodian runs ssh-keygen -Y sign -n roster@strongroom -f KEY roster.txt; put the "
                   "signatures beside it as NAME.sig\n";
      return static_cast<int>(kExitDone);
    };
  });
  auto* prove = principal->add_subcommand("prove", "show that one holds an SSH key, for principal add");
  prove->add_option("name", p.name, "what the custodian is to be called")->required();
  prove->add_option("--key", p.ssh_key, "her SSH key file; ssh-keygen signs with it")->required();
  prove->callback([&] { run = [&] { return ProvePossession(a.session, p.name, p.ssh_key); }; });
}

void AddLedger(CLI::App& app, Arguments& a, Command& run) {
  auto* ledger = app.add_subcommand("ledger", "look at the ledger")->require_subcommand(1);
  auto* show = ledger->add_subcommand("show", "entries of a log");
  show->add_option("log", a.ledger.log, "control (default) or evidence");
  show->add_option("--from", a.ledger.from, "first index");
  show->add_option("--op", a.ledger.operation, "only this kind of entry or operation");
  show->callback([&] { run = [&] { return ShowLedger(a.session, a.ledger); }; });
  show->add_option("--since", a.ledger.since,
                   "only from this day or time (UTC) on, like 2026-01-31 or 2026-01-31T12:00:00Z");
  auto* export_all = ledger->add_subcommand("export", "write both logs into a folder that anyone can verify");
  export_all->add_option("--out", a.dir, "a new folder")->required();
  export_all->callback([&] { run = [&] { return ExportLedger(a.session, a.dir); }; });
  auto* verify = ledger->add_subcommand("verify", "verify an export offline, with nothing but its folder and the key");
  verify->add_option("dir", a.dir, "the folder")->required();
  verify->add_option("--vkey", a.name, "the checkpoint key, a file or the text itself")->required();
  verify->add_option("--archive", a.archives, "the folder of an earlier export that has archived evidence; any number");
  verify->callback([&] { run = [&] { return VerifyExport(a.session, a.dir, a.name, a.archives); }; });
  auto* vkey = ledger->add_subcommand("vkey", "print the checkpoint key, which auditors are handed");
  vkey->add_option("--out", a.dir, "write it into this new file instead");
  vkey->callback([&] { run = [&] { return ShowCheckpointKey(a.session, a.dir); }; });
  auto* prove = ledger->add_subcommand("prove", "print the proof that an entry is in the log (C2SP tlog-proof)");
  prove->add_option("log", a.ledger.log, "control or evidence")->required();
  prove->add_option("index", a.ledger.from, "the entry's index")->required();
  prove->callback([&] { run = [&] { return ProveEntry(a.session, a.ledger.log, a.ledger.from); }; });
  auto* rebuild =
      ledger->add_subcommand("rebuild", "make the state table anew from the control log of a stopped appliance");
  rebuild->add_option("--data", a.data_directory, "the data directory")->required();
  rebuild->add_flag("--without-journal", a.without_journal,
                    "evidence.journal is lost: go on without what it had; the evidence log says so");
  rebuild->callback([&] { run = [&] { return RebuildState(a.session, a.data_directory, a.without_journal); }; });
}

void AddBackup(CLI::App& app, Arguments& a, Command& run) {
  auto* backup = app.add_subcommand("backup", "write the ledger of a running appliance into one file, verified");
  backup->add_option("--out", a.name, "a new file")->required();
  backup->callback([&] { run = [&] { return Backup(a.session, a.name); }; });
  auto* restore = app.add_subcommand("restore", "verify a backup and make a stopped appliance's database of it");
  restore->add_option("--in", a.restore.file, "the backup")->required();
  restore
      ->add_option("--dir", a.restore.directory,
                   "the appliance's directory (with strongroom.toml), or the database's own; no database may be there")
      ->required();
  restore->add_option("--archive", a.restore.archives,
                      "the folder of an export that has archived evidence; any number");
  restore->add_option("--vkey", a.restore.key,
                      "the checkpoint key, a file or the text itself; default DIR/ledger.vkey");
  restore->add_flag(
      "--unbound-inventory", a.restore.unbound,
      "take the inventory as it is, though its log does not prove it: wrapped DEKs may have been dropped, "
      "swapped, added or put back to an older state; the restored log says that this was done");
  restore->callback([&] { run = [&] { return Restore(a.session, a.restore); }; });
}

void AddPages(CLI::App& app, Command& run) {
  app.add_subcommand("man", "print the manual page: strongroom man | man -l -")->callback([&] {
    run = [&app] {
      std::cout << ManPage(app);
      return kExitDone;
    };
  });
  app.add_subcommand("completion", "print the completion script for bash: eval \"$(strongroom completion)\"")
      ->callback([&] {
        run = [&app] {
          std::cout << BashCompletion(app);
          return kExitDone;
        };
      });
}

// One line for what is wrong, one for what to do, as everywhere.
int FailToParse(const CLI::App& app, const CLI::ParseError& error) {
  std::string what = error.what();
  what = what.substr(0, what.find('\n'));
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const auto extra = app.remaining(true);
  const bool has_commands = !at->get_subcommands([](const CLI::App*) { return true; }).empty();
  if (!extra.empty())
    what = (extra.front().starts_with('-') ? "no such option: "
            : has_commands                 ? "no such command: "
                                           : "unexpected argument: ") +
           extra.front();
  else if (has_commands)
    what = "a command is missing";
  std::string path = "strongroom";
  for (const auto* sub = &app; !sub->get_subcommands().empty(); path += " " + sub->get_name())
    sub = sub->get_subcommands().front();
  std::cerr << "strongroom: usage: " << what << "\nnext: see " << path << " --help\n";
  return kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  netapi::ForbidLingeringHeap();
  (void)std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Strongroom: KEKs stay in the token; their power is lent over the network.");
  app.require_subcommand(1);
  app.set_version_flag("--version", "strongroom 0.1.0");
  Arguments a;
  app.add_option("--server", a.session.server, "https://host:port")->envname("STRONGROOM_SERVER");
  app.add_option("--ca", a.session.ca, "CA certificate that the server is verified against")->envname("STRONGROOM_CA");
  app.add_option("--cert", a.session.cert, "client certificate")->envname("STRONGROOM_CERT");
  app.add_option("--key", a.session.key, "client key")->envname("STRONGROOM_KEY");
  app.add_flag("--json", a.session.json, "print one JSON document on stdout and nothing else");
  app.fallthrough();
  Command run;
  AddDev(app, a, run);
  AddData(app, a, run);
  AddGovernance(app, a, run);
  AddInventory(app, a, run);
  AddRotation(app, a, run);
  AddBreakGlass(app, a, run);
  AddCeremony(app, a, run);
  AddPrincipals(app, a, run);
  AddLedger(app, a, run);
  AddBackup(app, a, run);
  AddPages(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return e.get_exit_code() == 0 ? app.exit(e) : FailToParse(app, e);
  }
  if (const auto safe = ForbidCoreDumps(); !safe) return Fail(safe.error());
  if (const auto arena = OpenSecretArena(1U << 20); !arena) return Fail(arena.error());
  return run();
}
