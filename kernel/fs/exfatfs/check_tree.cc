// The check of the tree: directories, entry sets, names, the clusters of files.
#include "kernel/fs/exfatfs/checker.h"

#include "kernel/sys/rounding.h"
#include "kernel/vfs/utf16.h"

#include <algorithm>
#include <cstring>

namespace rump::exfatfs {

namespace {

bool in_use(uint8_t type) { return type & disk::type_in_use; }
bool secondary(uint8_t type) { return in_use(type) && (type & disk::type_secondary); }

/// Of all entries of a set but the checksum's own two bytes (specification, 6.3.3).
uint16_t set_checksum(std::span<const std::byte> set) {
    unsigned sum = 0;
    for (size_t at = 0; at < set.size(); at++)
        if (at != 2 && at != 3)
            sum = (((sum & 1) << 15 | sum >> 1) + static_cast<uint8_t>(set[at])) & 0xffff;
    return static_cast<uint16_t>(sum);
}

} // namespace

Result<void> Checker::write_slot(const Open& dir, size_t slot) {
    return write_cluster_bytes(
        dir.clusters, slot * disk::entry_size,
        std::span(dir.bytes).subspan(slot * disk::entry_size, disk::entry_size));
}

/// The set of `slot` with a new checksum.
Result<void> Checker::store_set(Open& dir, size_t slot) {
    auto& file = entry_at<disk::FileEntry>(dir, slot);
    size_t count = size_t{file.secondaries} + 1;
    file.checksum = set_checksum(
        std::span(dir.bytes).subspan(slot * disk::entry_size, count * disk::entry_size));
    for (size_t i = 0; i < count; i++) TRY(write_slot(dir, slot + i));
    return {};
}

Result<void> Checker::drop_slots(Open& dir, size_t first, size_t count) {
    for (size_t slot = first; slot < first + count; slot++) {
        entry_at<disk::Entry>(dir, slot).type &= static_cast<uint8_t>(~disk::type_in_use);
        TRY(write_slot(dir, slot));
    }
    return {};
}

/// The root's own entries, which the rest needs: bitmap and up-case table.
Result<void> Checker::check_root() {
    Claim claim{geometry_.root_cluster.value(),
                std::max(geometry_.clusters_for(disk::directory_bytes_max), 1u), false};
    Walk chain = TRY(walk(claim));
    if (chain.broken && wrong("directory-chain", "/", fmt::format("its clusters {}", chain.broken),
                              !chain.clusters.empty()))
        end_chain(chain);
    Open root;
    root.root = true;
    root.bytes = TRY(read_clusters(chain.clusters));
    root.clusters = std::move(chain.clusters);
    bool have_bitmap = false, have_upcase = false;
    for (size_t slot = 0; slot < root.bytes.size() / disk::entry_size; slot++) {
        const auto& entry = entry_at<disk::Entry>(root, slot);
        if (entry.type == disk::type_end) break;
        if (entry.type == disk::type_bitmap) {
            const auto& bitmap = entry_at<disk::BitmapEntry>(root, slot);
            if ((bitmap.flags & 1) != geometry_.second_fat) {
                // TexFAT's other one: its clusters are its own.
                (void)TRY(
                    walk({bitmap.first_cluster, geometry_.clusters_for(bitmap.length), false}));
            } else if (have_bitmap) {
                wrong("bitmap-twice", fmt::format("/, entry {}", slot),
                      "a second allocation bitmap", false);
            } else {
                have_bitmap = true;
                TRY(load_bitmap(bitmap));
            }
        } else if (entry.type == disk::type_upcase) {
            if (std::exchange(have_upcase, true))
                wrong("upcase-twice", fmt::format("/, entry {}", slot), "a second up-case table",
                      false);
            else
                TRY(load_upcase(entry_at<disk::UpcaseEntry>(root, slot)));
        }
    }
    if (!have_bitmap) wrong("no-bitmap", "/", "there is no allocation bitmap", false);
    if (!have_upcase) wrong("no-upcase", "/", "there is no up-case table", false);
    pending_.push_back(std::move(root));
    return {};
}

Result<void> Checker::check_tree() {
    while (!pending_.empty()) {
        Open dir = std::move(pending_.back());
        pending_.pop_back();
        if (dir.bytes.empty()) dir.bytes = TRY(read_clusters(dir.clusters));
        TRY(check_directory(dir));
    }
    return end_chains();
}

Result<void> Checker::check_directory(Open& dir) {
    report_.directories++;
    names_ = {};
    size_t slots = dir.bytes.size() / disk::entry_size;
    for (size_t slot = 0; slot < slots;) {
        uint8_t type = entry_at<disk::Entry>(dir, slot).type;
        std::string place = fmt::format("{}/, entry {}", dir.path, slot);
        if (type == disk::type_end) break;
        if (type == disk::type_file) {
            slot += TRY(check_set(dir, slot));
            continue;
        }
        if (in_use(type) && !secondary(type) && type & disk::type_benign) {
            slot += TRY(check_benign(dir, slot));
            continue;
        }
        if (secondary(type)) {
            if (wrong("orphan-entry", place, "a secondary entry that belongs to no file"))
                TRY(drop_slots(dir, slot, 1));
        } else if (in_use(type)) {
            bool system =
                type == disk::type_bitmap || type == disk::type_upcase || type == disk::type_label;
            if (!system)
                wrong("unknown-entry", place,
                      fmt::format("an entry of type {:#04x}, which must be understood", type),
                      false);
            else if (!dir.root)
                wrong("misplaced-entry", place,
                      fmt::format("an entry of type {:#04x} outside the root directory", type),
                      false);
            else if (type == disk::type_label && entry_at<disk::LabelEntry>(dir, slot).length > 11)
                wrong("label-length", place, "a volume label of more than 11 characters", false);
        }
        slot++;
    }
    return names_.each_twin(
        [&](std::u16string_view folded, size_t slot) { return rename_twin(dir, slot, folded); });
}

/// Gives the set at `slot` a name that no other has. True: it has one.
Result<bool> Checker::rename_twin(Open& dir, size_t slot, std::u16string_view folded) {
    NameUnits name;
    if (examine_set(dir, slot, name)) return false;
    const auto other = names_.free_name(name, upcase_);
    if (!wrong("name-twice", dir.path + "/" + vfs::utf16_to_utf8(folded),
               "two entries have this name", other.has_value()))
        return false;
    for (size_t unit = 0; unit < other->size; unit++)
        entry_at<disk::NameEntry>(dir, slot + 2 + unit / disk::units_per_entry)
            .units[unit % disk::units_per_entry] = other->units[unit];
    entry_at<disk::StreamEntry>(dir, slot + 1).name_hash = name_hash(other->view(), upcase_);
    TRY(store_set(dir, slot));
    NameUnits given;
    fold(other->view(), upcase_, given);
    names_.give(given.view());
    return true;
}

/// Why a set cannot be read; null: it can, and this is its name.
const char* Checker::examine_set(const Open& dir, size_t slot, NameUnits& name) const {
    const auto& file = entry_at<disk::FileEntry>(dir, slot);
    size_t count = size_t{file.secondaries} + 1;
    if (slot + count > dir.bytes.size() / disk::entry_size) return "runs past the directory's end";
    if (count < 3) return "has less than three entries";
    for (size_t i = 1; i < count; i++)
        if (!secondary(entry_at<disk::Entry>(dir, slot + i).type))
            return "has too few secondary entries";
    const auto& stream = entry_at<disk::StreamEntry>(dir, slot + 1);
    if (stream.type != disk::type_stream) return "has no stream extension";
    size_t pieces = howmany(stream.name_length, disk::units_per_entry);
    if (pieces == 0) return "has a name of no length";
    if (count < 2 + pieces) return "has too few name entries";
    for (size_t i = 0; i < pieces; i++) {
        const auto& piece = entry_at<disk::NameEntry>(dir, slot + 2 + i);
        if (piece.type != disk::type_name) return "has too few name entries";
        for (unsigned unit = 0; unit < disk::units_per_entry; unit++)
            name.units[i * disk::units_per_entry + unit] =
                static_cast<char16_t>(piece.units[unit].get());
    }
    name.size = stream.name_length;
    for (size_t i = 2 + pieces; i < count; i++)
        if (!(entry_at<disk::Entry>(dir, slot + i).type & disk::type_benign))
            return "has a secondary entry that must be understood and is not known";
    auto bytes = std::span(dir.bytes).subspan(slot * disk::entry_size, count * disk::entry_size);
    if (set_checksum(bytes) != file.checksum) return "has a wrong checksum";
    return nullptr;
}

/// Returns how many slots were dealt with.
Result<size_t> Checker::check_set(Open& dir, size_t slot) {
    NameUnits name;
    std::string place = fmt::format("{}/, entry {}", dir.path, slot);
    if (const char* why = examine_set(dir, slot, name)) {
        // The secondaries that follow it are of no use without it.
        size_t count = 1, slots = dir.bytes.size() / disk::entry_size;
        size_t most =
            std::min(slots - slot, size_t{entry_at<disk::FileEntry>(dir, slot).secondaries} + 1);
        while (count < most && secondary(entry_at<disk::Entry>(dir, slot + count).type)) count++;
        if (wrong("bad-entry-set", place, fmt::format("the set {}", why)))
            TRY(drop_slots(dir, slot, count));
        return count;
    }
    size_t count = size_t{entry_at<disk::FileEntry>(dir, slot).secondaries} + 1;
    std::string path = dir.path + "/" + vfs::utf16_to_utf8(name.view());
    auto& stream = entry_at<disk::StreamEntry>(dir, slot + 1);
    if (uint16_t hash = name_hash(name.view(), upcase_);
        hash != stream.name_hash &&
        wrong("name-hash", path,
              fmt::format("the hash is {:#06x}, not {:#06x}", stream.name_hash.get(), hash))) {
        stream.name_hash = hash;
        TRY(store_set(dir, slot));
    }
    bool has_clusters = stream.first_cluster != 0 && stream.length != 0;
    if (has_clusters && second_name(stream.first_cluster, path) && !TRY(copy_file(dir, slot))) {
        TRY(drop_slots(dir, slot, count));
        return count;
    }
    check_name(name, path, slot);
    TRY(check_file(dir, slot, path));
    TRY(check_extras(dir, slot, path));
    return count;
}

void Checker::check_name(const NameUnits& name, const std::string& path, size_t slot) {
    if (!parse_name(vfs::utf16_to_utf8(name.view())))
        wrong("bad-name", path, "the name has a character that none has", false);
    NameUnits folded;
    fold(name.view(), upcase_, folded);
    names_.add(folded.view(), slot);
}

/// Gives a file clusters of its own, with what is in those that it shares. False: it is a
/// directory, its chain is too short, or there is no room.
Result<bool> Checker::copy_file(Open& dir, size_t slot) {
    auto& stream = entry_at<disk::StreamEntry>(dir, slot + 1);
    if (entry_at<disk::FileEntry>(dir, slot).attributes & disk::attr_directory) return false;
    if (bitmap_.empty()) return false;
    uint64_t need = geometry_.clusters_for(stream.length);
    std::vector<uint32_t> from, to;
    uint32_t at = stream.first_cluster;
    while (from.size() < need && geometry_.is_cluster(at)) {
        from.push_back(at);
        at = stream.flags & disk::flag_no_chain ? at + 1 : TRY(fat_entry(at));
    }
    uint32_t end = geometry_.cluster_count + first_cluster;
    for (uint32_t n = first_cluster; n < end && to.size() < from.size(); n++)
        if (!marked(n) && !owned_[n]) to.push_back(n);
    if (from.size() < need || to.size() < need) return false;
    std::vector<std::byte> bytes(geometry_.cluster_size);
    for (size_t i = 0; i < need; i++) {
        TRY(device_.read(geometry_.offset_of(Cluster(from[i])), bytes));
        TRY(device_.write(geometry_.offset_of(Cluster(to[i])), bytes));
        TRY(set_fat_entry(to[i], i + 1 < need ? to[i + 1] : disk::fat_end));
        uint32_t bit = to[i] - first_cluster;
        bitmap_[bit / 8] |= std::byte{static_cast<uint8_t>(1u << bit % 8)};
    }
    bitmap_changed_ = true;
    stream.first_cluster = to[0];
    stream.flags = disk::flag_allocation;
    TRY(store_set(dir, slot));
    return true;
}

Result<void> Checker::check_file(Open& dir, size_t slot, const std::string& path) {
    auto& file = entry_at<disk::FileEntry>(dir, slot);
    auto& stream = entry_at<disk::StreamEntry>(dir, slot + 1);
    bool directory = file.attributes & disk::attr_directory;
    if (!directory) report_.files++;
    bool changed = false;
    if (stream.valid_length > stream.length &&
        wrong("valid-length", path,
              fmt::format("valid length {} is above the length {}", stream.valid_length.get(),
                          stream.length.get()))) {
        stream.valid_length = stream.length.get();
        changed = true;
    }
    if (directory &&
        (stream.length % geometry_.cluster_size != 0 || stream.length > disk::directory_bytes_max ||
         stream.valid_length != stream.length))
        wrong("directory-length", path,
              fmt::format("a directory of {} bytes, {} of them valid", stream.length.get(),
                          stream.valid_length.get()),
              false);

    Walk clusters;
    uint32_t need = geometry_.clusters_for(stream.length), most = need;
    bool no_chain = stream.flags & disk::flag_no_chain;
    // An impossible length must not cost other files their clusters: what was written counts.
    if (no_chain && !geometry_.is_run(stream.first_cluster, most))
        most = geometry_.clusters_for(stream.valid_length);
    if (most > 0) clusters = TRY(walk({stream.first_cluster, most, no_chain}));
    if (most < need) clusters.broken = "run past the cluster heap";
    bool claims = stream.first_cluster != 0 && need == 0;
    if (claims &&
        wrong("empty-with-cluster", path,
              fmt::format("has no length and a first cluster, {}", stream.first_cluster.get()))) {
        stream.first_cluster = 0;
        stream.flags = disk::flag_allocation;
        changed = true;
    }
    if (clusters.goes_on && wrong("chain-too-long", path,
                                  fmt::format("the chain goes on behind the {} clusters of its "
                                              "length",
                                              need)))
        end_chain(clusters);
    uint64_t have = clusters.clusters.size();
    if (have < need &&
        wrong("file-clusters", path,
              fmt::format("length is {}, its clusters {} after {}", stream.length.get(),
                          clusters.broken ? clusters.broken : "end", have))) {
        if (!no_chain) end_chain(clusters);
        stream.length = std::min<uint64_t>(stream.length, have << geometry_.cluster_shift);
        stream.valid_length = std::min<uint64_t>(stream.valid_length, stream.length);
        if (have == 0) {
            stream.first_cluster = 0;
            stream.flags = disk::flag_allocation;
        }
        changed = true;
    }
    if (changed) TRY(store_set(dir, slot));
    if (directory && have > 0) pending_.push_back({path, std::move(clusters.clusters), {}, false});
    return {};
}

/// An entry that need not be understood, with its secondaries: kept as it is, and so are its
/// clusters (specification, 6.3 and 8.2). Returns how many slots it has.
Result<size_t> Checker::check_benign(const Open& dir, size_t slot) {
    const auto& entry = entry_at<disk::PrimaryEntry>(dir, slot);
    std::string place = fmt::format("{}/, entry {}", dir.path, slot);
    if (entry.flags & disk::flag_allocation)
        TRY(check_extra(place, {entry.first_cluster, geometry_.clusters_for(entry.length),
                                (entry.flags & disk::flag_no_chain) != 0}));
    size_t count = 1, slots = dir.bytes.size() / disk::entry_size;
    size_t most = std::min(slots - slot, size_t{entry.secondaries} + 1);
    for (; count < most && secondary(entry_at<disk::Entry>(dir, slot + count).type); count++) {
        const auto& extra = entry_at<disk::StreamEntry>(dir, slot + count);
        if (extra.flags & disk::flag_allocation)
            TRY(check_extra(place, {extra.first_cluster, geometry_.clusters_for(extra.length),
                                    (extra.flags & disk::flag_no_chain) != 0}));
    }
    return count;
}

/// Clusters of an entry of which nothing else is known.
Result<void> Checker::check_extra(const std::string& place, const Claim& claim) {
    if (claim.first == 0) return {};
    Walk clusters = TRY(walk(claim));
    if (clusters.clusters.size() < claim.clusters)
        wrong("extra-clusters", place,
              fmt::format("a vendor's entry: its clusters {}",
                          clusters.broken ? clusters.broken : "end too soon"),
              false);
    return {};
}

/// Vendors' entries may have clusters of their own.
Result<void> Checker::check_extras(const Open& dir, size_t slot, const std::string& path) {
    size_t count = size_t{entry_at<disk::FileEntry>(dir, slot).secondaries} + 1;
    for (size_t i = 2; i < count; i++) {
        const auto& extra = entry_at<disk::StreamEntry>(dir, slot + i);
        if (extra.type != disk::type_name && extra.flags & disk::flag_allocation)
            TRY(check_extra(path, {extra.first_cluster, geometry_.clusters_for(extra.length),
                                   (extra.flags & disk::flag_no_chain) != 0}));
    }
    return {};
}

} // namespace rump::exfatfs
