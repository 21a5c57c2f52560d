// What we know about libmesos 1.11.0 as it is linked into `_scheduler.so` of the
// PyPI package mesos.scheduler: which functions it exports, and how the few types
// that cross the border look in memory. `mesos_programs.cpp` uses it.
//
// How one calls a C++ library without its headers
// -----------------------------------------------
// The library exports every symbol, and on Linux a C++ symbol is a *mangled* name
// (Itanium C++ ABI): it spells out namespaces, function and argument types. So a
// declaration of ours may be bound to it by `asm("_ZN...")`, if it agrees on how
// arguments are passed:
//
//   * references and pointers are one machine word, whatever they point to;
//   * `this` is a hidden first argument;
//   * a class with a destructor of its own is passed by hidden reference, and
//     returned through a hidden first pointer argument (named `ret` here).
//
// Mesos' own classes stay opaque: an object is a zeroed block of memory that is
// larger than any of them, filled in by the exported constructor. Hence almost no
// knowledge of layouts is needed; where there is some, it says so. All of it is
// fixed by the checksum of the library, which the build checks.
//
// To find a name: nm -D lib/libmesos-py.so | c++filt | grep 'Master::Master'
#pragma once

#include <set>
#include <string>

using std::string;

// A pointer to something whose type only the library knows.
typedef void* Opaque;

// stout's Option<T> for the types that we fill in ourselves.
template <typename T>
struct Option {
  enum State : int { SOME = 0, NONE = 1 } state;
  T value;
  Option() : state(NONE), value() {}
  Option(const T& some) : state(SOME), value(some) {}
  bool given() const { return state == SOME; }
};
typedef Option<string> OptionalString;
// stout's Duration is a count of nanoseconds.
typedef Option<long> OptionalDuration;

// Option<anything> without a value. The padding is for the library, which may copy
// the whole Option however large its T is.
struct None {
  int state = OptionalString::NONE;
  char padding[4096] = {0};
};

static const long NANOSECONDS_PER_SECOND = 1000L * 1000 * 1000;
static const long FOREVER = -1 * NANOSECONDS_PER_SECOND;

#define LIBMESOS(result, name, arguments, mangled) \
  extern result name arguments asm(mangled)
// std::string, which is long when mangled.
#define STRING "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"

// ---- libprocess, logging, flags: needed by every program -------------------------

LIBMESOS(void, logging_initialize,
    (const string& argv0, bool install_failure_handler, const None& flags),
    "_ZN5mesos8internal7logging10initializeERK" STRING "bRK6OptionINS1_5FlagsEE");

LIBMESOS(bool, process_initialize,
    (const OptionalString& delegate, const OptionalString& readwrite_realm,
     const OptionalString& readonly_realm),
    "_ZN7process10initializeERK6OptionI" STRING "ES9_S9_");
LIBMESOS(void, process_finalize, (bool finalize_winsock),
    "_ZN7process8finalizeEb");
LIBMESOS(void, process_spawn, (Opaque ret, Opaque process, bool manage),
    "_ZN7process5spawnEPNS_11ProcessBaseEb");
LIBMESOS(bool, process_wait, (Opaque upid, const long& duration),
    "_ZN7process4waitERKNS_4UPIDERK8Duration");

// Loads flags from the environment (by prefix) and the command line.
LIBMESOS(void, flags_load,
    (Opaque ret, Opaque self, const OptionalString& prefix, int argc,
     const char* const* argv, bool allow_unknown, bool allow_duplicates),
    "_ZN5flags9FlagsBase4loadERK6OptionI" STRING "EiPKPKcbb");
LIBMESOS(void, duration_parse, (Opaque ret, const string&),
    "_ZN8Duration5parseERK" STRING);

LIBMESOS(void, version_process_constructor, (Opaque self),
    "_ZN5mesos8internal14VersionProcessC1Ev");
LIBMESOS(void, files_constructor,
    (Opaque self, const OptionalString& realm, const None& authorizer),
    "_ZN5mesos8internal5FilesC1ERK6OptionI" STRING "ERKS2_IPNS_10AuthorizerEE");
LIBMESOS(void, master_detector_create,
    (Opaque ret, const OptionalString& master_or_zk, const OptionalString& module,
     const OptionalDuration& zk_session_timeout),
    "_ZN5mesos6master8detector14MasterDetector6createERK6OptionI" STRING
    "ESC_RKS3_I8DurationE");

// ---- the master ------------------------------------------------------------------

LIBMESOS(void, master_flags_constructor, (Opaque self),
    "_ZN5mesos8internal6master5FlagsC1Ev");
LIBMESOS(void, allocator_constructor, (Opaque self),
    "_ZN5mesos8internal6master9allocator14MesosAllocatorINS2_28"
    "HierarchicalAllocatorProcessINS2_9DRFSorterES5_EEEC1Ev");

