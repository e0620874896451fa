// The attribute bits of DOS as an extended attribute: "user.dos.attrib", a hexadecimal number of
// the bits read-only 0x1, hidden 0x2, system 0x4, directory 0x10 and archive 0x20. Every file has
// it; it is listed with -o showattr only, so that copying tools do not carry it where it means
// nothing.
#include "kernel/fs/clusters/vnode.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

namespace rump::clusters {

namespace {

constexpr std::string_view attribute_name = "user.dos.attrib";
constexpr uint16_t settable =
    attribute_read_only | attribute_hidden | attribute_system | attribute_archive;

/// "0x21", or "33".
std::optional<uint32_t> parse_bits(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.remove_suffix(1);
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        text.remove_prefix(2);
        base = 16;
    }
    uint32_t bits = 0;
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), bits, base);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
    return bits;
}

} // namespace

Result<size_t> ClusterVnode::getxattr(std::string_view name, std::span<std::byte> out) {
    ASSERT(lock.held());
    if (name != attribute_name) return Errno::nodata;
    std::string text = fmt::format("{:#x}", file_->attributes());
    if (out.empty()) return text.size();
    if (out.size() < text.size()) return Errno::range;
    std::memcpy(out.data(), text.data(), text.size());
    return text.size();
}

Result<void> ClusterVnode::setxattr(std::string_view name, std::span<const std::byte> value,
                                    XattrSet how) {
    ASSERT(lock.held_exclusive());
    if (name != attribute_name) return Errno::opnotsupp;
    if (how == XattrSet::create) return Errno::exist;
    auto bits = parse_bits({reinterpret_cast<const char*>(value.data()), value.size()});
    auto fixed = static_cast<uint16_t>(file_->attributes() & ~settable);
    if (!bits || (*bits & ~uint32_t{settable | attribute_directory}) || file_->is_root() ||
        (*bits & attribute_directory && !is_dir()))
        return Errno::inval;
    auto tx = TRY(mount().begin());
    EntryChange change;
    change.attributes = static_cast<uint16_t>(fixed | (*bits & settable));
    file_->change(change);
    tx.done();
    return {};
}

Result<void> ClusterVnode::removexattr(std::string_view name) {
    return name == attribute_name ? Errno::opnotsupp : Errno::nodata;
}

Result<void> ClusterVnode::listxattr(XattrSink sink) {
    ASSERT(lock.held());
    if (space().options.list_attributes) sink(attribute_name);
    return {};
}

} // namespace rump::clusters
