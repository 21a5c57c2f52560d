//! The executor: runs and watches one etcd process on an agent.
//!
//! | question | file |
//! |---|---|
//! | may etcd start on this data directory? | `data_gate.rs` |
//! | what lies on the volume, and how is it changed? | `volume.rs` |
//! | when does data that was set aside go? | `aside_removal.rs` |
//! | are programs and ports as they should be? | `program_check.rs` |
//! | how is etcd called? | `etcd_arguments.rs` |
//! | how does etcd die with us? | `run_etcd.rs` |
//! | one life of the etcd process | `etcd_process.rs` |
//! | what does a crash report show of its log? | `log_tail.rs` |
//! | what do etcd's last words say about its data? | `data_signs.rs` |
//! | would etcd take other options? | `trial.rs` |
//! | the member's whole life | `member.rs` |
//! | how much room is there? | `volume_room.rs` |
//! | what does the scheduler want? | `spec_reading.rs` |
//! | who is told about it? | `reporter.rs` |
//! | how does it all hang on a Mesos agent? | `mesos_task.rs` |

pub mod aside_removal;
pub mod backoff;
pub mod data_gate;
pub mod data_signs;
pub mod etcd_arguments;
pub mod etcd_process;
pub mod log_tail;
pub mod member;
pub mod mesos_task;
pub mod program_check;
pub mod reporter;
pub mod run_etcd;
pub mod spec_reading;
pub mod trial;
pub mod volume;
pub mod volume_room;
