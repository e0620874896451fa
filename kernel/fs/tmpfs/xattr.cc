// Extended attributes. See xattr.h; xattr(7) for the limits.
#include "kernel/fs/tmpfs/xattr.h"

#include "kernel/vfs/acl.h"

#include <cstring>
#include <new>

namespace rump::tmpfs {

namespace {

constexpr size_t xattr_name_max = 255;
constexpr size_t xattr_list_max = 65536;

/// EOPNOTSUPP, ERANGE, EINVAL (a namespace without a name in it).
Result<void> check_name(std::string_view name) {
    if (name.size() > xattr_name_max) return Errno::range;
    if (name == vfs::acl_access_name || name == vfs::acl_default_name) return {};
    for (std::string_view space : {"user.", "trusted.", "security."})
        if (name.starts_with(space))
            return name.size() == space.size() ? Result<void>(Errno::inval) : Result<void>();
    return Errno::opnotsupp;
}

} // namespace

void XattrStore::clear() {
    for (const auto& [name, value] : values_) budget_.give(charge_of(name.size(), value.size()));
    values_.clear();
    names_length_ = 0;
}

Result<size_t> XattrStore::get(std::string_view name, std::span<std::byte> out) const {
    TRY(check_name(name));
    const auto found = values_.find(name);
    if (found == values_.end()) return Errno::nodata;
    const auto& value = found->second;
    if (out.empty()) return value.size();
    if (out.size() < value.size()) return Errno::range;
    if (!value.empty()) std::memcpy(out.data(), value.data(), value.size());
    return value.size();
}

Result<void> XattrStore::set(std::string_view name, std::span<const std::byte> value,
                             XattrSet how) {
    TRY(check_name(name));
    if (value.size() > xattr_value_max) return Errno::toobig;
    const auto found = values_.find(name);
    if (how == XattrSet::create && found != values_.end()) return Errno::exist;
    if (how == XattrSet::replace && found == values_.end()) return Errno::nodata;
    if (found == values_.end() && names_length_ + name.size() + 1 > xattr_list_max)
        return Errno::nospc; // a name that could not be listed

    // The old value's room counts towards the new one's.
    const uint64_t before =
        found == values_.end() ? 0 : charge_of(name.size(), found->second.size());
    const uint64_t after = charge_of(name.size(), value.size());
    if (after > before) TRY(budget_.take(after - before));
    try {
        std::vector<std::byte> copy(value.begin(), value.end());
        if (found != values_.end()) {
            found->second.swap(copy);
        } else {
            values_.emplace(name, std::move(copy));
            names_length_ += name.size() + 1;
        }
    } catch (const std::bad_alloc&) {
        if (after > before) budget_.give(after - before);
        return Errno::nomem;
    }
    if (after < before) budget_.give(before - after);
    return {};
}

Result<void> XattrStore::remove(std::string_view name) {
    TRY(check_name(name));
    const auto found = values_.find(name);
    if (found == values_.end()) return Errno::nodata;
    budget_.give(charge_of(name.size(), found->second.size()));
    names_length_ -= name.size() + 1;
    values_.erase(found);
    return {};
}

void XattrStore::list(XattrSink sink) const {
    for (const auto& [name, value] : values_) sink(name);
}

} // namespace rump::tmpfs
