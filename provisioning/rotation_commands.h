#pragma once
// The inventory, jobs, plans and census on the command line.

#include "provisioning/data_commands.h"

namespace strongroom::provisioning {

struct DekOptions {
  std::string id;
  std::uint64_t version = 0;  // list: only those under it; 0: all
  bool quarantined = false;   // list
  DataOptions data;
};
/// PutDek leaves one wrapped DEK (a text, from a file or standard input), or with --ndjson as many as there are lines
/// {"id","wrapped"}; lines that were refused are named on stderr, and the exit status is 1 when there were any.
int PutDek(const CliSession& session, const DekOptions& options);
int GetDek(const CliSession& session, const DekOptions& options);
int DeleteDek(const CliSession& session, const DekOptions& options);
int UnwrapDek(const CliSession& session, const DekOptions& options);
/// ListDeks prints a table, or with --ndjson lines {"id","wrapped"} that PutDek takes: an export, flat in memory.
int ListDeks(const CliSession& session, const DekOptions& options);

int ShowPlan(const CliSession& session, const std::string& keyring);

int ListJobs(const CliSession& session);
int ShowJob(const CliSession& session, const std::string& id);
/// WatchJob follows a job, the newest for an empty id, to its end, with a bar on a terminal. Exit status 0 for
/// complete, 1 for every other end.
int WatchJob(const CliSession& session, const std::string& id);
/// SwitchJob is `pause`, `resume` or `cancel`.
int SwitchJob(const CliSession& session, const std::string& id, const std::string& verb);

int ShowCensus(const CliSession& session, const std::string& keyring);
int Acknowledge(const CliSession& session, const std::string& keyring, std::uint64_t version, std::uint64_t count);

int ShowReport(const CliSession& session, const std::string& keyring, std::uint64_t version);
int Attest(const CliSession& session, const std::string& keyring, std::uint64_t version, const std::string& statement);
int CloseEmergency(const CliSession& session, const std::string& keyring, std::uint64_t version);

}  // namespace strongroom::provisioning
