//! Builders for the calls of a scheduler, and for the operations of an ACCEPT.
//!
//! They are functions of the generated [`Call`] and [`Operation`] types. None
//! fills in the framework's id: [`crate::SchedulerHandle::call`] does.

use bytes::Bytes;

use crate::scheduler::{Call, call};
use crate::v1::offer::{Operation, operation};
use crate::v1::{
    AgentId, ExecutorId, ExecutorInfo, Filters, KillPolicy, OfferId, OperationId,
    OperationStatus, Resource, ResourceProviderId, TaskGroupInfo, TaskId, TaskInfo,
    TaskStatus,
};

fn filters(refuse_seconds: f64) -> Option<Filters> {
    Some(Filters {
        refuse_seconds: Some(refuse_seconds),
    })
}

impl Call {
    fn of(kind: call::Type) -> Self {
        Self {
            r#type: Some(kind.into()),
            ..Self::default()
        }
    }

    /// Uses offers of one agent: applies `operations` in order. What is left over
    /// is not offered again for `refuse_seconds`.
    pub fn accept(
        offer_ids: impl IntoIterator<Item = OfferId>,
        operations: Vec<Operation>,
        refuse_seconds: f64,
    ) -> Self {
        let accept = call::Accept {
            offer_ids: offer_ids.into_iter().collect(),
            operations,
            filters: filters(refuse_seconds),
        };
        Self {
            accept: Some(accept),
            ..Self::of(call::Type::Accept)
        }
    }

    /// Gives offers back; the same resources are not offered again for
    /// `refuse_seconds`, unless REVIVE asks for them.
    pub fn decline(
        offer_ids: impl IntoIterator<Item = OfferId>,
        refuse_seconds: f64,
    ) -> Self {
        let decline = call::Decline {
            offer_ids: offer_ids.into_iter().collect(),
            filters: filters(refuse_seconds),
        };
        Self {
            decline: Some(decline),
            ..Self::of(call::Type::Decline)
        }
    }

    /// Promises to give the resources back in time.
    pub fn accept_inverse_offers(offer_ids: impl IntoIterator<Item = OfferId>) -> Self {
        let accept_inverse_offers = Some(call::AcceptInverseOffers {
            inverse_offer_ids: offer_ids.into_iter().collect(),
            filters: None,
        });
        Self {
            accept_inverse_offers,
            ..Self::of(call::Type::AcceptInverseOffers)
        }
    }

    /// Says that the resources cannot be given back in time. Asked again after
    /// `refuse_seconds`.
    pub fn decline_inverse_offers(
        offer_ids: impl IntoIterator<Item = OfferId>,
        refuse_seconds: f64,
    ) -> Self {
        let decline_inverse_offers = Some(call::DeclineInverseOffers {
            inverse_offer_ids: offer_ids.into_iter().collect(),
            filters: filters(refuse_seconds),
        });
        Self {
            decline_inverse_offers,
            ..Self::of(call::Type::DeclineInverseOffers)
        }
    }

    /// Asks for offers again, forgetting all refusals; no roles means all.
    pub fn revive(roles: impl IntoIterator<Item = String>) -> Self {
        let revive = Some(call::Revive {
            roles: roles.into_iter().collect(),
        });
        Self {
            revive,
            ..Self::of(call::Type::Revive)
        }
    }

    /// Asks for no more offers, until REVIVE; no roles means all.
    pub fn suppress(roles: impl IntoIterator<Item = String>) -> Self {
        let suppress = Some(call::Suppress {
            roles: roles.into_iter().collect(),
        });
        Self {
            suppress,
            ..Self::of(call::Type::Suppress)
        }
    }

    /// Stops a task.
    pub fn kill(
        task_id: TaskId,
        agent_id: Option<AgentId>,
        kill_policy: Option<KillPolicy>,
    ) -> Self {
        let kill = Some(call::Kill {
            task_id,
            agent_id,
            kill_policy,
        });
        Self {
            kill,
            ..Self::of(call::Type::Kill)
        }
    }

    /// Stops an executor and all its tasks.
    pub fn shutdown(executor_id: ExecutorId, agent_id: AgentId) -> Self {
        let shutdown = Some(call::Shutdown {
            executor_id,
            agent_id,
        });
        Self {
            shutdown,
            ..Self::of(call::Type::Shutdown)
        }
    }

