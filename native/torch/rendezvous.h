// Sockets as far as they are needed before c10d takes over.
#pragma once

#include <string>

#include "group.h"

namespace repkit {

// Returns once something listens there; `seconds` is the limit.
void await_listener(const std::string& host, int port, double seconds, const AbortFlag& abort);
// The address of this machine from which packets to the host are sent, in digits.
std::string address_towards(const std::string& host, int port);

}  // namespace repkit
