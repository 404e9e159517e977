/**
 * What the pickle reader makes of the names of Python classes and functions.
 *
 * A pickle is a program that may name and call anything. Here a name is one of four things:
 * - `tensor`: needed for plain tensors (storages, `_rebuild_tensor_v2`, OrderedDict, dtypes);
 * - `data`: a harmless value type, such as set, complex, pathlib.PosixPath or a numpy scalar;
 * - `inert`: unknown; may be constructed as data (its parts are kept, its class is a name), as
 *   RepVGG's checkpoints do with `yacs.config.CfgNode`, but never called;
 * - `unsafe`: reaches the system or the interpreter; its mere appearance is refused.
 * Nothing is ever imported or executed: the classes decide what is refused, not what runs.
 */

export type GlobalClass = "tensor" | "data" | "inert" | "unsafe";

/** The functions that PyTorch rebuilds dense tensors with. */
export const TENSOR_FUNCTIONS: ReadonlySet<string> = new Set([
  "torch._utils._rebuild_tensor",
  "torch._utils._rebuild_tensor_v2",
  "torch._utils._rebuild_tensor_v3",
  "torch._utils._rebuild_parameter",
  "torch._utils._rebuild_parameter_with_state",
  "torch._tensor._rebuild_from_type_v2",
]);

/** Tensors that are not dense numbers: known, yet nothing to convert. */
export function isSpecialTensorFunction(name: string): boolean {
  return name.startsWith("torch._utils._rebuild_") && !TENSOR_FUNCTIONS.has(name);
}

const TENSOR_TYPES: ReadonlySet<string> = new Set([
  "collections.OrderedDict",
  "torch.Size",
  "torch.device",
  "torch.Tensor",
  "torch._tensor.Tensor",
  "torch.nn.parameter.Parameter",
  "torch.nn.parameter.Buffer",
]);

const STORAGE_TYPE = /^torch\.(?:cuda\.|storage\.)?_?(\w+)Storage$/;
const TORCH_DTYPE =
  /^torch\.(?:q?u?int\d*|bfloat16|float\d*\w*|double|half|long|short|bool|complex\d*|cfloat|cdouble)$/;

const DATA_TYPES: ReadonlySet<string> = new Set([
  ...["set", "frozenset", "list", "tuple", "dict", "object", "range", "slice"].map(builtin),
  ...["int", "float", "complex", "bool", "str", "bytes", "bytearray"].map(builtin),
  ...["NoneType", "Ellipsis", "NotImplemented"].map(builtin),
  "collections.defaultdict",
  "collections.Counter",
  "collections.deque",
  "copyreg._reconstructor",
  "copyreg.__newobj__",
  "copyreg.__newobj_ex__",
  "_codecs.encode",
  "decimal.Decimal",
  "fractions.Fraction",
  "uuid.UUID",
  "numpy.dtype",
  "numpy.ndarray",
  "torch.serialization._get_layout",
]);

const DATA_PATTERNS: readonly RegExp[] = [
  /^datetime\.(?:datetime|date|time|timedelta|timezone)$/,
  /^pathlib\.(?:_local\.)?(?:Pure)?(?:Posix|Windows)?Path$/,
  /^numpy\.(?:_core|core)\.(?:multiarray\.(?:scalar|_reconstruct)|numeric\._frombuffer)$/,
  /^torch\._utils\._rebuild_\w+$/,
];

/** Modules (or the first part of dotted ones) from which nothing is data. */
const UNSAFE_MODULES: ReadonlySet<string> = new Set(
  `os posix nt posixpath ntpath sys subprocess _posixsubprocess pty shutil socket _socket ssl
  runpy importlib imp pkgutil zipimport site code codeop codecs _codecs commands ctypes _ctypes
  cffi multiprocessing _multiprocessing threading _thread asyncio concurrent signal resource
  platform webbrowser pickle _pickle cPickle marshal shelve dill cloudpickle joblib timeit trace
  pdb bdb cProfile profile doctest pydoc linecache inspect types functools operator _operator
  itertools weakref gc atexit io _io builtins pip setuptools distutils ensurepip venv http urllib
  urllib2 requests aiohttp ftplib smtplib telnetlib poplib imaplib xmlrpc socketserver tempfile
  glob fileinput mmap fcntl sqlite3 logging ast dis tkinter idlelib test lib2to3`.split(/\s+/),
);

const UNSAFE_PREFIXES: readonly string[] = [
  ..."serialization hub package jit load save ops classes _C _dynamo _inductor fx".split(" "),
  ..."multiprocessing utils.cpp_extension utils.data storage._load_from_bytes".split(" "),
  "distributed.rpc",
].map((name) => `torch.${name}`);

const UNSAFE_NUMPY = /^numpy\.(?:load|save|fromfile|loadtxt|testing|f2py|distutils|ctypeslib)/;

/** Attributes that lead out of a harmless module: `torch.serialization.os`. */
const UNSAFE_ATTRIBUTES: ReadonlySet<string> = new Set(
  "os sys subprocess posix nt builtins importlib shutil socket ctypes pickle runpy".split(" "),
);

/** Python 2 names, which protocol 2 uses to this day. */
const RENAMED: ReadonlyMap<string, string> = new Map([
  ["builtins.xrange", "builtins.range"],
  ["builtins.unicode", "builtins.str"],
  ["builtins.long", "builtins.int"],
]);

/** The dotted Python 3 name of a global. */
export function globalName(module: string, name: string): string {
  const modern = module === "__builtin__" ? "builtins" : module === "copy_reg" ? "copyreg" : module;
  const full = `${modern}.${name}`;
  return RENAMED.get(full) ?? full;
}

export function classifyGlobal(name: string): GlobalClass {
  if (TENSOR_FUNCTIONS.has(name) || TENSOR_TYPES.has(name)) return "tensor";
  if (STORAGE_TYPE.test(name) || TORCH_DTYPE.test(name)) return "tensor";
  if (DATA_TYPES.has(name) || DATA_PATTERNS.some((pattern) => pattern.test(name))) return "data";
  return isUnsafe(name) ? "unsafe" : "inert";
}

function isUnsafe(name: string): boolean {
  const [module = "", ...attributes] = name.split(".");
  if (UNSAFE_MODULES.has(module)) return true;
  if (UNSAFE_PREFIXES.some((prefix) => name === prefix || name.startsWith(`${prefix}.`))) {
    return true;
  }
  if (UNSAFE_NUMPY.test(name)) return true;
  return attributes.some((part) => UNSAFE_ATTRIBUTES.has(part) || /^__\w+__$/.test(part));
}

/** `Float` of `torch.FloatStorage`; undefined where the name is not that of a storage class. */
export function storageElementName(name: string): string | undefined {
  return STORAGE_TYPE.exec(name)?.[1];
}

function builtin(name: string): string {
  return `builtins.${name}`;
}
