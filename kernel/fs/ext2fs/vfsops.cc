// Mounting, superblock, commits, unmounting.
#include "kernel/fs/ext2fs/vfsops.h"

#include "kernel/fs/ext2fs/ext2fs.h"
#include "kernel/fs/ext2fs/vnops.h"
#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/vnode_cache.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace rump::ext2 {

using host::MutexGuard;

namespace {

constexpr uint32_t link_max = 32000; // as Linux has it, for files and directories

Mount::Traits traits_of(const Geometry& g) {
    Mount::Traits t;
    t.posix_acl = true;
    t.max_file_size = g.max_file_size;
    t.link_max = link_max;
    if (g.inode_size == 128) t.time_granularity_ns = 1'000'000'000;
    return t;
}

std::string text_field(std::span<const char> field) {
    return {field.data(), strnlen(field.data(), field.size())};
}

/// What is longer is cut.
void set_text_field(std::span<char> field, std::string_view text) {
    std::fill(field.begin(), field.end(), '\0');
    std::copy_n(text.begin(), std::min(text.size(), field.size()), field.begin());
}

std::string uuid_text(const uint8_t (&id)[16]) {
    std::string out;
    for (size_t i = 0; i < 16; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
        out += fmt::format("{:02x}", id[i]);
    }
    return out;
}

Result<disk::Superblock> read_superblock(host::BlockDevice& device) {
    disk::Superblock sb;
    std::array<std::byte, sizeof sb> bytes;
    TRY(device.read(disk::superblock_offset, bytes));
    std::memcpy(&sb, bytes.data(), sizeof sb);
    return sb;
}

bool too_short(host::BlockDevice& device) {
    return device.size() < disk::superblock_offset + sizeof(disk::Superblock);
}

uint32_t seconds(Timespec time) { return PackedTime::from(time, false).seconds; }

} // namespace

// --- mounting
// -----------------------------------------------------------------------------------------

Ext2Mount::Ext2Mount(Kernel& kernel, const FileSystemType& type, MountArgs args,
                     const disk::Superblock& sb, const Geometry& geometry)
    : Mount(kernel, type, std::move(args), traits_of(geometry)), volume_(*this, geometry),
      state_at_mount_(sb.state), hash_(HashKind::of(sb)),
      reserved_uid_(static_cast<uint32_t>(options().fs.number("resuid", sb.reserved_uid))),
      reserved_gid_(static_cast<uint32_t>(options().fs.number("resgid", sb.reserved_gid))),
      allocator_(volume_, sb.reserved_blocks, sb.state == disk::state_valid),
      xattrs_(volume_, allocator_), sb_(sb), stored_(sb) {}

Ext2Mount::~Ext2Mount() { vnodes().drop_inactive(true); }

FailureOr<std::unique_ptr<Mount>> Ext2Mount::create(Kernel& kernel, const FileSystemType& type,
                                                    MountArgs args) {
    if (too_short(*args.device)) return Failure{Errno::inval, "too short for an ext2 superblock"};
    auto sb = read_superblock(*args.device);
    if (!sb) return Failure{Errno::io, "cannot read the superblock"};
    const Geometry geometry = TRY(Geometry::validate(*sb, args.device->size()));
    std::unique_ptr<Ext2Mount> mount(new Ext2Mount(kernel, type, std::move(args), *sb, geometry));
    TRY(mount->start());
    return std::unique_ptr<Mount>(std::move(mount));
}

FailureOr<void> Ext2Mount::start() {
    auto loaded = volume_.load_groups([&](GroupNumber group, const disk::GroupDescriptor& d) {
        allocator_.set_counts(group, d);
    });
    if (!loaded) return Failure{loaded.error(), "cannot read the group descriptors"};
    allocator_.finish_loading();
    auto root = root_vnode_check();
    if (!root) return root;
    host::Log& log = kernel().log();
    if (!(state_at_mount_ & disk::state_valid))
        log.warning("ext2fs: was not unmounted cleanly; check it (e2fsck) to be sure of it");
    if (state_at_mount_ & disk::state_error)
        log.warning("ext2fs: is marked as having errors; check it (e2fsck)");
    return {};
}

FailureOr<void> Ext2Mount::root_vnode_check() {
    auto root = load_node(root_number(), false);
    if (!root)
        return Failure{root.error() == Errno::stale ? Errno::uclean : root.error(),
                       "the root directory's inode cannot be used"};
    if (!(*root)->is_dir()) return Failure{Errno::uclean, "the root inode is no directory"};
    return {};
}

