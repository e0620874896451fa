// The end of every test of random lies: as many as the command line says, none of them harmful.
#pragma once

#include "tests/corrupt/driver.h"
#include "tests/support/long_run.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace rump::corrupt {

/// Runs `cases` lies, unless the command line says otherwise, and requires that nobody complains.
inline Outcome run_lies(const Subject& subject, uint64_t cases) {
    const test::LongRun& told = test::long_run();
    Options options;
    options.cases = told.cases.value_or(cases);
    options.seed = told.seed;
    options.only = told.only;
    options.threads = told.threads;
    Outcome outcome = run(subject, options);
    REQUIRE(outcome.complaints == std::vector<std::string>{});
    return outcome;
}

/// For Subject::also: a check that says it has mended everything has.
template<const FileSystemType& (*type)()>
std::string mends(host::BlockDevice& device) {
    host::Log log(host::null_sink());
    CheckOptions options;
    options.force = true;
    (void)type().check(device, options, log);
    options.repair = true;
    const auto first = type().check(device, options, log);
    if (!first || first->exit_code() > 1) return {};
    options.repair = false;
    const auto second = type().check(device, options, log);
    if (!second) return "after a repair: " + second.error().text;
    for (const Finding& f : second->findings)
        if (f.severity != Finding::Severity::note)
            return fmt::format("after a repair: {}: {}: {}", f.code, f.place, f.message);
    return {};
}

} // namespace rump::corrupt
