// lookup and readdir.
#include "kernel/fs/exfatfs/vnops.h"

#include <fmt/format.h>

namespace rump::exfatfs {

namespace {
/// Cookies: 1 behind ".", 2 behind "..", then the slot behind a file entry, and 2.
constexpr uint64_t cookie_base = 2;
} // namespace

Result<VnodeRef> ExfatVnode::lookup(Name name) {
    ASSERT(lock.held());
    if (name.is_dot()) return VnodeRef::to(*this);
    if (name.is_dotdot()) return mount().vget(TRY(exfat_mount().directory_of(node().position())));
    NameUnits folded;
    if (!fold(name.view(), volume().upcase, folded)) return Errno::noent;
    Entry entry;
    Directory directory(node());
    if (!TRY(directory.find(folded.view(), entry))) return Errno::noent;
    return exfat_mount().vnode_of(node(), entry);
}

Result<void> ExfatVnode::readdir(uint64_t cookie, DirSink sink) {
    ASSERT(lock.held());
    if (cookie > disk::directory_bytes_max / disk::entry_size + cookie_base) return Errno::inval;
    if (cookie == 0) {
        if (!sink({number(), FileType::dir, ".", 1})) return {};
        cookie = 1;
    }
    if (cookie == 1) {
        InodeNumber parent = number();
        if (!node().is_root() && !unlinked())
            parent = TRY(exfat_mount().directory_of(node().position()));
        if (!sink({parent, FileType::dir, "..", 2})) return {};
        cookie = 2;
    }
    if (unlinked()) return {};
    Directory directory(node());
    Entry entry;
    std::string shown;
    for (auto slot = static_cast<uint32_t>(cookie - cookie_base); TRY(directory.next(slot, entry));
         slot = entry.slot + 1) {
        if (!show_name(entry.name.view(), shown)) {
            (void)mount().corrupt(fmt::format("{}, slot {}: a name that no file can have",
                                              node().label(), entry.slot));
            continue;
        }
        DirEntry out;
        out.number = volume().space.numbers.at(entry.position);
        out.type = entry.is_directory() ? FileType::dir : FileType::reg;
        out.name = shown;
        out.next_cookie = uint64_t{entry.slot} + 1 + cookie_base;
        if (!sink(out)) return {};
    }
    return {};
}

} // namespace rump::exfatfs