FailureOr<void> Ext2Mount::begin_writing() {
    if (const std::string unknown = geometry().unknown_ro_features(); !unknown.empty())
        return Failure{
            Errno::rofs,
            fmt::format("uses the {}, which this driver cannot write; mount it with -o ro",
                        feature_phrase(unknown))};
    {
        MutexGuard guard(super_lock_);
        sb_.state = static_cast<uint16_t>(sb_.state & ~disk::state_valid);
        sb_.mount_time = seconds(kernel().now());
        sb_.write_time = seconds(kernel().now());
        sb_.mount_count = static_cast<uint16_t>(sb_.mount_count + 1);
        if (!options().mounted_on.empty()) set_text_field(sb_.last_mounted, options().mounted_on);
        orphans_left_ = sb_.last_orphan;
        if (!write_superblock()) return Failure{Errno::io, "cannot write the superblock"};
        if (!device().flush()) return Failure{Errno::io, "cannot write the superblock"};
    }
    process_orphans();
    return {};
}

Result<void> Ext2Mount::end_writing() {
    MutexGuard guard(super_lock_);
    refresh_superblock();
    sb_.write_time = seconds(kernel().now());
    // What was not clean before does not become so by being used.
    sb_.state = static_cast<uint16_t>(sb_.state | (state_at_mount_ & disk::state_valid));
    TRY(write_backups());
    TRY(device().flush());
    return write_superblock();
}

// --- superblock
// ------------------------------------------------------------------------------------------

void Ext2Mount::refresh_superblock() {
    sb_.free_blocks = allocator_.mapped_free_blocks();
    sb_.free_inodes = allocator_.mapped_free_inodes();
    sb_.feature_ro_compat |= new_ro_features_.load(std::memory_order_relaxed);
    sb_.feature_compat |= new_compat_features_.load(std::memory_order_relaxed);
    if (tainted()) sb_.state |= disk::state_error;
    MutexGuard guard(orphan_lock_);
    sb_.last_orphan = orphans_ ? orphans_->inode().number : orphans_left_;
}

Result<void> Ext2Mount::store_superblock(Transaction& tx) {
    MutexGuard guard(super_lock_);
    refresh_superblock();
    if (std::memcmp(&sb_, &stored_, sizeof sb_) == 0) return {};
    sb_.write_time = seconds(kernel().now());
    const uint64_t offset = disk::superblock_offset;
    Buf buf = TRY(volume_.read(BlockNumber(offset >> geometry().block_shift)));
    tx.modify_as<disk::Superblock>(buf, offset & (geometry().block_size - 1),
                                   WritePhase::allocation) = sb_;
    stored_ = sb_;
    return {};
}

/// Past the buffer cache: whoever stores it there writes all of it.
Result<void> Ext2Mount::write_superblock() {
    TRY(device().write(disk::superblock_offset, std::as_bytes(std::span(&sb_, 1))));
    stored_ = sb_;
    return {};
}

Result<void> Ext2Mount::write_backups() {
    const Geometry& g = geometry();
    std::vector<std::byte> descriptors(size_t{g.descriptor_blocks} << g.block_shift);
    bool have = false;
    for (uint32_t n = 1; n < g.group_count; ++n) {
        const GroupNumber group(n);
        if (!g.has_superblock(group) || g.blocks_in(group) < g.head_blocks(group)) continue;
        if (!have)
            TRY(device().read(g.offset_of(g.descriptor_block(GroupNumber(0), 0)), descriptors));
        have = true;
        disk::Superblock copy = sb_;
        copy.block_group = static_cast<uint16_t>(n);
        TRY(device().write(g.offset_of(g.first_block(group)), std::as_bytes(std::span(&copy, 1))));
        TRY(device().write(g.offset_of(g.descriptor_block(group, 0)), descriptors));
    }
    return {};
}

// --- inodes
// ---------------------------------------------------------------------------------------------

Result<Buf> Ext2Mount::inode_block(InodeNumber number, uint32_t& offset) {
    const InodePlace place = inode_place(geometry(), number);
    if (volume_.groups[geometry().group_of(number).value()].bad) return Errno::uclean;
    offset = place.offset;
    return volume_.read(volume_.inode_table_block(number, place.table_block));
}

