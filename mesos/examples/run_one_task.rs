//! A whole framework: finds an offer, launches one task under `echo_executor`,
//! exchanges a message, kills the task and leaves.
//!
//! ```text
//! cargo build --examples
//! cargo run --example run_one_task -- 127.0.0.1:5050 /path/to/echo_executor
//! ```

use std::error::Error;
use std::process::ExitCode;

use bytes::Bytes;
use mesos_v1::scheduler::{Call, Event};
use mesos_v1::v1::framework_info::{Capability, capability};
use mesos_v1::v1::offer::Operation;
use mesos_v1::v1::{
    AgentId, CommandInfo, ExecutorId, ExecutorInfo, FrameworkInfo, Offer, Resource,
    TaskId, TaskInfo, TaskState, TaskStatus, executor_info, value,
};
use mesos_v1::{
    Access, Epoch, Masters, OperatorClient, SchedulerHandle, SchedulerSession,
    SessionConfig, SessionEvent,
};

const TASK: &str = "task-0";
const EXECUTOR: &str = "echo";
const CPUS: f64 = 0.1;
const MEMORY_MB: f64 = 32.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [masters, executor] = arguments.as_slice() else {
        eprintln!("usage: run_one_task MASTER_HOST:PORT[,...] PATH_OF_ECHO_EXECUTOR");
        return ExitCode::from(64);
    };
    match run(masters, executor).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(masters: &str, executor: &str) -> Result<(), Box<dyn Error>> {
    let masters: Masters = masters.parse()?;
    let framework = FrameworkInfo {
        user: "root".to_owned(),
        name: "run_one_task".to_owned(),
        roles: vec!["examples".to_owned()],
        checkpoint: Some(true),
        failover_timeout: Some(60.0),
        capabilities: [
            capability::Type::MultiRole,
            capability::Type::PartitionAware,
            capability::Type::ReservationRefinement,
        ]
        .map(|kind| Capability {
            r#type: Some(kind.into()),
        })
        .to_vec(),
        ..FrameworkInfo::default()
    };
    let config = SessionConfig::new(masters.clone(), framework);
    let (master, mut events) = SchedulerSession::start(config)?;
    let mut example = Example {
        master,
        executor: executor.to_owned(),
        launched: false,
    };
    while let Some(event) = events.recv().await {
        match event {
            SessionEvent::Event { epoch, event } => {
                println!("{}", event.r#type().as_str_name());
                if example.handle(epoch, *event).await? == Progress::Done {
                    break;
                }
            }
            SessionEvent::Failed { error } => return Err(error.into()),
            other => println!("{other:?}"),
        }
    }
    let frameworks = OperatorClient::new(masters, &Access::default())?
        .get_frameworks()
        .await?;
    println!("{} frameworks are left", frameworks.frameworks.len());
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Progress {
    Going,
    Done,
}

struct Example {
    master: SchedulerHandle,
    executor: String,
    launched: bool,
}

impl Example {
    async fn handle(
        &mut self,
        epoch: Epoch,
        event: Event,
    ) -> Result<Progress, Box<dyn Error>> {
        for offer in event.offers.into_iter().flat_map(|offers| offers.offers) {
            let call = self.answer(offer);
            self.master.call(epoch, call).await?;
        }
        if let Some(message) = event.message {
            println!("the executor says {:?}", message.data);
            let kill = Call::kill(id(TASK), Some(message.agent_id), None);
            self.master.call(epoch, kill).await?;
        }
        match event.update {
            Some(update) => self.handle_status(epoch, update.status).await,
            None => Ok(Progress::Going),
        }
    }

    fn answer(&mut self, offer: Offer) -> Call {
        if self.launched
            || scalar(&offer, "cpus") < CPUS
            || scalar(&offer, "mem") < MEMORY_MB
        {
            return Call::decline([offer.id], 60.0);
        }
        self.launched = true;
        let task = task(&self.executor, &offer);
        Call::accept([offer.id], vec![Operation::launch(vec![task])], 60.0)
    }

    async fn handle_status(
        &self,
        epoch: Epoch,
        status: TaskStatus,
    ) -> Result<Progress, Box<dyn Error>> {
        println!("{}: {}", status.task_id.value, status.state().as_str_name());
        if let Some(acknowledge) = Call::acknowledge(&status) {
            self.master.call(epoch, acknowledge).await?;
        }
        match status.state() {
            TaskState::TaskStaging | TaskState::TaskStarting => {}
            TaskState::TaskRunning => {
                let agent_id = status.agent_id.ok_or("a running task has an agent")?;
                let greeting = Bytes::from_static(b"hello");
                let call = Call::message(agent_id, executor_id(), greeting);
                self.master.call(epoch, call).await?;
            }
            TaskState::TaskKilled => {
                self.master.call(epoch, Call::teardown()).await?;
                return Ok(Progress::Done);
            }
            state => {
                let why = status.message.unwrap_or_default();
                return Err(format!("unexpected {}: {why}", state.as_str_name()).into());
            }
        }
        Ok(Progress::Going)
    }
}

fn task(executor: &str, offer: &Offer) -> TaskInfo {
    TaskInfo {
        name: TASK.to_owned(),
        task_id: id(TASK),
        agent_id: AgentId {
            value: offer.agent_id.value.clone(),
        },
        resources: vec![
            take(offer, "cpus", CPUS / 2.0),
            take(offer, "mem", MEMORY_MB / 2.0),
        ],
        executor: Some(ExecutorInfo {
            executor_id: executor_id(),
            r#type: Some(executor_info::Type::Custom.into()),
            framework_id: Some(offer.framework_id.clone()),
            command: Some(CommandInfo {
                shell: Some(false),
                value: Some(executor.to_owned()),
                arguments: vec!["echo_executor".to_owned()],
                ..CommandInfo::default()
            }),
            resources: vec![
                take(offer, "cpus", CPUS / 2.0),
                take(offer, "mem", MEMORY_MB / 2.0),
            ],
            ..ExecutorInfo::default()
        }),
        ..TaskInfo::default()
    }
}

fn id(task: &str) -> TaskId {
    TaskId {
        value: task.to_owned(),
    }
}

fn executor_id() -> ExecutorId {
    ExecutorId {
        value: EXECUTOR.to_owned(),
    }
}

/// How much of an unreserved scalar is offered.
fn scalar(offer: &Offer, name: &str) -> f64 {
    let amounts = offer
        .resources
        .iter()
        .filter(|resource| is_unreserved(resource, name));
    amounts
        .filter_map(|resource| resource.scalar.as_ref())
        .map(|amount| amount.value)
        .sum()
}

fn is_unreserved(resource: &Resource, name: &str) -> bool {
    resource.name == name && resource.reservations.is_empty()
}

/// A part of an offered resource: the same in all but its amount.
fn take(offer: &Offer, name: &str, amount: f64) -> Resource {
    let whole = offer
        .resources
        .iter()
        .find(|resource| is_unreserved(resource, name));
    let mut part = whole.cloned().unwrap_or_default();
    part.scalar = Some(value::Scalar { value: amount });
    part
}
