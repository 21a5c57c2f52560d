//! Compiles the protocol files under `proto/` without needing `protoc`.

use std::error::Error;

/// The files that import all others.
const ROOTS: [&str; 4] = [
    "mesos/v1/scheduler/scheduler.proto",
    "mesos/v1/executor/executor.proto",
    "mesos/v1/master/master.proto",
    "mesos/v1/agent/agent.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(ROOTS, ["proto"])?;
    prost_build::Config::new()
        // Payloads are shared, not copied, between the stream and the reader.
        .bytes(["."])
        // Equal messages shall be equal bytes.
        .btree_map(["."])
        .include_file("mesos.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