Result<std::unique_ptr<Node>> Ext2Mount::load_node(InodeNumber number, bool orphan) {
    if (!geometry().inode_usable(number.value())) return Errno::stale;
    uint32_t offset = 0;
    const Buf table = TRY(inode_block(number, offset));
    ParsedInode parsed =
        parse_inode(geometry(), number, table.bytes().subspan(offset, geometry().inode_size));
    const Inode& inode = parsed.inode;
    if (inode.mode == 0 || (inode.links == 0 && !orphan)) return Errno::stale;
    if (!parsed.problem.empty())
        return volume_.corrupt("inode {}: {}", number.value(), parsed.problem);
    return std::make_unique<Node>(*this, inode);
}

Result<std::unique_ptr<Vnode>> Ext2Mount::load(InodeNumber number) {
    {
        MutexGuard guard(orphan_lock_);
        if (deleting_.contains(static_cast<uint32_t>(number.value()))) return Errno::stale;
    }
    return std::unique_ptr<Vnode>(TRY(load_node(number, false)));
}

void Ext2Mount::mark_dirty(Node& node) {
    if (node.dirty()) return;
    MutexGuard guard(dirty_lock_);
    if (node.dirty()) return;
    node.dirty_slot_.store(static_cast<uint32_t>(dirty_.size()), std::memory_order_relaxed);
    dirty_.push_back(&node);
}

void Ext2Mount::mark_clean(Node& node) {
    MutexGuard guard(dirty_lock_);
    const uint32_t slot = node.dirty_slot_.exchange(Node::not_dirty, std::memory_order_relaxed);
    if (slot == Node::not_dirty) return;
    dirty_[slot] = dirty_.back();
    dirty_[slot]->dirty_slot_.store(slot == dirty_.size() - 1 ? Node::not_dirty : slot,
                                    std::memory_order_relaxed);
    dirty_.pop_back();
}

Result<void> Ext2Mount::store_node(Transaction& tx, Node& node) {
    uint32_t offset = 0;
    Buf table = TRY(inode_block(node.number(), offset));
    Inode image = node.inode_;
    if (image.links > 0) image.dtime = 0;
    {
        MutexGuard guard(orphan_lock_);
        // As long as the device may have a name for it, it must have the inode.
        if (node.removal_ == Node::Removal::pending) {
            image.links = node.is_dir() ? 2 : 1;
            image.dtime = 0;
        } else if (node.removal_ == Node::Removal::orphan) {
            image.dtime = node.orphan_next_ ? node.orphan_next_->inode_.number : 0;
        }
    }
    store_inode(geometry(), image,
                tx.modify(table, offset, geometry().inode_size, WritePhase::inode));
    node.inode_.tail_unset = false;
    return {};
}

// --- commits
// -----------------------------------------------------------------------------------------------

Result<void> Ext2Mount::epoch_collect(Transaction& tx) {
    Result<void> result;
    {
        // Held all along: a node may end meanwhile where nothing can be written any more.
        MutexGuard guard(dirty_lock_);
        std::sort(dirty_.begin(), dirty_.end(),
                  [](const Node* a, const Node* b) { return a->number() < b->number(); });
        for (Node* node : dirty_)
            if (auto stored = store_node(tx, *node); !stored) result = stored;
        for (Node* node : dirty_)
            node->dirty_slot_.store(Node::not_dirty, std::memory_order_release);
        dirty_.clear();
    }
    TRY(std::move(result));
    {
        MutexGuard guard(orphan_lock_);
        removed_committing_.insert(removed_committing_.end(), removed_open_.begin(),
                                   removed_open_.end());
        removed_open_.clear();
        for (Deletion& deletion : deletions_open_)
            deletions_committing_.push_back(std::move(deletion));
        deletions_open_.clear();
    }
    TRY(allocator_.collect(tx));
    return store_superblock(tx);
}

void Ext2Mount::epoch_committed(Transaction& tx) {
    allocator_.committed(tx); // what was deleted before, so first
    settle_removed();
    delete_inodes(tx);
}

// --- what users ask
// ------------------------------------------------------------------------------------------

