// Attributes and data. See vnode.h.
#include "kernel/fs/clusters/vnode.h"

#include "kernel/fs/clusters/slots.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/generic_io.h"

#include <fmt/format.h>

namespace rump::clusters {

namespace {
constexpr uint32_t write_bits = 0222;
/// A gap behind a file's end that is larger than this is filled in transactions of its own.
constexpr uint64_t gap_in_one = 8u << 20;
/// Cookies: 1 behind ".", 2 behind "..", then the slot behind an entry's, and 2.
constexpr uint64_t cookie_base = 2;
} // namespace

ClusterVnode::ClusterVnode(Mount& mount, std::shared_ptr<ClusterFile> file, uint32_t generation)
    : Vnode(mount, file->number(), generation,
            file->is_directory() ? FileType::dir : FileType::reg),
      file_(std::move(file)) {}

Timespec ClusterVnode::now() const { return mount().kernel().now(); }

void ClusterVnode::touch() {
    EntryChange change;
    change.written = now();
    file_->change(change);
}

InodeNumber ClusterVnode::new_number(Transaction& tx, uint64_t position, bool never_used) {
    vfs::DirentNumbers& numbers = space().numbers;
    InodeNumber number = numbers.created(position, never_used);
    tx.on_abort([&numbers, number, position] { numbers.removed(number, position); });
    return number;
}

// --- names --------------------------------------------------------------------------------------

Result<VnodeRef> ClusterVnode::lookup(Name name) {
    ASSERT(lock.held());
    if (name.is_dot()) return VnodeRef::to(*this);
    if (name.is_dotdot()) return mount().vget(TRY(parent()));
    return find(name);
}

Result<VnodeRef> ClusterVnode::make_entry(FunctionRef<Result<VnodeRef>(Transaction&)> entry) {
    ASSERT(lock.held_exclusive());
    return in_order(mount(), [&]() -> Result<VnodeRef> {
        auto tx = TRY(mount().begin());
        VnodeRef made = TRY(entry(tx));
        touch();
        tx.done();
        return made;
    });
}

Result<VnodeRef> ClusterVnode::create(Name name, const NewNode& node) {
    if (node.type != FileType::reg) return Errno::perm;
    bool read_only = (node.mode & write_bits) == 0;
    return make_entry([&](Transaction& tx) { return make_file(tx, name, read_only); });
}

Result<VnodeRef> ClusterVnode::mkdir(Name name, const NewNode&) {
    return make_entry([&](Transaction& tx) { return make_directory(tx, name); });
}

Result<VnodeRef> ClusterVnode::symlink(Name, std::string_view, const NewNode&) {
    return Errno::perm;
}
Result<void> ClusterVnode::link(Name, Vnode&) { return Errno::perm; }

Result<void> ClusterVnode::readdir(uint64_t cookie, DirSink sink) {
    ASSERT(lock.held());
    if (cookie > file_->format().directory_bytes_max / SlotDirectory::slot_size + cookie_base)
        return Errno::inval;
    if (cookie == 0) {
        if (!sink({number(), FileType::dir, ".", 1})) return {};
        cookie = 1;
    }
    if (cookie == 1) {
        InodeNumber above = number();
        if (!file_->is_root() && !unlinked()) above = TRY(parent());
        if (!sink({above, FileType::dir, "..", 2})) return {};
        cookie = 2;
    }
    if (unlinked()) return {};
    Listed entry;
    for (auto slot = static_cast<uint32_t>(cookie - cookie_base); TRY(next_listed(slot, entry));
         slot = entry.slot + 1) {
        if (entry.name.empty()) {
            (void)mount().corrupt(fmt::format("{}, slot {}: a name that no file can have",
                                              file_->label(), entry.slot));
            continue;
        }
        DirEntry out;
        out.number = space().numbers.at(entry.position);
        out.type = entry.directory ? FileType::dir : FileType::reg;
        out.name = entry.name;
        out.next_cookie = uint64_t{entry.slot} + 1 + cookie_base;
        if (!sink(out)) return {};
    }
    return {};
}

Result<void> ClusterVnode::erase(Name name, Vnode& victim) {
    ASSERT(lock.held_exclusive() && victim.lock.held_exclusive());
    ClusterFile& file = static_cast<ClusterVnode&>(victim).file();
    auto tx = TRY(mount().begin());
    TRY(erase_name(tx, name, file));
    file.set_unlinked(tx);
    touch();
    tx.done();
    return {};
}

Result<void> ClusterVnode::remove(Name name, Vnode& victim) { return erase(name, victim); }

Result<void> ClusterVnode::rmdir(Name name, Vnode& victim) {
    if (TRY(static_cast<ClusterVnode&>(victim).has_entries())) return Errno::notempty;
    return erase(name, victim);
}

Result<void> ClusterVnode::rename(const RenameArgs& args) {
    ASSERT(lock.held_exclusive() && args.to_dir.lock.held_exclusive() &&
           args.source.lock.held_exclusive());
    // Two entries cannot change places in a way that a cut leaves both files with a name.
    if (args.exchange) return Errno::inval;
    auto* target = static_cast<ClusterVnode*>(args.target);
    if (target && target->is_dir() && TRY(target->has_entries())) return Errno::notempty;
    auto tx = TRY(mount().begin());
    TRY(target ? replace(tx, args) : move(tx, args));
    // What is in core may be newer than the entry that was moved.
    static_cast<ClusterVnode&>(args.source).file().change({});
    touch();
    static_cast<ClusterVnode&>(args.to_dir).touch();
    tx.done();
    return {};
}

Result<void> ClusterVnode::drop_hidden(Mount& mount, Space& space) {
    for (const Twins::Hidden& name : space.twins.hidden()) {
        auto dir = mount.vget(name.directory == 0 ? mount.root_number()
                                                  : space.numbers.at(name.directory));
        if (!dir) continue;
        host::ExclusiveGuard guard((*dir)->lock);
        auto tx = TRY(mount.begin());
        if (!static_cast<ClusterVnode&>(**dir).erase_slot(tx, name.slot)) continue;
        tx.done();
        space.twins.dropped(name);
    }
    return {};
}

Result<void> ClusterVnode::inactive() { return file_->release_clusters(); }

// --- attributes ---------------------------------------------------------------------------------

Result<Attr> ClusterVnode::getattr() {
    ASSERT(lock.held());
    Attr attr = file_->attr();
    attr.generation = generation();
    attr.uid = mount().options().uid.value_or(0);
    attr.gid = mount().options().gid.value_or(0);
    return attr;
}

/// Only "may be written" has a bit, and that of files only. As Linux's drivers do, other permission
/// bits are let go in silence, else no archive could be unpacked; set-id bits and owners are
/// refused, but for `quiet`.
Result<void> ClusterVnode::setattr(const AttrChange& change) {
    ASSERT(lock.held_exclusive());
    const Options& options = space().options;
    Attr attr = TRY(getattr());
    EntryChange entry;
    if (change.mode) {
        if ((*change.mode & ~0777u) && !options.quiet) return Errno::perm;
        uint32_t all = 0777 & ~options.file_mask;
        if (!is_dir() && (all & write_bits))
            entry.read_only = (*change.mode & all & write_bits) == 0;
    }
    bool owner = (change.uid && *change.uid != attr.uid) || (change.gid && *change.gid != attr.gid);
    if (owner && !options.quiet) return Errno::perm;
    if (change.flags && *change.flags != attr.flags) return Errno::perm;
    if (change.size) TRY(file_->own_clusters(*change.size));
    if (change.size && *change.size > attr.size) TRY(file_->extend(*change.size));

    auto tx = TRY(mount().begin());
    if (change.size && *change.size < attr.size) file_->shrink(*change.size);
    if (change.size) entry.written = now(), entry.archive = true;
    if (change.mtime) entry.written = change.mtime;
    entry.accessed = change.atime;
    entry.created = change.btime;
    file_->change(entry);
    tx.done();
    return {};
}

Result<void> ClusterVnode::fsync(bool data_only) {
    (void)data_only; // the size and the first cluster stand in the directory entry
    return mount().epoch().commit();
}

// --- data ---------------------------------------------------------------------------------------

Result<void> ClusterVnode::map(uint64_t offset, uint64_t length, ExtentList& out) {
    ASSERT(lock.held());
    return file_->map(offset, length, out);
}

Result<void> ClusterVnode::prepare_write(Transaction& tx, uint64_t offset, uint64_t length,
                                         bool privileged, ExtentList& out) {
    ASSERT(lock.held_exclusive());
    (void)privileged;
    return file_->prepare_write(tx, offset, length, out);
}

Result<void> ClusterVnode::finish_write(Transaction& tx, uint64_t end) {
    ASSERT(lock.held_exclusive());
    (void)tx;
    file_->finish_write(end, now());
    return {};
}

Result<size_t> ClusterVnode::write(uint64_t offset, std::span<const std::byte> data,
                                   bool privileged) {
    ASSERT(lock.held_exclusive());
    uint64_t max = mount().traits().max_file_size;
    if (offset > max || data.size() > max - offset) return Errno::fbig;
    TRY(file_->own_clusters(UINT64_MAX));
    uint64_t size = file_->size();
    bool gap = !data.empty() && offset > size && offset - size > gap_in_one;
    if (gap) {
        TRY(vfs::zero_past_end(*this, size, offset));
        TRY(file_->extend(offset));
    }
    size_t done = 0;
    while (done < data.size()) {
        auto written = in_order(
            mount(), [&] { return Vnode::write(offset + done, data.subspan(done), privileged); });
        if (!written && done > 0) break;
        if (!written && gap) file_->shrink(size);
        done += TRY(std::move(written));
    }
    return done;
}

/// Space is taken with zeros in it, or reads as such; there is none behind the end of a file.
Result<void> ClusterVnode::allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                                    bool privileged) {
    ASSERT(lock.held_exclusive());
    (void)privileged;
    uint64_t size = file_->size(), max = mount().traits().max_file_size;
    if (offset > max || length > max - offset) return Errno::fbig;
    uint64_t end = offset + length;
    if (keep_size && end > size) return Errno::opnotsupp;
    TRY(file_->own_clusters(UINT64_MAX));
    if (zero && offset < size)
        TRY(vfs::zero_allocated(*this, offset, std::min(end, size) - offset));
    if (end > size) TRY(file_->extend(end));
    auto tx = TRY(mount().begin());
    EntryChange change;
    change.written = now();
    change.archive = true;
    file_->change(change);
    tx.done();
    return {};
}

} // namespace rump::clusters
