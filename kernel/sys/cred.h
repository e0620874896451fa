// Credentials: an explicit argument of every operation that needs one.
#pragma once

#include <cstdint>
#include <vector>

namespace rump {

class Cred {
public:
    Cred(uint32_t uid, uint32_t gid, std::vector<uint32_t> groups = {})
        : uid_(uid), gid_(gid), groups_(std::move(groups)), superuser_(uid == 0) {}

    /// Every operation is allowed; new files belong to uid 0 and gid 0.
    static Cred superuser() { return Cred(0, 0); }
    /// Every operation is allowed; new files belong to `uid` and `gid` (fakeroot, build systems).
    static Cred privileged(uint32_t uid, uint32_t gid) {
        Cred cred(uid, gid);
        cred.superuser_ = true;
        return cred;
    }
    /// The host has checked permissions already (FUSE with default_permissions): access checks of
    /// modes and ACLs pass. What only the file system knows (file flags, read-only, reserved
    /// blocks) is still judged by `uid`.
    static Cred host_checked(uint32_t uid, uint32_t gid) {
        Cred cred(uid, gid);
        cred.host_checked_ = true;
        return cred;
    }

    uint32_t uid() const { return uid_; }
    uint32_t gid() const { return gid_; }
    bool is_superuser() const { return superuser_; }
    bool is_host_checked() const { return host_checked_; }
    /// The primary group or a supplementary one.
    bool in_group(uint32_t gid) const {
        if (gid == gid_) return true;
        for (uint32_t g : groups_)
            if (g == gid) return true;
        return false;
    }

private:
    uint32_t uid_;
    uint32_t gid_;
    std::vector<uint32_t> groups_;
    bool superuser_;
    bool host_checked_ = false;
};

} // namespace rump