Result<StatVfs> Ext2Mount::statvfs() {
    const Geometry& g = geometry();
    StatVfs s;
    s.block_size = g.block_size;
    s.fragment_size = g.block_size;
    uint64_t overhead = g.first_data_block;
    for (uint32_t n = 0; n < g.group_count; ++n)
        overhead += g.head_blocks(GroupNumber(n)) + 2 + g.inode_table_blocks;
    s.blocks = g.block_count > overhead ? g.block_count - overhead : 0;
    s.blocks_free = allocator_.free_blocks();
    const uint64_t kept = allocator_.reserved_blocks();
    s.blocks_available = s.blocks_free > kept ? s.blocks_free - kept : 0;
    s.files = g.inode_count;
    s.files_free = allocator_.free_inodes();
    MutexGuard guard(super_lock_);
    std::memcpy(&s.fsid, sb_.uuid, sizeof s.fsid);
    return s;
}

Result<uint64_t> Ext2Mount::trim(uint64_t offset, uint64_t length, uint64_t minimum) {
    if (read_only()) return Errno::rofs;
    return allocator_.trim(offset, length, minimum);
}

/// As Linux has it: group 0 is nobody's in particular.
bool Ext2Mount::may_use_reserved(const Cred& cred) const {
    return cred.is_superuser() || cred.uid() == reserved_uid_ ||
           (reserved_gid_ != 0 && cred.in_group(reserved_gid_));
}

std::vector<std::pair<std::string, std::string>> Ext2Mount::describe() {
    const Geometry& g = geometry();
    MutexGuard guard(super_lock_);
    return {
        {"label", text_field(sb_.volume_name)},
        {"uuid", uuid_text(sb_.uuid)},
        {"revision", fmt::format("{}", g.revision)},
        {"features", g.feature_names()},
        {"block size", fmt::format("{}", g.block_size)},
        {"inode size", fmt::format("{}", g.inode_size)},
        {"groups", fmt::format("{}", g.group_count)},
        {"state", state_at_mount_ & disk::state_valid ? "clean" : "not clean"},
        {"last mounted on", text_field(sb_.last_mounted)},
        {"mount count", fmt::format("{}", sb_.mount_count.get())},
    };
}

// --- the type
// ---------------------------------------------------------------------------------------------

namespace {

class Ext2Type final : public FileSystemType {
public:
    std::string_view name() const override { return "ext2fs"; }
    std::span<const std::string_view> aliases() const override {
        static constexpr std::string_view names[] = {"ext2"};
        return names;
    }
    std::string_view description() const override { return "second extended file system (ext2)"; }

    std::span<const OptionSpec> mount_options() const override {
        static constexpr OptionSpec specs[] = {
            {"resuid", OptionSpec::Kind::number, "UID",
             "who may use the reserved blocks, beside root"},
            {"resgid", OptionSpec::Kind::number, "GID", "the group that may"},
        };
        return specs;
    }

    FailureOr<void> check_mount_options(const OptionSet& options) const override {
        for (const char* name : {"resuid", "resgid"})
            if (const uint64_t id = options.number(name, 0); id >= UINT32_MAX)
                return Failure(Errno::inval, fmt::format("option {}={}: not from 0 to {}", name, id,
                                                         UINT32_MAX - 1));
        return {};
    }

    Result<std::optional<ProbeResult>> probe(host::BlockDevice& device) const override {
        if (too_short(device)) return std::optional<ProbeResult>();
        const disk::Superblock sb = TRY(read_superblock(device));
        if (sb.magic != disk::superblock_magic || sb.log_block_size > 6 || sb.inode_count == 0u)
            return std::optional<ProbeResult>();
        return std::optional(ProbeResult{"ext2fs", text_field(sb.volume_name), uuid_text(sb.uuid)});
    }
    FailureOr<std::unique_ptr<Mount>> mount(Kernel& kernel, MountArgs args) const override {
        TRY(check_mount_options(args.options.fs));
        return Ext2Mount::create(kernel, *this, std::move(args));
    }
    bool can_check() const override { return true; }
    FailureOr<CheckReport> check(host::BlockDevice& device, const CheckOptions& options,
                                 host::Log& log) const override {
        return check_filesystem(device, options, log);
    }
    bool can_newfs() const override { return true; }
    std::span<const OptionSpec> newfs_options() const override { return newfs_option_specs(); }
    FailureOr<void> newfs(Kernel& kernel, host::BlockDevice& device,
                          const OptionSet& options) const override {
        return make_filesystem(kernel, device, options);
    }
};

} // namespace

const FileSystemType& type() {
    static const Ext2Type instance;
    return instance;
}

} // namespace rump::ext2
