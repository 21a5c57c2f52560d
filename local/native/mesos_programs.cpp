// Apache Mesos 1.11.0's master, agent, containerizer helper and I/O switchboard,
// started by a main() of our own.
//
// The code of Mesos comes unchanged out of a published binary (see libmesos.hpp for
// how it is called); what Mesos compiles into its small main() functions is missing
// there, and is written anew here. It does in the same order what the main()
// functions of the tag 1.11.0 do, less what one machine has no use for: modules,
// hooks, firewall rules, ACLs and TLS. Flags that only those parts would obey are
// refused, so that nobody believes that they work.
//
//   mesos-programs master --work_dir=... [--zk=zk://host:port/path --quorum=1] ...
//   mesos-programs agent  --master=... --work_dir=... ...
//   mesos-containerizer launch ...     a link to this file; the agent starts it for
//                                      each container, and it becomes the executor
//   mesos-io-switchboard ...           likewise; carries stdin, stdout and stderr of
//                                      a container whose terminal is somewhere else
//
// All flags and MESOS_* variables are parsed by Mesos itself.
#include "libmesos.hpp"

#include <cxxabi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <typeinfo>

static const char* program = "mesos-programs";

[[noreturn]] static void die(const string& what, const string& why) {
  fprintf(stderr, "%s: %s: %s\n", program, what.c_str(), why.c_str());
  exit(EXIT_FAILURE);
}

void python_called(const char* name) {
  fprintf(stderr, "%s: the library called %s, but there is no Python here\n",
          program, name);
  abort();
}

// ---- opaque objects ----------------------------------------------------------------

// Memory for one object of the library. The largest (Master) is about 7 KiB.
// Never given back: these objects live as long as the process.
static Opaque object() {
  const size_t LARGER_THAN_ANY_CLASS = 64 * 1024;
  return calloc(1, LARGER_THAN_ANY_CLASS);
}

// A pointer to a base class of a finished object. Flags and processes inherit
// virtually, so the offset is known only to the object's own type information.
static Opaque upcast(Opaque derived, char* base) {
  const std::type_info* type =
      (*reinterpret_cast<const std::type_info***>(derived))[-1];
  Opaque result = derived;
  if (!type->__do_upcast(reinterpret_cast<abi::__class_type_info*>(base), &result))
    die("another class layout than expected", type->name());
  return result;
}

// The value in a stout Try<T>, which is { Option<T> data; Option<Error> error; };
// an Error is a string. Both Options begin with their state, padded to one word.
static Opaque* value_or_die(const char* what, Opaque tried, size_t size_of_value) {
  const size_t STATE = sizeof(Opaque);
  char* bytes = static_cast<char*>(tried);
  if (*reinterpret_cast<int*>(bytes) != OptionalString::SOME)
    die(what, *reinterpret_cast<string*>(bytes + STATE + size_of_value + STATE));
  return reinterpret_cast<Opaque*>(bytes + STATE);
}

static Opaque pointer_or_die(const char* what, Opaque tried) {
  return *value_or_die(what, tried, sizeof(Opaque));
}

// Calls one of the factories that take the name of a module; we have no modules.
static Opaque create_default(const char* what,
                             void (*factory)(Opaque, const OptionalString&)) {
  Opaque tried = object();
  factory(tried, OptionalString());
  return pointer_or_die(what, tried);
}

// ---- flags ---------------------------------------------------------------------------

static void load_flags(Opaque flags, const char* prefix, int argc, char** argv) {
  const size_t SIZE_OF_WARNINGS = 3 * sizeof(Opaque);  // a std::vector
  Opaque tried = object();
  flags_load(tried, flags, OptionalString(prefix), argc, argv, false, false);
  value_or_die("flags", tried, SIZE_OF_WARNINGS);
}

// The text of one flag, for the few that main() itself looks at: the parsed values
// lie at offsets in the flags object that we need not know.
static OptionalString flag(int argc, char** argv, const string& name) {
  const string prefix = "--" + name + "=";
  for (int i = 1; i < argc; i++)
    if (strncmp(argv[i], prefix.c_str(), prefix.size()) == 0)
      return string(argv[i] + prefix.size());
  string variable = "MESOS_";
  for (char c : name) variable += static_cast<char>(toupper(c));
  if (const char* value = getenv(variable.c_str())) return string(value);
  return OptionalString();
}

