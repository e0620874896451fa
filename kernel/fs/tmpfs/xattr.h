// Extended attributes of one node: names and values in memory. The generic layer has judged
// namespaces and permissions; what is stored here is "user.", "trusted.", "security." and the two
// POSIX ACL names.
#pragma once

#include "kernel/fs/tmpfs/budget.h"
#include "kernel/sys/vnode.h"

#include <map>
#include <string>

namespace rump::tmpfs {

/// Guarded by the vnode lock of its node.
class XattrStore {
public:
    explicit XattrStore(Budget& budget) : budget_(budget) {}
    ~XattrStore() { clear(); }
    XattrStore(const XattrStore&) = delete;
    XattrStore& operator=(const XattrStore&) = delete;

    /// ENODATA, ERANGE, EOPNOTSUPP (a namespace that is not kept).
    Result<size_t> get(std::string_view name, std::span<std::byte> out) const;
    /// EEXIST, ENODATA, ERANGE (name), E2BIG, ENOSPC, ENOMEM, EOPNOTSUPP.
    Result<void> set(std::string_view name, std::span<const std::byte> value, XattrSet how);
    /// ENODATA, EOPNOTSUPP.
    Result<void> remove(std::string_view name);
    void list(XattrSink sink) const;
    void clear();

private:
    using Map = std::map<std::string, std::vector<std::byte>, std::less<>>;

    static uint64_t charge_of(size_t name, size_t value) {
        return sizeof(Map::value_type) + name + value;
    }
    Budget& budget_;
    Map values_;
    size_t names_length_ = 0; // what listxattr(2) needs, terminators included
};

} // namespace rump::tmpfs
