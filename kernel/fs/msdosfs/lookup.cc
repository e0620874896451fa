// Finding and listing names.
#include "kernel/fs/msdosfs/vnops.h"

namespace rump::msdosfs {

Result<VnodeRef> MsdosVnode::find(Name name) {
    NameUnits folded;
    TRY(fold(name.view(), volume().names.upcase, folded));
    Entry entry;
    Directory directory(node());
    if (!TRY(directory.find(folded.view(), entry))) return Errno::noent;
    return msdos_mount().vnode_of(entry);
}

Result<bool> MsdosVnode::next_listed(uint32_t slot, Listed& out) {
    Entry entry;
    if (!TRY(Directory(node()).next(slot, entry))) return false;
    out.slot = entry.slot;
    out.position = entry.position;
    out.directory = entry.is_directory();
    if (!show_name(entry, volume().names, out.name)) out.name.clear();
    return true;
}

Result<bool> MsdosVnode::has_entries() {
    Entry entry;
    return Directory(node()).next(0, entry);
}

Result<InodeNumber> MsdosVnode::parent() { return msdos_mount().directory_of(node().position()); }

} // namespace rump::msdosfs