static string needed_flag(int argc, char** argv, const string& name) {
  const OptionalString value = flag(argc, argv, name);
  if (!value.given()) die("this flag is needed", "--" + name);
  return value.value;
}

// Ends the program when a flag is given whose code was in a part left out here.
static void refuse_flags(int argc, char** argv, const std::set<string>& names) {
  for (const string& name : names) {
    bool given = flag(argc, argv, name).given();
    for (int i = 1; i < argc; i++) given = given || argv[i] == "--" + name;
    if (given) die("this flag does nothing here, leave it out", "--" + name);
  }
}

static OptionalDuration duration(const OptionalString& text,
                                 const OptionalDuration& otherwise) {
  if (!text.given()) return otherwise;
  Opaque tried = object();
  duration_parse(tried, text.value);
  return OptionalDuration(reinterpret_cast<long>(pointer_or_die("duration", tried)));
}

// Mesos: ZOOKEEPER_SESSION_TIMEOUT is 10 seconds.
static OptionalDuration zk_session_timeout(int argc, char** argv) {
  return duration(flag(argc, argv, "zk_session_timeout"),
                  OptionalDuration(10 * NANOSECONDS_PER_SECOND));
}

// ---- what master and agent have in common ----------------------------------------------

// Starts logging and libprocess, which begins to listen.
static void start_libprocess(int argc, char** argv, const string& default_port,
                             const char* delegate, const string& realm) {
  const OptionalString ip = flag(argc, argv, "ip"), port = flag(argc, argv, "port");
  logging_initialize(argv[0], true, None());
  // Mesos itself would listen on all addresses when none is given. This program
  // serves tests and trials, so it stays on loopback unless it is told otherwise.
  setenv("LIBPROCESS_IP", ip.given() ? ip.value.c_str() : "127.0.0.1", ip.given());
  setenv("LIBPROCESS_PORT", (port.given() ? port.value : default_port).c_str(), true);
  if (!process_initialize(string(delegate), realm + "-readwrite", realm + "-readonly"))
    die("libprocess", "was initialised before main()");
  Opaque version = object();
  version_process_constructor(version);
  process_spawn(object(), upcast(version, TYPE_OF_PROCESS), false);
}

[[noreturn]] static void run_until_terminated(Opaque process) {
  Opaque upid = object();
  process_spawn(upid, upcast(process, TYPE_OF_PROCESS), false);
  process_wait(upid, FOREVER);
  _exit(EXIT_SUCCESS);  // The objects were never meant to be destroyed.
}

static Opaque create_detector(const OptionalString& master, int argc, char** argv) {
  Opaque tried = object();
  master_detector_create(tried, master, OptionalString(),
                         zk_session_timeout(argc, argv));
  return pointer_or_die("master detector", tried);
}

// ---- mesos-master --------------------------------------------------------------------------

// The replicated log in which the master's registry is kept, so that it survives a
// restart; with ZooKeeper the masters of one cluster find each other's replicas.
static Opaque create_log_storage(const OptionalString& zk, int argc, char** argv) {
  const string work_dir = needed_flag(argc, argv, "work_dir");
  const string path = work_dir + "/replicated_log", metrics = "registrar/";
  std::error_code failed;
  std::filesystem::create_directories(work_dir, failed);
  if (failed) die("cannot make " + work_dir, failed.message());

  Opaque log = object(), storage = object();
  if (zk.given()) {
    const string quorum = needed_flag(argc, argv, "quorum");
    const size_t scheme = strlen("zk://");
    const size_t slash = zk.value.find('/', scheme);
    if (slash == string::npos) die("--zk", "give it as zk://host:port/path");
    log_with_zookeeper_constructor(
        log, atoi(quorum.c_str()), path, zk.value.substr(scheme, slash - scheme),
        zk_session_timeout(argc, argv).value,
        zk.value.substr(slash) + "/log_replicas", None(), true, metrics);
  } else {
    log_constructor(log, 1, path, std::set<int>(), true, metrics);
  }
  log_storage_constructor(storage, log, 0);
  return storage;
}

