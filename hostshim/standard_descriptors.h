// Descriptors 0 to 2 of a program that may have been started without them.
#pragma once

namespace rump::host {

/// Opens /dev/null for those that are closed. Else an image that is opened gets such a number, and
/// a message for the user is written into it. The first thing that a program does.
void keep_standard_descriptors();

} // namespace rump::host
