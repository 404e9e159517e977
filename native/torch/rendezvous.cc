#include "rendezvous.h"

#include <cerrno>
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace repkit {
namespace {

using namespace std::chrono_literals;

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(const Socket&) = delete;
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

struct Addresses {
  addrinfo* first = nullptr;
  std::string problem;

  Addresses(const std::string& host, int port, int type) {
    addrinfo hints{};
    hints.ai_socktype = type;
    const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &first);
    if (code != 0) first = nullptr, problem = ::gai_strerror(code);
  }
  Addresses(const Addresses&) = delete;
  ~Addresses() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
};

// Empty where it succeeds.
std::string try_connect(const addrinfo& address) {
  const Socket socket(::socket(address.ai_family, address.ai_socktype, address.ai_protocol));
  if (socket.get() < 0) return std::strerror(errno);
  ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return "";
  if (errno != EINPROGRESS) return std::strerror(errno);
  pollfd waiting{socket.get(), POLLOUT, 0};
  if (::poll(&waiting, 1, 500) <= 0) return std::strerror(ETIMEDOUT);
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? "" : std::strerror(error);
}

std::string place(const std::string& host, int port) {
  const bool digits6 = host.find(':') != std::string::npos;
  return "tcp://" + (digits6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace

void await_listener(const std::string& host, int port, double seconds, const AbortFlag& abort) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (auto pause = 10ms;; pause = std::min(2 * pause, 500ms)) {
    abort.check();
    const Addresses addresses(host, port, SOCK_STREAM);
    std::string problem = addresses.problem;
    for (const auto* a = addresses.first; a != nullptr; a = a->ai_next) {
      problem = try_connect(*a);
      if (problem.empty()) return;
    }
    if (std::chrono::steady_clock::now() + pause > deadline) {
      throw EnvironmentError("rank 0 cannot be reached at " + place(host, port) + ": " + problem);
    }
    std::this_thread::sleep_for(pause);
  }
}

std::string address_towards(const std::string& host, int port) {
  const Addresses addresses(host, port, SOCK_DGRAM);
  std::string problem = addresses.problem;
  for (const auto* a = addresses.first; a != nullptr; a = a->ai_next) {
    // Connecting a datagram socket sends nothing; it looks up the route.
    const Socket socket(::socket(a->ai_family, a->ai_socktype, a->ai_protocol));
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    if (socket.get() >= 0 && ::connect(socket.get(), a->ai_addr, a->ai_addrlen) == 0 &&
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0) {
      char digits[NI_MAXHOST];
      if (::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, digits, sizeof digits, nullptr, 0, NI_NUMERICHOST) == 0) {
        return digits;
      }
    }
    problem = std::strerror(errno);
  }
  throw EnvironmentError("no way to " + place(host, port) + ": " + problem);
}

}  // namespace repkit
