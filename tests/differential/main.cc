// differential --sides tmpfs:direct,ext2fs:direct,ext2fs:fuse,ext2fs:host [--seed N] …
// Runs random programs on several file systems at once, the first one being the model. A failure is
// made small and printed with its seed; --seed and --replay run it again.
#include "tests/conformance/direct.h"
#include "tests/conformance/posix.h"
#include "tests/conformance/targets.h"
#include "tests/differential/compare.h"

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <random>
#include <unistd.h>

namespace rump::differential {

namespace {

using conformance::ImageKind;
using conformance::Target;
using conformance::Volume;

/// None, with the reason printed: cannot be had on this machine.
std::optional<SideMaker> side_maker(const std::string& name) {
    const size_t colon = name.find(':');
    Target* target = conformance::find_target(name.substr(0, colon));
    const std::string how = colon == std::string::npos ? "direct" : name.substr(colon + 1);
    if (target == nullptr) throw std::runtime_error("no file system in " + name);
    SideMaker maker{.name = name, .target = target, .make = {}};
    if (how == "direct") {
        maker.make = [target] {
            return conformance::make_direct_backend(*target, ImageKind::standard);
        };
        return maker;
    }
    if (how != "fuse" && how != "host") throw std::runtime_error("no backend in " + name);
    const auto driver = how == "fuse" ? Volume::Driver::daemon : Volume::Driver::host;
    if (auto why = Volume::unavailable(driver, *target)) {
        std::cout << "SKIPPED: " << name << ": " << *why << "\n";
        return std::nullopt;
    }
    // fs.protected_hardlinks, which most hosts switch on, is about whose files they are.
    maker.can_link_others = false;
    maker.can_switch_user = geteuid() == 0;
    maker.can_preallocate = driver == Volume::Driver::daemon;
    maker.make = [target, driver] {
        return conformance::make_posix_backend(driver, *target, ImageKind::standard);
    };
    return maker;
}

Program read_program(const std::string& file) {
    std::ifstream in(file);
    if (!in) throw std::runtime_error("cannot read " + file);
    Program program;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') continue;
        auto operation = from_text(line);
        if (!operation) throw std::runtime_error(file + ": not an operation: " + line);
        program.push_back(*operation);
    }
    return program;
}

void report(const std::vector<SideMaker>& makers, const Abilities& abilities, Program program,
            const Difference& difference, size_t interval, size_t shrink_runs) {
    std::cout << "FAILED at operation " << difference.step << ": " << difference.text << "\n";
    program.resize(std::min(program.size(), difference.step + 1));
    program = shrink(makers, abilities, std::move(program), interval, shrink_runs);
    std::cout << "made small, " << program.size() << " operations:\n";
    for (const Operation& operation : program) std::cout << to_text(operation) << "\n";
    if (auto again = compare(makers, abilities, program, interval))
        std::cout << "which fails with: " << again->text << "\n";
}

int run(int argc, char** argv) {
    CLI::App app{"random programs on several file systems at once"};
    std::vector<std::string> names{"tmpfs:direct", "ext2fs:direct"};
    uint64_t seed = std::random_device{}();
    size_t operations = 3000, programs = 1, interval = 100, shrink_runs = 400;
    std::string replay;
    app.add_option("--sides", names,
                   "file system:direct|fuse|host, FFS with a layout, ffs/1/be/8k/1k; the first is "
                   "the model")
        ->delimiter(',');
    app.add_option("--seed", seed, "of the first program");
    app.add_option("--operations", operations, "of each program");
    app.add_option("--programs", programs, "how many");
    app.add_option("--interval", interval, "operations between two comparisons of trees");
    app.add_option("--shrink-runs", shrink_runs, "how long to make a failure small");
    app.add_option("--replay", replay, "a file of operations in place of a random program");
    CLI11_PARSE(app, argc, argv);

    std::vector<SideMaker> makers;
    for (const std::string& name : names)
        if (auto maker = side_maker(name)) makers.push_back(*maker);
    if (makers.size() < 2) return 77;
    const Abilities abilities = common_abilities(makers);

    for (size_t i = 0; i < programs; ++i) {
        const Program program =
            replay.empty() ? make_program(seed + i, operations, abilities) : read_program(replay);
        std::cout << "seed " << seed + i << ", " << program.size() << " operations" << std::endl;
        if (auto difference = compare(makers, abilities, program, interval)) {
            report(makers, abilities, program, *difference, interval, shrink_runs);
            std::cout << "again: --seed " << seed + i << "\n"
                      << i << " passed, 1 failed, 0 skipped\n";
            return 1;
        }
    }
    std::cout << programs << " passed, 0 failed, 0 skipped\n";
    return 0;
}

} // namespace

} // namespace rump::differential

int main(int argc, char** argv) {
    try {
        return rump::differential::run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
