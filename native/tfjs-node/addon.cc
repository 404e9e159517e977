// The addon of @tensorflow/tfjs-node, compiled from the package's own sources (binding/ beside its
// package.json) against a current TensorFlow.
//
// They keep one std::set of attribute names for the whole process, which two worker threads would write
// at once. With this macro its declaration, `static std::set<std::string> ATTR_NAME_SET;`, declares a
// function that returns a pointer to the set of the thread, and each use of it is a call.
#define ATTR_NAME_SET (*attributeNames())
#include "binding/tfjs_backend.cc"
#undef ATTR_NAME_SET

#include "binding/tfjs_binding.cc"

namespace tfnodejs {

static std::set<std::string>* attributeNames() {
  static thread_local std::set<std::string> names;
  return &names;
}

}  // namespace tfnodejs