    /// Acknowledges a status, or `None` when it asks for no acknowledgement (it
    /// has no uuid or no agent).
    pub fn acknowledge(status: &TaskStatus) -> Option<Self> {
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.clone()?,
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().filter(|uuid| !uuid.is_empty())?,
        };
        Some(Self {
            acknowledge: Some(acknowledge),
            ..Self::of(call::Type::Acknowledge)
        })
    }

    /// Acknowledges an operation's status, or `None` when it asks for none.
    pub fn acknowledge_operation_status(status: &OperationStatus) -> Option<Self> {
        let acknowledge = call::AcknowledgeOperationStatus {
            agent_id: status.agent_id.clone(),
            resource_provider_id: status.resource_provider_id.clone(),
            uuid: status.uuid.clone()?.value,
            operation_id: status.operation_id.clone()?,
        };
        Some(Self {
            acknowledge_operation_status: Some(acknowledge),
            ..Self::of(call::Type::AcknowledgeOperationStatus)
        })
    }

    /// Asks for the state of these tasks; none means all that the master knows.
    pub fn reconcile(tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Self {
        let tasks = tasks
            .into_iter()
            .map(|(task_id, agent_id)| call::reconcile::Task { task_id, agent_id })
            .collect();
        let reconcile = Some(call::Reconcile { tasks });
        Self {
            reconcile,
            ..Self::of(call::Type::Reconcile)
        }
    }

    /// Asks for the state of these operations; none means all that the master
    /// knows. Mesos before 1.8 puts the answer into the HTTP response, which
    /// [`crate::SchedulerHandle::call`] does not read.
    pub fn reconcile_operations(
        operations: impl IntoIterator<
            Item = (OperationId, Option<AgentId>, Option<ResourceProviderId>),
        >,
    ) -> Self {
        let operations = operations
            .into_iter()
            .map(|(operation_id, agent_id, resource_provider_id)| {
                call::reconcile_operations::Operation {
                    operation_id,
                    agent_id,
                    resource_provider_id,
                }
            })
            .collect();
        let reconcile_operations = Some(call::ReconcileOperations { operations });
        Self {
            reconcile_operations,
            ..Self::of(call::Type::ReconcileOperations)
        }
    }

    /// Sends data to an executor. It may get lost.
    pub fn message(
        agent_id: AgentId,
        executor_id: ExecutorId,
        data: impl Into<Bytes>,
    ) -> Self {
        let message = Some(call::Message {
            agent_id,
            executor_id,
            data: data.into(),
        });
        Self {
            message,
            ..Self::of(call::Type::Message)
        }
    }

    /// Ends the framework: kills its executors and tasks and forgets its id for
    /// good. Reservations and volumes stay.
    pub fn teardown() -> Self {
        Self::of(call::Type::Teardown)
    }
}

impl Operation {
    fn of(kind: operation::Type) -> Self {
        Self {
            r#type: Some(kind.into()),
            ..Self::default()
        }
    }

    /// Asks for UPDATE_OPERATION_STATUS under this id. Only for agents with the
    /// capability AGENT_OPERATION_FEEDBACK: others drop such operations.
    #[must_use]
    pub fn with_id(self, id: OperationId) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// Starts tasks.
    pub fn launch(task_infos: Vec<TaskInfo>) -> Self {
        let launch = Some(operation::Launch { task_infos });
        Self {
            launch,
            ..Self::of(operation::Type::Launch)
        }
    }

    /// Starts tasks together or not at all.
    pub fn launch_group(executor: ExecutorInfo, tasks: Vec<TaskInfo>) -> Self {
        let task_group = TaskGroupInfo { tasks };
        let launch_group = Some(operation::LaunchGroup {
            executor,
            task_group,
        });
        Self {
            launch_group,
            ..Self::of(operation::Type::LaunchGroup)
        }
    }

    /// Reserves: the resources as they shall be.
    pub fn reserve(resources: Vec<Resource>) -> Self {
        let reserve = Some(operation::Reserve {
            resources,
            source: Vec::new(),
        });
        Self {
            reserve,
            ..Self::of(operation::Type::Reserve)
        }
    }

    /// Undoes the innermost reservation of resources.
    pub fn unreserve(resources: Vec<Resource>) -> Self {
        let unreserve = Some(operation::Unreserve { resources });
        Self {
            unreserve,
            ..Self::of(operation::Type::Unreserve)
        }
    }

    /// Makes persistent volumes of reserved disk.
    pub fn create(volumes: Vec<Resource>) -> Self {
        let create = Some(operation::Create { volumes });
        Self {
            create,
            ..Self::of(operation::Type::Create)
        }
    }

    /// Deletes persistent volumes and their data.
    pub fn destroy(volumes: Vec<Resource>) -> Self {
        let destroy = Some(operation::Destroy { volumes });
        Self {
            destroy,
            ..Self::of(operation::Type::Destroy)
        }
    }
}