// Without ZooKeeper nobody elects a leader: main() tells the detector that it is this
// master. Its MasterInfo is a private member, so it is found by its virtual table.
static void appoint_itself(Opaque* master, Opaque detector) {
  const size_t SIZE_OF_MASTER = 0x1a20;
  const Opaque table = MASTER_INFO_TABLE + TABLE_HEADER_WORDS;
  size_t word = 0;
  while (word < SIZE_OF_MASTER / sizeof(Opaque) && master[word] != table) word++;
  if (master[word] != table) die("master", "MasterInfo not found in it");
  Opaque* info = static_cast<Opaque*>(object());  // Option<MasterInfo>, SOME is 0
  master_info_copy_constructor(info + 1, master + word);
  standalone_detector_appoint(detector, info);
}

[[noreturn]] static void run_master(int argc, char** argv) {
  Opaque flags = object();
  master_flags_constructor(flags);
  load_flags(upcast(flags, TYPE_OF_FLAGS), "MESOS_", argc, argv);
  refuse_flags(argc, argv,
      {"acls", "authorizers", "modules", "modules_dir", "hooks", "firewall_rules",
       "agent_removal_rate_limit", "allocator", "role_sorter", "framework_sorter",
       "master_contender", "master_detector", "advertise_ip", "advertise_port",
       "ip_discovery_command", "logging_level", "log_dir", "quiet"});
  start_libprocess(argc, argv, "5050", "master", "mesos-master");
  const OptionalString zk = flag(argc, argv, "zk");

  Opaque allocator = object(), registrar = object(), files = object();
  allocator_constructor(allocator);

  Opaque storage;
  if (flag(argc, argv, "registry").value == "in_memory") {
    storage = object();
    memory_storage_constructor(storage);
  } else {
    storage = create_log_storage(zk, argc, argv);
  }
  // state::protobuf::State has an inline constructor: table, then Storage*.
  static Opaque state[2] = {STATE_TABLE + TABLE_HEADER_WORDS, storage};
  registrar_constructor(registrar, flags, state, string("mesos-master-readonly"));

  Opaque tried = object();
  master_contender_create(tried, zk, OptionalString(), zk_session_timeout(argc, argv));
  Opaque contender = pointer_or_die("master contender", tried);
  Opaque detector = create_detector(zk, argc, argv);
  files_constructor(files, string("mesos-master-readonly"), None());

  Opaque master = object();
  master_constructor(master, allocator, registrar, files, contender, detector, None(),
                     None(), flags);
  if (!zk.given()) appoint_itself(static_cast<Opaque*>(master), detector);
  run_until_terminated(master);
}

// ---- mesos-agent ---------------------------------------------------------------------------

[[noreturn]] static void run_agent(int argc, char** argv) {
  Opaque flags = object();
  agent_flags_constructor(flags);
  load_flags(upcast(flags, TYPE_OF_FLAGS), "MESOS_", argc, argv);
  refuse_flags(argc, argv,
      {"acls", "authorizer", "modules", "modules_dir", "hooks", "firewall_rules",
       "resource_estimator", "qos_controller", "secret_resolver", "jwt_secret_key",
       "csi_plugin_config_dir", "http_executor_domain_sockets", "volume_gid_range",
       "agent_subsystems", "master_detector", "advertise_ip", "advertise_port",
       "ip_discovery_command", "logging_level", "log_dir", "quiet"});
  start_libprocess(argc, argv, "5051", "slave(1)", "mesos-agent");

  Opaque fetcher = object(), garbage_collector = object(), updates = object();
  Opaque files = object();
  fetcher_constructor(fetcher, flags);
  garbage_collector_constructor(garbage_collector, needed_flag(argc, argv, "work_dir"));

  Opaque secrets = create_default("secret resolver", secret_resolver_create);
  Opaque tried = object();
  containerizer_create(tried, flags, false, fetcher, garbage_collector, secrets,
                       nullptr, nullptr, nullptr);
  Opaque containerizer = pointer_or_die("containerizer", tried);
  Opaque detector = create_detector(flag(argc, argv, "master"), argc, argv);
  files_constructor(files, string("mesos-agent-readonly"), None());
  status_update_manager_constructor(updates, flags);
  Opaque estimator = create_default("resource estimator", resource_estimator_create);
  Opaque qos = create_default("qos controller", qos_controller_create);

  Opaque no_csi_server = object();  // An empty Owned<CSIServer>.
  Opaque agent = object();
  agent_constructor(agent, "slave(1)", flags, detector, containerizer, files,
                    garbage_collector, updates, estimator, qos, nullptr, nullptr,
                    nullptr, no_csi_server, None(), None());
  run_until_terminated(agent);
}

