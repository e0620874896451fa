// What all requests share, the negotiation with the host's kernel, and the table that libfuse
// calls.
#include "p2k/adapter.h"

#include "p2k/fuse_uring.h"

#include <linux/fuse.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>

namespace rump::p2k {

namespace {

/// Node ids up to this are kept in the lock-free table: numbers of a format with inodes are dense.
/// A format that makes numbers up answers with few files and large numbers, and uses the hash.
Result<uint64_t> dense_limit(Mount& mount) {
    const StatVfs stat = TRY(mount.statvfs());
    return std::max<uint64_t>(65536, stat.files <= UINT32_MAX / 2 ? stat.files * 2 : UINT32_MAX);
}

} // namespace

Adapter::Adapter(Mount& mount, RequestHost& host, const AdapterOptions& options, uint64_t limit)
    : mount_(mount), host_(host), options_(options), nodes_(mount, limit) {}

Result<std::unique_ptr<Adapter>> Adapter::create(Mount& mount, RequestHost& host,
                                                 const AdapterOptions& options) {
    const uint64_t limit = TRY(dense_limit(mount));
    auto adapter = std::unique_ptr<Adapter>(new Adapter(mount, host, options, limit));
    adapter->nodes_.set_root(TRY(mount.root()));
    return adapter;
}

namespace {

/// The flags that the host's kernel offers in an INIT message, all 64 of them.
uint64_t offered_flags(std::span<const std::byte> message) {
    fuse_init_in in = {};
    if (message.size() <= sizeof(fuse_in_header)) return 0;
    const auto body = message.subspan(sizeof(fuse_in_header));
    std::memcpy(&in, body.data(), std::min(body.size(), sizeof in));
    return in.flags | (in.flags & FUSE_INIT_EXT ? uint64_t{in.flags2} << 32 : 0);
}

} // namespace

void Adapter::init(fuse_conn_info& conn) {
    unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_EXPORT_SUPPORT |
                    FUSE_CAP_DONT_MASK | FUSE_CAP_IOCTL_DIR | FUSE_CAP_READDIRPLUS |
                    FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS |
                    FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_SPLICE_WRITE;
    // Who opens is asked nothing more: permissions are in the attributes that the host has.
    if (options_.cache_forever) want |= FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT;
    // With this the host checks permissions in any case.
    if (mount_.traits().posix_acl && options_.permissions == Permissions::host)
        want |= FUSE_CAP_POSIX_ACL;
    // We clear set-id bits. The second version also spares the host a getxattr for each write.
    const uint64_t offered = offered_flags(host_.this_thread().message());
    killpriv_v2_ = offered & FUSE_HANDLE_KILLPRIV_V2;
    offers_uring_ = offered & uapi::over_io_uring;
    if (!killpriv_v2_) want |= FUSE_CAP_HANDLE_KILLPRIV;

    conn.want = conn.capable & want;
    no_open_ = conn.want & FUSE_CAP_NO_OPEN_SUPPORT;
    no_opendir_ = conn.want & FUSE_CAP_NO_OPENDIR_SUPPORT;
    conn.max_write = options_.max_write;
    conn.max_background = 64;
    conn.congestion_threshold = 48;
    // The host keeps times of files that it caches; it knows no coarser ones than seconds.
    conn.time_gran = std::min(mount_.traits().time_granularity_ns, 1'000'000'000u);
}

uint64_t Adapter::extra_init_flags() const { return killpriv_v2_ ? FUSE_HANDLE_KILLPRIV_V2 : 0; }

void Adapter::Requests::init(void* self, fuse_conn_info* conn) {
    static_cast<Adapter*>(self)->init(*conn);
}

struct stat Adapter::to_stat(const Attr& attr) const {
    struct stat st = {};
    st.st_ino = attr.number.value();
    st.st_mode = type_to_mode(attr.type) | attr.mode;
    st.st_nlink = attr.nlink;
    st.st_uid = attr.uid;
    st.st_gid = attr.gid;
    st.st_rdev = makedev(attr.rdev.major, attr.rdev.minor);
    st.st_size = static_cast<off_t>(attr.size);
    st.st_blocks = static_cast<blkcnt_t>(attr.blocks);
    st.st_blksize = attr.block_size;
    st.st_atim = {.tv_sec = attr.atime.sec, .tv_nsec = attr.atime.nsec};
    st.st_mtim = {.tv_sec = attr.mtime.sec, .tv_nsec = attr.mtime.nsec};
    st.st_ctim = {.tv_sec = attr.ctime.sec, .tv_nsec = attr.ctime.nsec};
    return st;
}

Result<fuse_entry_param> Adapter::make_entry(VnodeRef vnode) {
    fuse_entry_param entry = {};
    entry.attr = to_stat(TRY(vfs::getattr(*vnode)));
    entry.generation = vnode->generation();
    entry.attr_timeout = attr_timeout();
    entry.entry_timeout = attr_timeout();
    entry.ino = TRY(nodes_.enter(std::move(vnode)));
    return entry;
}

Result<void> Adapter::reply_entry(fuse_req_t req, VnodeRef vnode) {
    const fuse_entry_param entry = TRY(make_entry(std::move(vnode)));
    // A request that was taken back has looked up nothing.
    if (fuse_reply_entry(req, &entry) != 0) nodes_.forget(entry.ino, 1);
    return {};
}

Result<void> Adapter::reply_attr(fuse_req_t req, const Attr& attr) const {
    const struct stat st = to_stat(attr);
    fuse_reply_attr(req, &st, attr_timeout());
    return {};
}

const fuse_lowlevel_ops& Adapter::operations() {
    static constexpr fuse_lowlevel_ops ops = {
        .init = Requests::init,
        .lookup = Requests::lookup,
        .forget = Requests::forget,
        .getattr = Requests::getattr,
        .setattr = Requests::setattr,
        .readlink = Requests::readlink,
        .mknod = Requests::mknod,
        .mkdir = Requests::mkdir,
        .unlink = Requests::unlink,
        .rmdir = Requests::rmdir,
        .symlink = Requests::symlink,
        .rename = Requests::rename,
        .link = Requests::link,
        .open = Requests::open,
        .read = Requests::read,
        .write = Requests::write,
        .flush = Requests::flush,
        .fsync = Requests::fsync,
        .opendir = Requests::opendir,
        .readdir = Requests::readdir,
        .fsyncdir = Requests::fsync,
        .statfs = Requests::statfs,
        .setxattr = Requests::setxattr,
        .getxattr = Requests::getxattr,
        .listxattr = Requests::listxattr,
        .removexattr = Requests::removexattr,
        .access = Requests::access,
        .create = Requests::create,
        .ioctl = Requests::ioctl,
        .forget_multi = Requests::forget_multi,
        .fallocate = Requests::fallocate,
        .readdirplus = Requests::readdirplus,
        .copy_file_range = Requests::copy_file_range,
        .lseek = Requests::lseek,
    };
    return ops;
}

} // namespace rump::p2k
