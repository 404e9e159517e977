// What JavaScript calls (src/data/jpeg/native.ts). Each thread that loads the addon has an instance of its own;
// nothing is shared.
#include <napi.h>

#include <string>

#include "resample.h"

namespace repkit {
namespace {

#define REPKIT_STRING(x) #x
#define REPKIT_VERSION_STRING(x) REPKIT_STRING(x)

const char* name_of(Failure failure) {
  switch (failure) {
    case Failure::kNone:
      return nullptr;
    case Failure::kTruncated:
      return "truncated";
    case Failure::kCorrupt:
      return "corrupt";
    case Failure::kUnsupported:
      return "unsupported";
    case Failure::kTooLarge:
      return "too-large";
  }
  return "corrupt";
}

[[noreturn]] void refuse(Napi::Env env, const std::string& message) { throw Napi::RangeError::New(env, message); }

Napi::Uint8Array bytes_of(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected a Uint8Array");
  }
  return value.As<Napi::Uint8Array>();
}

int64_t size_of(const Napi::Value& value, const char* name) {
  const int64_t size = value.IsNumber() ? value.As<Napi::Number>().Int64Value() : 0;
  if (size <= 0 || size > INT32_MAX) refuse(value.Env(), std::string(name) + ": expected a positive number");
  return size;
}

Placement placement_of(const Napi::Value& value) {
  const auto env = value.Env();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
    throw Napi::TypeError::New(env, "placement: expected an Int32Array");
  }
  const auto fields = value.As<Napi::Int32Array>();
  if (fields.ElementLength() != Placement::kFields) {
    refuse(env, "placement: expected 11 numbers, received " + std::to_string(fields.ElementLength()));
  }
  const auto placement = Placement::from(fields.Data());
  if (const char* problem = placement.problem()) refuse(env, std::string("placement: ") + problem);
  return placement;
}

uint8_t* output_of(const Napi::Value& value, const Placement& placement) {
  auto out = bytes_of(value, "out");
  const auto bytes = static_cast<int64_t>(out.ByteLength());
  if (bytes != placement.bytes()) {
    refuse(value.Env(), "out: expected " + std::to_string(placement.bytes()) + " bytes, received " +
                            std::to_string(bytes));
  }
  return out.Data();
}

class JpegAddon : public Napi::Addon<JpegAddon> {
 public:
  JpegAddon(Napi::Env, Napi::Object exports) {
    DefineAddon(exports, {
                             InstanceMethod("describe", &JpegAddon::describe),
                             InstanceMethod("resampleJpeg", &JpegAddon::resample_jpeg),
                             InstanceMethod("resample", &JpegAddon::resample),
                         });
  }

 private:
  Napi::Value describe(const Napi::CallbackInfo& info) {
    auto result = Napi::Object::New(info.Env());
    result["version"] = Napi::String::New(info.Env(), REPKIT_VERSION_STRING(LIBJPEG_TURBO_VERSION));
    return result;
  }

  Napi::Value resample_jpeg(const Napi::CallbackInfo& info) {
    const auto data = bytes_of(info[0], "bytes");
    const auto placement = placement_of(info[1]);
    uint8_t* out = output_of(info[2], placement);
    return outcome(info, images_.resample_jpeg(data.Data(), data.ByteLength(), placement, out));
  }

  Napi::Value resample(const Napi::CallbackInfo& info) {
    const auto pixels = bytes_of(info[0], "pixels");
    const int64_t width = size_of(info[1], "width");
    const int64_t height = size_of(info[2], "height");
    const auto placement = placement_of(info[3]);
    if (static_cast<int64_t>(pixels.ByteLength()) / 3 / width != height ||
        static_cast<int64_t>(pixels.ByteLength()) != width * height * 3) {
      refuse(info.Env(), "pixels: expected width x height x 3 bytes, received " + std::to_string(pixels.ByteLength()));
    }
    if (!placement.fits(width, height)) refuse(info.Env(), "placement: box: expected one within the image");
    uint8_t* out = output_of(info[4], placement);
    return outcome(info, images_.resample(pixels.Data(), width, placement, out));
  }

  static Napi::Value outcome(const Napi::CallbackInfo& info, Failure failure) {
    const char* name = name_of(failure);
    return name == nullptr ? info.Env().Undefined() : Napi::String::New(info.Env(), name);
  }

  ImageResampler images_;
};

NODE_API_ADDON(JpegAddon)

}  // namespace
}  // namespace repkit
