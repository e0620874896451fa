// What a volume keeps in its root directory: allocation bitmap, up-case table, label. Read from the
// device before there is a mount. Specification, 7.1 to 7.3.
#include "kernel/fs/exfatfs/volume.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::exfatfs {

namespace {

template<class... A>
Failure bad_root(fmt::format_string<A...> text, A&&... arguments) {
    return {Errno::uclean, "root directory: " + fmt::format(text, std::forward<A>(arguments)...)};
}

/// The clusters of a chain, `clusters` at the most. Walks that long at the most, so circles end.
FailureOr<std::vector<ClusterRun>> read_chain(host::BlockDevice& device, const Geometry& geometry,
                                              uint32_t first, uint64_t clusters,
                                              const char* whose) {
    std::vector<ClusterRun> runs;
    uint32_t at = first;
    for (uint64_t n = 0; n < clusters; n++) {
        if (!geometry.is_cluster(at))
            return bad_root("{}its chain leads to {}, which is no cluster", whose, at);
        if (!runs.empty() && runs.back().end() == at)
            runs.back().count++;
        else
            runs.push_back({Cluster(at), 1});
        le32 next;
        if (!device.read(geometry.fat_offset + uint64_t{at} * sizeof next,
                         std::as_writable_bytes(std::span(&next, 1))))
            return Failure(Errno::io, "file allocation table: cannot be read");
        if (next == disk::fat_end) break;
        at = next;
    }
    return runs;
}

uint64_t clusters_of(const std::vector<ClusterRun>& runs) {
    uint64_t count = 0;
    for (ClusterRun run : runs) count += run.count;
    return count;
}

FailureOr<std::vector<std::byte>> read_runs(host::BlockDevice& device, const Geometry& geometry,
                                            const std::vector<ClusterRun>& runs, uint64_t length) {
    std::vector<std::byte> bytes(length);
    size_t done = 0;
    for (ClusterRun run : runs) {
        uint64_t here = std::min(uint64_t{run.count} << geometry.cluster_shift, length - done);
        if (!device.read(geometry.offset_of(run.first), std::span(bytes).subspan(done, here)))
            return Failure(Errno::io, "cluster heap: cannot be read");
        done += here;
    }
    return bytes;
}

FailureOr<void> read_bitmap(host::BlockDevice& device, const Geometry& geometry,
                            const disk::BitmapEntry& entry, SystemFiles& out) {
    uint64_t need = (uint64_t{geometry.cluster_count} + 7) / 8;
    if (entry.length < need)
        return bad_root("allocation bitmap: {} bytes are too few for {} clusters",
                        entry.length.get(), geometry.cluster_count);
    uint64_t clusters = geometry.clusters_for(need);
    out.bitmap =
        TRY(read_chain(device, geometry, entry.first_cluster, clusters, "allocation bitmap: "));
    if (clusters_of(out.bitmap) < clusters)
        return bad_root("allocation bitmap: its chain is too short");
    return {};
}

FailureOr<void> read_upcase(host::BlockDevice& device, const Geometry& geometry,
                            const disk::UpcaseEntry& entry, SystemFiles& out) {
    uint64_t length = entry.length;
    if (length == 0 || length > 2 * 65536 || length % 2 != 0)
        return bad_root("up-case table: {} bytes are not 2 to 131072", length);
    uint64_t clusters = geometry.clusters_for(length);
    auto runs = TRY(read_chain(device, geometry, entry.first_cluster, clusters, "up-case table: "));
    if (clusters_of(runs) < clusters) return bad_root("up-case table: its chain is too short");
    auto bytes = TRY(read_runs(device, geometry, runs, length));
    uint32_t sum = 0;
    for (std::byte b : bytes) sum = (sum << 31 | sum >> 1) + static_cast<uint8_t>(b);
    if (sum != entry.checksum)
        return bad_root("up-case table: checksum is {:#x}, not {:#x}", sum, entry.checksum.get());
    std::vector<uint16_t> units(length / 2);
    for (size_t i = 0; i < units.size(); i++)
        units[i] = *reinterpret_cast<const le16*>(&bytes[i * 2]);
    if (!out.upcase.load(units)) return bad_root("up-case table: runs past 65536 code units");
    return {};
}

struct Root {
    SystemFiles files;
    bool have_bitmap = false;
    bool have_upcase = false;
};

/// One entry of the root directory. False: it is the end.
FailureOr<bool> read_entry(host::BlockDevice& device, const Geometry& geometry,
                           const std::byte* entry, Root& root) {
    auto type = static_cast<uint8_t>(*entry);
    if (type == disk::type_end) return false;
    if (type == disk::type_bitmap) {
        const auto& bitmap = *reinterpret_cast<const disk::BitmapEntry*>(entry);
        if ((bitmap.flags & 1) != geometry.second_fat || root.have_bitmap) return true;
        TRY(read_bitmap(device, geometry, bitmap, root.files));
        root.have_bitmap = true;
    } else if (type == disk::type_upcase) {
        if (root.have_upcase) return true;
        auto read = read_upcase(device, geometry,
                                *reinterpret_cast<const disk::UpcaseEntry*>(entry), root.files);
        if (!read && read.error().code != Errno::uclean) return read.error();
        if (!read) {
            root.files.upcase = vfs::UpcaseTable();
            root.files.upcase_damage = read.error().text;
        }
        root.have_upcase = true;
    } else if (type == disk::type_label) {
        const auto& label = *reinterpret_cast<const disk::LabelEntry*>(entry);
        root.files.label.clear();
        for (unsigned i = 0; i < std::min<unsigned>(label.length, 11); i++)
            root.files.label += static_cast<char16_t>(label.label[i].get());
    } else if ((type & disk::type_in_use) && !(type & disk::type_secondary) &&
               !(type & disk::type_benign) && type != disk::type_file) {
        return Failure(Errno::opnotsupp,
                       fmt::format("root directory: an entry of type {:#04x}, which must be "
                                   "understood and is not known",
                                   type));
    }
    return true;
}

FailureOr<void> read_entries(host::BlockDevice& device, const Geometry& geometry,
                             const std::vector<ClusterRun>& chain, Root& root) {
    std::vector<std::byte> cluster(geometry.cluster_size);
    for (ClusterRun run : chain)
        for (uint32_t n = 0; n < run.count; n++) {
            if (!device.read(geometry.offset_of(run.first + n), cluster))
                return Failure(Errno::io, "root directory: cannot be read");
            for (size_t at = 0; at < cluster.size(); at += disk::entry_size)
                if (!TRY(read_entry(device, geometry, &cluster[at], root))) return {};
        }
    return {};
}

} // namespace

FailureOr<SystemFiles> read_system_files(host::BlockDevice& device, const Geometry& geometry) {
    uint64_t most = std::max<uint64_t>(disk::directory_bytes_max >> geometry.cluster_shift, 1);
    auto chain = TRY(read_chain(device, geometry, geometry.root_cluster.value(), most, ""));
    Root root;
    TRY(read_entries(device, geometry, chain, root));
    if (!root.have_bitmap) return bad_root("no allocation bitmap");
    if (!root.have_upcase) root.files.upcase_damage = bad_root("no up-case table").text;
    return std::move(root.files);
}

} // namespace rump::exfatfs
