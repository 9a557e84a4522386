#include "netapi/keyring_json.h"

#include "appliance/policy_decisions.h"

#include <boost/json/array.hpp>

#include "crypto/base/clock.h"

namespace strongroom::netapi {
namespace {

namespace bj = boost::json;
}  // namespace

bj::value TimeOrNull(Millis time) { return time == 0 ? bj::value(nullptr) : bj::value(FormatTime(time)); }

bj::object KeyringObject(const appliance::Keyring& keyring) {
  bj::object out;
  out["name"] = keyring.name;
  out["suite"] = crypto::ToString(keyring.Primary()->suite);
  out["custody"] = keyring.Primary()->custody;
  out["state"] = keyring.enabled ? "enabled" : "disabled";
  out["primary"] = keyring.primary;
  out["created"] = FormatTime(keyring.created);
  out["last_rotation"] = TimeOrNull(keyring.last_rotation);
  out["id"] = ToHex(keyring.id);
  out["grants"] = keyring.grants.Text();
  bj::object policy;
  if (keyring.policy.days != 0)
    policy = {{"rotate_days", keyring.policy.days},
              {"until", FormatTime(keyring.policy.until)},
              {"enforce", keyring.policy.enforce},
              {"next_rotation", FormatTime(appliance::NextRotation(keyring))}};
  if (!keyring.policy.rewrap) policy["rewrap"] = false;
  if (keyring.policy.expire_days != 0) policy["expire_days"] = keyring.policy.expire_days;
  if (keyring.policy.attest) policy["attest"] = true;
  if (!policy.empty()) out["policy"] = std::move(policy);
  bj::array versions;
  for (const auto& [number, v] : keyring.versions) {
    bj::object version{{"version", number},
                       {"state", appliance::ToString(v.state)},
                       {"suite", crypto::ToString(v.suite)},
                       {"announced", TimeOrNull(v.announced)},
                       {"activated", TimeOrNull(v.activated)},
                       {"deactivated", TimeOrNull(v.deactivated)},
                       {"custody", v.custody},
                       {"kek", ToHex(v.kek)},
                       {"token", v.token}};
    // Of those alone that have come that far.
    if (v.moved != 0) version["moved"] = FormatTime(v.moved);
    if (v.due != 0) version["destruction_due"] = FormatTime(v.due);
    versions.push_back(std::move(version));
  }
  out["versions"] = std::move(versions);
  return out;
}

}  // namespace strongroom::netapi
