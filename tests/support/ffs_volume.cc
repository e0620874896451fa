// Making, mounting and checking FFS for tests. See ffs_volume.h.
#include "tests/support/ffs_volume.h"

#include "hostshim/faulty_device.h"
#include "kernel/fs/ffs/ffs.h"
#include "kernel/kern/kernel.h"

#include <array>
#include <stdexcept>

namespace rump::test {

std::string FfsLayout::name() const {
    return format + "/" + order + "/" + block + "/" + fragment + (log ? "/log" : "");
}

FfsLayout FfsLayout::parse(std::string_view name) {
    std::vector<std::string> parts;
    for (size_t at = 0; at <= name.size();) {
        const size_t end = std::min(name.find('/', at), name.size());
        parts.emplace_back(name.substr(at, end - at));
        at = end + 1;
    }
    const bool log = parts.size() == 5 && parts[4] == "log";
    if (parts.size() != (log ? 5u : 4u))
        throw std::runtime_error("not a layout of FFS: " + std::string(name));
    return {parts[0], parts[1], parts[2], parts[3], log};
}

std::vector<FfsLayout> ffs_layouts() {
    constexpr std::array<std::pair<const char*, const char*>, 4> sizes{
        {{"8k", "1k"}, {"16k", "2k"}, {"32k", "4k"}, {"4k", "4k"}}};
    std::vector<FfsLayout> all;
    for (const char* format : {"1", "2"})
        for (const char* order : {"le", "be"})
            for (const auto& [block, fragment] : sizes)
                for (const bool log : {false, true})
                    all.push_back({format, order, block, fragment, log});
    return all;
}

void make_ffs(host::BlockDevice& device, const FfsLayout& layout, const NewfsOptions& more) {
    NewfsOptions all{
        {"O", layout.format}, {"B", layout.order}, {"b", layout.block}, {"f", layout.fragment}};
    if (layout.log) all.emplace_back("l", "1m");
    // A log is NetBSD's, whose UFS2 has attributes only if it says so.
    if (layout.log && layout.format == "2") all.emplace_back("ea", "");
    all.insert(all.end(), more.begin(), more.end());
    OptionSet options;
    for (const auto& [name, value] : all)
        if (auto set = options.set(ffs::type().newfs_options(), name,
                                   name == "ea" ? std::nullopt : std::optional(value));
            !set)
            throw std::runtime_error("newfs: " + set.error().text);
    host::SeededRandom random(3);
    KernelConfig config;
    config.random = &random;
    Kernel kernel(config);
    if (auto made = ffs::type().newfs(kernel, device, options); !made)
        throw std::runtime_error("newfs: " + made.error().text);
}

std::string ffs_findings(host::BlockDevice& device, bool repair) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    options.repair = repair;
    auto report = ffs::type().check(device, options, log);
    if (!report) return "check: " + report.error().text + "\n";
    std::string out;
    for (const Finding& f : report->findings)
        if (f.severity != Finding::Severity::note && !(repair && f.repaired))
            out += f.code + ": " + f.place + ": " + f.message + "\n";
    if (report->blocks_used > report->blocks_total) out += "more blocks are used than there are\n";
    return out;
}

Mount* mount_ffs(Kernel& kernel, host::BlockDevice& device, bool read_only) {
    MountArgs args;
    args.device = std::make_unique<host::FaultyDevice>(device);
    args.options.read_only = read_only;
    auto mounted = kernel.mount(ffs::type(), std::move(args));
    if (!mounted) throw std::runtime_error("mount: " + mounted.error().text);
    return *mounted;
}

} // namespace rump::test
