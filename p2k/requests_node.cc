// Requests about one node: lookup, forget, attributes, access, statfs, open.
#include "p2k/adapter.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

namespace rump::p2k {

void Adapter::Requests::lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
    answer(req, [&](Adapter& self) -> Result<void> {
        const std::string_view wanted(name);
        // From a file handle (NFS, open_by_handle_at), of a node that the host does not have: its
        // number counts, not the table, and no file without a name, which a forget is on its way
        // for.
        if (wanted == ".") {
            VnodeRef vnode = TRY(self.mount_.vget(self.nodes_.number_of(parent)));
            if (vnode->unlinked()) return Errno::stale;
            return self.reply_entry(req, std::move(vnode));
        }
        auto found = vfs::lookup(*TRY(self.node(parent)), wanted, self.cred(req));
        if (found.ok()) return self.reply_entry(req, std::move(*found));
        if (found.error() != Errno::noent || !self.mount_.traits().negative_names)
            return found.error();
        fuse_entry_param absent = {}; // ino 0: the host may remember that there is nothing
        absent.entry_timeout = self.attr_timeout();
        fuse_reply_entry(req, &absent);
        return {};
    });
}

void Adapter::Requests::forget(fuse_req_t req, fuse_ino_t id, uint64_t count) {
    static_cast<Adapter*>(fuse_req_userdata(req))->nodes_.forget(id, count);
    fuse_reply_none(req);
}

void Adapter::Requests::forget_multi(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
    NodeTable& nodes = static_cast<Adapter*>(fuse_req_userdata(req))->nodes_;
    for (size_t i = 0; i < count; ++i) nodes.forget(forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

void Adapter::Requests::getattr(fuse_req_t req, fuse_ino_t id, fuse_file_info* file) {
    answer(req, [&](Adapter& self) -> Result<void> {
        Vnode& vnode = *TRY(self.node(id));
        if (file) // asked for a write
            if (const auto late = self.late_errors_.take(vnode)) {
                fuse_reply_err(req, to_int(*late));
                return {};
            }
        return self.reply_attr(req, TRY(vfs::getattr(vnode)));
    });
}

namespace {

Timespec to_timespec(const struct timespec& t) {
    return {.sec = t.tv_sec, .nsec = static_cast<uint32_t>(t.tv_nsec)};
}

AttrChange to_change(const struct stat& attr, int to_set, Timespec now) {
    AttrChange change;
    if (to_set & FUSE_SET_ATTR_MODE) change.mode = attr.st_mode & mode_permissions;
    if (to_set & FUSE_SET_ATTR_UID) change.uid = attr.st_uid;
    if (to_set & FUSE_SET_ATTR_GID) change.gid = attr.st_gid;
    if (to_set & FUSE_SET_ATTR_SIZE) change.size = static_cast<uint64_t>(attr.st_size);
    if (to_set & FUSE_SET_ATTR_ATIME_NOW)
        change.atime = now;
    else if (to_set & FUSE_SET_ATTR_ATIME)
        change.atime = to_timespec(attr.st_atim);
    if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        change.mtime = now;
    else if (to_set & FUSE_SET_ATTR_MTIME)
        change.mtime = to_timespec(attr.st_mtim);
    // With the writeback cache the host keeps mtime and ctime, and hands them over here.
    if (to_set & FUSE_SET_ATTR_CTIME) change.ctime = to_timespec(attr.st_ctim);
    return change;
}

} // namespace

void Adapter::Requests::setattr(fuse_req_t req, fuse_ino_t id, struct stat* attr, int to_set,
                                fuse_file_info*) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if ((to_set & FUSE_SET_ATTR_SIZE) && attr->st_size < 0) return Errno::inval;
        const AttrChange change = to_change(*attr, to_set, self.mount_.kernel().now());
        Vnode& vnode = *TRY(self.node(id));
        auto attr = vfs::setattr(vnode, change, self.cred(req));
        // The host hands over the times of a file that became immutable since it was written. An
        // error would come up in whoever closes it next.
        constexpr int cached_times = FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME;
        if (!attr.ok() && attr.error() == Errno::perm && to_set == cached_times)
            attr = vfs::getattr(vnode);
        return self.reply_attr(req, TRY(std::move(attr)));
    });
}

Result<uapi::StatxOut> Adapter::statx(NodeId id) {
    const Attr attr = TRY(vfs::getattr(*TRY(node(id))));
    const auto time = [](Timespec t) { return uapi::StatxTime{t.sec, t.nsec, 0}; };
    uapi::StatxOut out = {};
    if (options_.cache_forever) out.valid_seconds = static_cast<uint64_t>(attr_timeout());
    uapi::Statx& s = out.stat;
    s.mask = STATX_BASIC_STATS | (attr.btime ? STATX_BTIME : 0);
    s.block_size = attr.block_size;
    s.links = attr.nlink;
    s.uid = attr.uid;
    s.gid = attr.gid;
    s.mode = static_cast<uint16_t>(type_to_mode(attr.type) | attr.mode);
    s.inode = attr.number.value();
    s.size = attr.size;
    s.blocks = attr.blocks;
    s.atime = time(attr.atime);
    s.mtime = time(attr.mtime);
    s.ctime = time(attr.ctime);
    s.btime = time(attr.btime.value_or(Timespec{}));
    s.rdev_major = attr.rdev.major;
    s.rdev_minor = attr.rdev.minor;
    return out;
}

void Adapter::Requests::access(fuse_req_t req, fuse_ino_t id, int mask) {
    answer(req, [&](Adapter& self) -> Result<void> {
        TRY(vfs::access(*TRY(self.node(id)), static_cast<unsigned>(mask), self.cred(req)));
        fuse_reply_err(req, 0);
        return {};
    });
}

void Adapter::Requests::statfs(fuse_req_t req, fuse_ino_t) {
    answer(req, [&](Adapter& self) -> Result<void> {
        self.host_.settle_forgets();
        const StatVfs stat = TRY(self.mount_.statvfs());
        struct statvfs st = {};
        st.f_bsize = stat.block_size;
        st.f_frsize = stat.fragment_size;
        st.f_blocks = stat.blocks;
        st.f_bfree = stat.blocks_free;
        st.f_bavail = stat.blocks_available;
        st.f_files = stat.files;
        st.f_ffree = stat.files_free;
        st.f_favail = stat.files_free;
        st.f_fsid = stat.fsid;
        st.f_namemax = stat.name_max;
        fuse_reply_statfs(req, &st);
        return {};
    });
}

/// ENOSYS once, and the host never asks again: it has what it needs to open.
void Adapter::Requests::open(fuse_req_t req, fuse_ino_t id, fuse_file_info* file) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (self.no_open_) return Errno::nosys;
        TRY(self.node(id));
        file->keep_cache = 1;
        fuse_reply_open(req, file);
        return {};
    });
}

void Adapter::Requests::opendir(fuse_req_t req, fuse_ino_t id, fuse_file_info* file) {
    answer(req, [&](Adapter& self) -> Result<void> {
        if (self.no_opendir_) return Errno::nosys;
        TRY(self.node(id));
        file->keep_cache = self.options_.cache_forever;
        file->cache_readdir = self.options_.cache_forever;
        fuse_reply_open(req, file);
        return {};
    });
}

} // namespace rump::p2k