// Where the registry lives: in memory, or in the replicated log.
LIBMESOS(void, memory_storage_constructor, (Opaque self),
    "_ZN5mesos5state15InMemoryStorageC1Ev");
LIBMESOS(void, log_constructor,
    (Opaque self, int quorum, const string& path, const std::set<int>& pids,
     bool initialize, const OptionalString& metrics_prefix),
    "_ZN5mesos3log3LogC1EiRK" STRING
    "RKSt3setIN7process4UPIDESt4lessISC_ESaISC_EEbRK6OptionIS7_E");
LIBMESOS(void, log_with_zookeeper_constructor,
    (Opaque self, int quorum, const string& path, const string& servers,
     const long& timeout, const string& znode, const None& authentication,
     bool initialize, const OptionalString& metrics_prefix),
    "_ZN5mesos3log3LogC1EiRK" STRING
    "S9_RK8DurationS9_RK6OptionIN9zookeeper14AuthenticationEEbRKSD_IS7_E");
LIBMESOS(void, log_storage_constructor,
    (Opaque self, Opaque log, unsigned long diffs_between_snapshots),
    "_ZN5mesos5state10LogStorageC1EPNS_3log3LogEm");
LIBMESOS(void, registrar_constructor,
    (Opaque self, Opaque flags, Opaque state, const OptionalString& realm),
    "_ZN5mesos8internal6master9RegistrarC1ERKNS1_5FlagsEPNS_5state5StateERK6OptionI"
    STRING "E");

LIBMESOS(void, master_contender_create,
    (Opaque ret, const OptionalString& zk, const OptionalString& module,
     const OptionalDuration& zk_session_timeout),
    "_ZN5mesos6master9contender15MasterContender6createERK6OptionI" STRING
    "ESC_RKS3_I8DurationE");
LIBMESOS(void, master_constructor,
    (Opaque self, Opaque allocator, Opaque registrar, Opaque files, Opaque contender,
     Opaque detector, const None& authorizer, const None& removal_limiter,
     Opaque flags),
    "_ZN5mesos8internal6master6MasterC1EPNS_9allocator9AllocatorEPNS1_9RegistrarE"
    "PNS0_5FilesEPNS_6master9contender15MasterContenderE"
    "PNSA_8detector14MasterDetectorERK6OptionIPNS_10AuthorizerEE"
    "RKSH_ISt10shared_ptrIN7process11RateLimiterEEERKNS1_5FlagsE");
LIBMESOS(void, master_info_copy_constructor, (Opaque self, Opaque other),
    "_ZN5mesos10MasterInfoC1ERKS0_");
LIBMESOS(void, standalone_detector_appoint, (Opaque self, Opaque optional_master_info),
    "_ZN5mesos6master8detector24StandaloneMasterDetector7appointERK6OptionI"
    "NS_10MasterInfoEE");

// ---- the agent -------------------------------------------------------------------

LIBMESOS(void, agent_flags_constructor, (Opaque self),
    "_ZN5mesos8internal5slave5FlagsC1Ev");
LIBMESOS(void, fetcher_constructor, (Opaque self, Opaque flags),
    "_ZN5mesos8internal5slave7FetcherC1ERKNS1_5FlagsE");
LIBMESOS(void, garbage_collector_constructor, (Opaque self, const string& work_dir),
    "_ZN5mesos8internal5slave16GarbageCollectorC1ERK" STRING);
LIBMESOS(void, status_update_manager_constructor, (Opaque self, Opaque flags),
    "_ZN5mesos8internal5slave23TaskStatusUpdateManagerC1ERKNS1_5FlagsE");
LIBMESOS(void, resource_estimator_create, (Opaque ret, const OptionalString& module),
    "_ZN5mesos5slave17ResourceEstimator6createERK6OptionI" STRING "E");
LIBMESOS(void, qos_controller_create, (Opaque ret, const OptionalString& module),
    "_ZN5mesos5slave13QoSController6createERK6OptionI" STRING "E");
LIBMESOS(void, secret_resolver_create, (Opaque ret, const OptionalString& module),
    "_ZN5mesos14SecretResolver6createERK6OptionI" STRING "E");
LIBMESOS(void, containerizer_create,
    (Opaque ret, Opaque flags, bool local, Opaque fetcher, Opaque garbage_collector,
     Opaque secret_resolver, Opaque volume_gids, Opaque future_tracker,
     Opaque csi_server),
    "_ZN5mesos8internal5slave13Containerizer6createERKNS1_5FlagsEbPNS1_7FetcherE"
    "PNS1_16GarbageCollectorEPNS_14SecretResolverEPNS1_16VolumeGidManagerE"
    "PNS0_20PendingFutureTrackerEPNS1_9CSIServerE");
