// Finding and listing names.
#include "kernel/fs/exfatfs/vnops.h"

namespace rump::exfatfs {

Result<VnodeRef> ExfatVnode::find(Name name) {
    NameUnits folded;
    TRY(fold(name.view(), volume().upcase, folded));
    Entry entry;
    Directory directory(node());
    if (!TRY(directory.find(folded.view(), entry))) return Errno::noent;
    return exfat_mount().vnode_of(node(), entry);
}

Result<bool> ExfatVnode::next_listed(uint32_t slot, Listed& out) {
    Entry entry;
    if (!TRY(Directory(node()).next(slot, entry))) return false;
    out.slot = entry.slot;
    out.position = entry.position;
    out.directory = entry.is_directory();
    if (!show_name(entry.name.view(), out.name)) out.name.clear();
    return true;
}

Result<bool> ExfatVnode::has_entries() {
    Entry entry;
    return Directory(node()).next(0, entry);
}

Result<InodeNumber> ExfatVnode::parent() { return exfat_mount().directory_of(node().position()); }

} // namespace rump::exfatfs
