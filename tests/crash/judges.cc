// What our check and the outside ones may say of a cut.
#include "tests/crash/judges.h"

#include "hostshim/log.h"
#include "kernel/fs/msdosfs/geometry.h"
#include "tests/support/ffs_volume.h"

#include <fmt/format.h>

namespace rump::crash {

namespace {

/// Our own check: what a cut may leave, and nothing left after mending.
Complaint judge(const FileSystemType& type, host::BlockDevice& device) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.repair = true;
    auto first = type.check(device, options, log);
    if (!first) return first.error().text;
    options.repair = false;
    auto second = type.check(device, options, log);
    if (!second) return second.error().text;
    for (const Finding& finding : second->findings)
        return fmt::format("after mending: {}: {}: {}", finding.code, finding.place,
                           finding.message);
    return {};
}

/// What fsck.fat may say of a cut: it was dirty, clusters are lost, in chains that are longer than
/// their files or in none, and a rename was cut between its two entries, in different sectors: then
/// a file has two names, or a directory, of which its ".." is right for one.
constexpr const char* fsck_fat_output =
    "(fsck\\.fat .*\n|/proc/.*\n|Warning: Filesystem is FAT32 according.*\n"
    " *but has only .*\n *This may lead to problems.*\n| *There are differences between boot.*\n"
    "This is mostly harmless.*\n( +[0-9:/a-f, ]+\n)+ *Not automatically fixing this\\.\n"
    "|Dirty bit is set.*\n *Automatically removing dirty bit\\.\n"
    "|Reclaimed \\d+ unused clusters? .*\n|Free cluster summary wrong .*\n *Auto-correcting\\.\n"
    "|FATs differ but appear to be intact.*\n *Using first FAT\\.\n"
    "|/.*\n +File size is .* cluster chain length is > .*\n +Truncating file to .*\n"
    "|(/.*\n +Invalid '\\.\\.' entry in the second slot\\. +Fixing\\.\n)?"
    "/.* +and\n/.*\n +share clusters\\.\n +Truncating second to 0 bytes\\.\n"
    "(/.*\n +File size is .* cluster chain length is 0 bytes\\.\n +Truncating file to 0 "
    "bytes\\.\n)?"
    "(/.*\n +Invalid '\\.\\.' entry in the second slot\\. +Fixing\\.\n)?"
    "|\n|Leaving filesystem unchanged\\.\n";
/// On FAT12 an entry may stand in two sectors, of which one arrived: an end mark, or in its place
/// the number of the cluster that a file goes on in, and then it is no cluster's. One such number
/// in sixteen reads as a bad cluster, at which fsck.fat 4.2 gives up where our check goes on.
constexpr const char* torn_entry = "|Cluster \\d+ out of range \\((38[4-9]\\d|39\\d\\d|40[0-8]\\d) "
                                   "> \\d+\\)\\. Setting to EOF\\.\n"
                                   "|Internal error: next_cluster on bad cluster\n";
/// A name that takes more than a sector: of its pieces the first ones arrived, or the last ones.
constexpr const char* part_of_name =
    "|Orphaned long file name part\\s+\"[^\"]+\"\n +Auto-deleting\\.\n"
    "|Long filename fragment \"[^\"]+\" found outside a LFN sequence\\.\n"
    " +\\(Maybe the start bit is missing on the last fragment\\)\n +Not auto-correcting this\\.\n";
/// The same for fsck.exfat.
constexpr const char* fsck_exfat_output =
    "(exfatprogs version .*\n|/proc/.*\n"
    "|ERROR: .* (more clusters are allocated|cluster is already allocated for the other file)\\. "
    "truncated? to .* Truncate \\(y/N\\)\\? n\n";
constexpr const char* part_of_exfat_name =
    "|ERROR: /.*: unknown entry type 0xc1 at [0-9a-f]+ at 0x[0-9a-f]+\\. Delete \\(y/N\\)\\? n\n";

bool is_fat12(host::BlockDevice& image) {
    auto geometry = msdosfs::Geometry::read(image);
    return geometry.ok() && geometry->type == msdosfs::FatType::fat12;
}

/// Looks with the format's own program.
std::function<Complaint(host::BlockDevice&)> outside_look(const Subject& subject,
                                                          bool longest_names) {
    const bool fat = subject.type.name() == "msdosfs";
    const std::string program = fat ? "fsck.fat" : "fsck.exfat";
    std::string output = fat ? fsck_fat_output : fsck_exfat_output;
    if (is_fat12(subject.image)) output += torn_entry;
    if (longest_names) output += fat ? part_of_name : part_of_exfat_name;
    return outside_check({{program + " -n {}", {0, 1, 4}, output + ")*"}});
}

Complaint mend_ffs(host::BlockDevice& device) {
    if (auto left = test::ffs_findings(device, true); !left.empty()) return left;
    return test::ffs_findings(device);
}

} // namespace

std::function<Complaint(host::BlockDevice&)> mended_by_e2fsck() {
    return outside_check({{"e2fsck -fy {}", {0, 1}}, {"e2fsck -fn {}", {0}}});
}

void judge_as_ffs(Subject& subject, bool logged) {
    subject.check = mend_ffs;
    if (logged)
        subject.verify_after_mount = [](host::BlockDevice& d) { return test::ffs_findings(d); };
}

void judge_as_fat(Subject& subject, bool longest_names) {
    subject.check = [&type = subject.type](host::BlockDevice& device) {
        return judge(type, device);
    };
    subject.look_at_cut = outside_look(subject, longest_names);
}

} // namespace rump::crash