LIBMESOS(void, agent_constructor,
    (Opaque self, const string& process_id, Opaque flags, Opaque detector,
     Opaque containerizer, Opaque files, Opaque garbage_collector,
     Opaque status_update_manager, Opaque resource_estimator, Opaque qos_controller,
     Opaque secret_generator, Opaque volume_gids, Opaque future_tracker,
     Opaque owned_csi_server, const None& executor_socket, const None& authorizer),
    "_ZN5mesos8internal5slave5SlaveC1ERK" STRING "RKNS1_5FlagsE"
    "PNS_6master8detector14MasterDetectorEPNS1_13ContainerizerEPNS0_5FilesE"
    "PNS1_16GarbageCollectorEPNS1_23TaskStatusUpdateManagerE"
    "PNS_5slave17ResourceEstimatorEPNSQ_13QoSControllerEPNS_15SecretGeneratorE"
    "PNS1_16VolumeGidManagerEPNS0_20PendingFutureTrackerE"
    "ON7process5OwnedINS1_9CSIServerEEE"
    "RK6OptionINS11_7network8internal6SocketINS17_4unix7AddressEEEE"
    "RKS16_IPNS_10AuthorizerEE");

// ---- mesos-containerizer launch --------------------------------------------------

LIBMESOS(void, launch_flags_constructor, (Opaque self),
    "_ZN5mesos8internal5slave24MesosContainerizerLaunch5FlagsC1Ev");
LIBMESOS(Opaque, launch_get_flags, (Opaque self),
    "_ZN5mesos8internal5slave24MesosContainerizerLaunch8getFlagsEv");
LIBMESOS(int, launch_execute, (Opaque self),
    "_ZN5mesos8internal5slave24MesosContainerizerLaunch7executeEv");

// `MesosContainerizerLaunch::flags`. Read from getFlags(), which is
// `lea 0x168(%rdi),%rax`: 0xe0 plus the offset of the virtual base in the member.
static const size_t LAUNCH_FLAGS_OFFSET = 0xe0;

// ---- mesos-io-switchboard --------------------------------------------------------

LIBMESOS(void, switchboard_create,
    (Opaque ret, bool tty, int stdin_to, int stdout_from, int stdout_to,
     int stderr_from, int stderr_to, const string& socket_path,
     bool wait_for_connection, const OptionalDuration& heartbeat_interval),
    "_ZN5mesos8internal5slave19IOSwitchboardServer6createEbiiiiiRK" STRING
    "b6OptionI8DurationE");
LIBMESOS(void, switchboard_run, (Opaque ret, Opaque self),
    "_ZN5mesos8internal5slave19IOSwitchboardServer3runEv");
LIBMESOS(void, switchboard_unblock, (Opaque ret, Opaque self),
    "_ZN5mesos8internal5slave19IOSwitchboardServer7unblockEv");
// Waits for a Future<Nothing>; ends the process with the reason if it failed.
LIBMESOS(Opaque, future_nothing_get, (Opaque self),
    "_ZNK7process6FutureI7NothingE3getEv");

// ---- type information and virtual tables ------------------------------------------

extern char TYPE_OF_FLAGS[]   asm("_ZTIN5flags9FlagsBaseE");
extern char TYPE_OF_PROCESS[] asm("_ZTIN7process11ProcessBaseE");
extern Opaque STATE_TABLE[]       asm("_ZTVN5mesos5state8protobuf5StateE");
extern Opaque MASTER_INFO_TABLE[] asm("_ZTVN5mesos10MasterInfoE");
extern Opaque LAUNCH_TABLE[]
    asm("_ZTVN5mesos8internal5slave24MesosContainerizerLaunchE");

// An object points past the first two words of its class's table (offset to top,
// type information).
static const int TABLE_HEADER_WORDS = 2;

// ---- Python 2.7, which the library is an extension of --------------------------------
//
// We never enter its Python side. Data symbols must exist for the loader; functions
// are bound when first called (-z lazy), so each may be one that aborts by name.
extern "C" {
Opaque PyExc_Exception, PyExc_TypeError;
char _Py_NoneStruct[64];
[[noreturn]] void python_called(const char* name);
#define PYTHON(name) void name() { python_called(#name); }
PYTHON(PyArg_ParseTuple) PYTHON(PyDict_GetItemString) PYTHON(PyErr_Format)
PYTHON(PyErr_Occurred) PYTHON(PyErr_Print) PYTHON(PyEval_InitThreads)
PYTHON(PyEval_RestoreThread) PYTHON(PyEval_SaveThread) PYTHON(PyGILState_Ensure)
PYTHON(PyGILState_Release) PYTHON(PyImport_ImportModule) PYTHON(PyInt_FromLong)
PYTHON(PyIter_Next) PYTHON(PyList_GetItem) PYTHON(PyList_New) PYTHON(PyList_SetItem)
PYTHON(PyList_Size) PYTHON(PyModule_AddObject) PYTHON(PyModule_GetDict)
PYTHON(PyObject_CallMethod) PYTHON(PyObject_GetIter) PYTHON(PyString_AsStringAndSize)
PYTHON(PyType_Ready) PYTHON(Py_InitModule4_64)
#undef PYTHON
}