// ---- mesos-containerizer -----------------------------------------------------------------------

// Prepares a container from inside (working directory, user, limits, mounts) and
// becomes its command. The real program has more subcommands; all of them are for
// isolators that need root, and none is used with the posix ones.
static int run_containerizer(int argc, char** argv) {
  if (argc < 2 || strcmp(argv[1], "launch") != 0)
    die("only `launch` is here, not", argc < 2 ? "nothing" : argv[1]);
  // The class has an inline constructor: table, base members that may be zero, flags.
  char* command = static_cast<char*>(object());
  *reinterpret_cast<Opaque*>(command) = LAUNCH_TABLE + TABLE_HEADER_WORDS;
  launch_flags_constructor(command + LAUNCH_FLAGS_OFFSET);
  Opaque flags = launch_get_flags(command);
  if (flags != upcast(command + LAUNCH_FLAGS_OFFSET, TYPE_OF_FLAGS))
    die("another class layout than expected", "MesosContainerizerLaunch");
  load_flags(flags, "MESOS_CONTAINERIZER_", argc - 1, argv + 1);
  return launch_execute(command);
}

// ---- mesos-io-switchboard ------------------------------------------------------------------------

static int descriptor(int argc, char** argv, const string& name) {
  return atoi(needed_flag(argc, argv, name).c_str());
}

// Serves ATTACH_CONTAINER_INPUT and ATTACH_CONTAINER_OUTPUT for one container on a
// Unix socket, to which the agent passes the caller's request on. A process of its
// own, so that an open shell survives a restart of the agent.
static int run_io_switchboard(int argc, char** argv) {
  // SIGTERM means: do not wait any longer for a first caller. It is taken by a thread
  // of its own; blocking it first, before libprocess has threads, makes sure of that.
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminate, nullptr);

  logging_initialize(argv[0], false, None());
  process_initialize(OptionalString(), OptionalString(), OptionalString());

  const size_t SIZE_OF_OWNED = 2 * sizeof(Opaque);  // a std::shared_ptr
  Opaque tried = object();
  switchboard_create(
      tried, flag(argc, argv, "tty").value == "true",
      descriptor(argc, argv, "stdin_to_fd"), descriptor(argc, argv, "stdout_from_fd"),
      descriptor(argc, argv, "stdout_to_fd"), descriptor(argc, argv, "stderr_from_fd"),
      descriptor(argc, argv, "stderr_to_fd"), needed_flag(argc, argv, "socket_address"),
      flag(argc, argv, "wait_for_connection").value == "true",
      duration(flag(argc, argv, "heartbeat_interval"), OptionalDuration()));
  // Owned<T> is a shared_ptr to a struct whose first member is the T*.
  Opaque* owned = static_cast<Opaque*>(
      *value_or_die("I/O switchboard", tried, SIZE_OF_OWNED));
  Opaque server = *owned;

  std::thread([terminate, server] {
    int signal;
    sigwait(&terminate, &signal);
    switchboard_unblock(object(), server);
  }).detach();

  Opaque running = object();
  switchboard_run(running, server);
  future_nothing_get(running);
  process_finalize(true);  // Sends what is still to be sent.
  return EXIT_SUCCESS;
}

int main(int argc, char** argv) {
  const char* slash = strrchr(argv[0], '/');
  const string name = slash ? slash + 1 : argv[0];
  if (name == "mesos-containerizer" || name == "mesos-io-switchboard") {
    program = slash ? slash + 1 : argv[0];
    return name == "mesos-containerizer" ? run_containerizer(argc, argv)
                                         : run_io_switchboard(argc, argv);
  }
  const string which = argc > 1 ? argv[1] : "";
  if (which == "master") run_master(argc - 1, argv + 1);
  if (which == "agent") run_agent(argc - 1, argv + 1);
  die("usage", "mesos-programs master|agent --flag=value ...");
}
