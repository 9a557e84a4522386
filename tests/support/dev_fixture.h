#pragma once
// A real appliance, made by the real `strongroom dev up`, in a folder that goes with the object.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "netapi/client.h"
#include "provisioning/process.h"
#include "tests/support/temp_dir.h"

namespace strongroom::tests {

class DevFixture {
 public:
  /// A number of token hosts other than 0 is passed to `dev up`.
  explicit DevFixture(unsigned token_hosts = 0);
  /// `prepare` makes the folder that `dev up` then finds.
  explicit DevFixture(const std::function<void(const std::string& folder)>& prepare);
  ~DevFixture();
  DevFixture(const DevFixture&) = delete;
  DevFixture& operator=(const DevFixture&) = delete;

  std::string Dir() const { return dir_.File("sr"); }
  std::string Path(const std::string& name) const { return Dir() + "/" + name; }
  std::string Url() const { return url_; }
  static std::string Program(const std::string& name);
  /// Up runs `dev up` and fails the test when that fails.
  void Up();
  /// Restart stops the daemons, applies `edit` to strongroom.toml, and starts them again.
  void Restart(const std::function<std::string(std::string)>& edit);
  /// Run runs the CLI as a principal.
  provisioning::ProcessOutcome Run(const std::string& principal, std::vector<std::string> arguments,
                                   const std::string& input = {}) const;
  std::unique_ptr<netapi::Client> ClientFor(const std::string& principal) const;
  std::unique_ptr<netapi::Client> ClientWith(const std::string& certificate, const std::string& key) const;
  /// PidOf reads a pid file of the appliance.
  int PidOf(const std::string& pid_file) const;
  /// HostPid finds the token host: the supervisor's child.
  int HostPid() const;

 private:
  const unsigned token_hosts_;
  TempDir dir_;
  std::string url_;
};

}  // namespace strongroom::tests
