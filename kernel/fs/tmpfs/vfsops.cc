// Mounting tmpfs: its options, its root, what statvfs says. tmpfs(5) for the options.
#include "kernel/fs/tmpfs/vfsops.h"

#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/fs/tmpfs/vnops.h"
#include "kernel/kern/kernel.h"

#include "hostshim/memory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <new>

namespace rump::tmpfs {

namespace {

Mount::Traits tmpfs_traits() {
    Mount::Traits traits;
    traits.posix_acl = true;
    traits.max_file_size = INT64_MAX;
    traits.link_max = INT32_MAX;
    return traits;
}

/// "50%" of the host's memory, or bytes with a unit; 0 is no limit.
FailureOr<uint64_t> parse_limit(const std::string& text) {
    if (!text.ends_with('%')) {
        auto bytes = parse_size(text);
        if (!bytes.ok())
            return Failure(bytes.error(), "size=" + text + ": not a size (512k, 64M, 50%)");
        return *bytes;
    }
    uint64_t percent = 0;
    const char* end = text.data() + text.size() - 1;
    const auto parsed = std::from_chars(text.data(), end, percent);
    if (parsed.ec != std::errc() || parsed.ptr != end || percent < 1 || percent > 100)
        return Failure(Errno::inval, "size=" + text + ": not 1% to 100% of the memory");
    return host::memory_bytes() / 100 * percent;
}

FailureOr<uint32_t> parse_id(const OptionSet& set, std::string_view name) {
    const uint64_t id = set.number(name, 0);
    if (id >= UINT32_MAX)
        return Failure(Errno::inval, std::string(name) + "= is not from 0 to 4294967294");
    return static_cast<uint32_t>(id);
}

FailureOr<TmpOptions> parse_options(const OptionSet& set) {
    TmpOptions options;
    options.bytes = host::memory_bytes() / 2;
    if (set.has("size")) options.bytes = TRY(parse_limit(set.text("size")));
    if (options.bytes == 0) options.bytes = Budget::unlimited;
    // As many as pages, but never so few that a small mount cannot hold small files.
    options.nodes = std::max<uint64_t>(options.bytes / page_size, 1024);
    options.nodes = set.number("nr_inodes", options.nodes);
    if (options.nodes == 0) options.nodes = Budget::unlimited;
    options.uid = TRY(parse_id(set, "uid"));
    options.gid = TRY(parse_id(set, "gid"));
    const uint64_t mode = set.number("mode", options.mode);
    if (mode > mode_permissions) return Failure(Errno::inval, "mode= is not 0 to 7777");
    options.mode = static_cast<uint32_t>(mode);
    return options;
}

class TmpType final : public FileSystemType {
public:
    std::string_view name() const override { return "tmpfs"; }
    std::string_view description() const override { return "files in memory"; }
    bool needs_device() const override { return false; }
    std::span<const OptionSpec> mount_options() const override {
        using Kind = OptionSpec::Kind;
        static constexpr std::array<OptionSpec, 5> specs{{
            {"size", Kind::text, "BYTES|N%",
             "memory it may take; 0: no limit; default: half of the host's"},
            {"nr_inodes", Kind::size, "N", "files it may hold; 0: no limit; default: one a page"},
            {"mode", Kind::octal, "MODE", "permissions of the root directory; default: 1777"},
            {"uid", Kind::number, "UID", "owner of the root directory"},
            {"gid", Kind::number, "GID", "group of the root directory"},
        }};
        return specs;
    }
    FailureOr<void> check_mount_options(const OptionSet& options) const override {
        TRY(parse_options(options));
        return {};
    }
    FailureOr<std::unique_ptr<Mount>> mount(Kernel& kernel, MountArgs args) const override {
        const TmpOptions options = TRY(parse_options(args.options.fs));
        return TmpMount::create(kernel, *this, std::move(args), options);
    }
};

} // namespace

const FileSystemType& type() {
    static const TmpType type;
    return type;
}

TmpMount::TmpMount(Kernel& kernel, const FileSystemType& type, MountArgs args,
                   const TmpOptions& options)
    : Mount(kernel, type, std::move(args), tmpfs_traits()), hash_seed_(kernel.random().next()),
      fsid_(kernel.random().next()), budget_(options.bytes, options.nodes),
      nodes_(budget_, kernel.random().next32()) {}

FailureOr<std::unique_ptr<Mount>> TmpMount::create(Kernel& kernel, const FileSystemType& type,
                                                   MountArgs args, const TmpOptions& options) {
    std::unique_ptr<TmpMount> mount(new TmpMount(kernel, type, std::move(args), options));
    const InodeNumber root(NodeTable::root_number);
    auto node = mount->nodes_.make({.type = FileType::dir,
                                    .mode = options.mode,
                                    .uid = options.uid,
                                    .gid = options.gid,
                                    .now = kernel.now(),
                                    .parent = root,
                                    .hash_seed = mount->hash_seed_},
                                   root);
    if (!node.ok()) return Failure(node.error(), "size= leaves no room for the root directory");
    ASSERT((*node)->number == root);
    (*node)->links.store(2, std::memory_order_relaxed);
    return std::unique_ptr<Mount>(std::move(mount));
}

Result<StatVfs> TmpMount::statvfs() {
    StatVfs out;
    out.block_size = page_size;
    out.fragment_size = page_size;
    out.blocks = budget_.byte_limit() / page_size;
    out.blocks_free = budget_.bytes_left() / page_size;
    out.blocks_available = out.blocks_free;
    out.files = budget_.node_limit();
    out.files_free = budget_.node_limit() - budget_.nodes();
    out.fsid = fsid_;
    return out;
}

std::vector<std::pair<std::string, std::string>> TmpMount::describe() {
    return {{"bytes in use", std::to_string(budget_.bytes())},
            {"files in use", std::to_string(budget_.nodes())}};
}

Result<std::unique_ptr<Vnode>> TmpMount::load(InodeNumber number) {
    NodeRef node = nodes_.find(number);
    if (!node || node->links.load(std::memory_order_acquire) == 0) return Errno::stale;
    return std::unique_ptr<Vnode>(std::make_unique<TmpVnode>(*this, std::move(node)));
}

} // namespace rump::tmpfs
