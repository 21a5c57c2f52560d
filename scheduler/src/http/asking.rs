//! Commands on their way to the event loop, and its answers.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::{ApiState, answer};
use crate::commands::{Actor, Command, CommandRefusal, Order};

/// The loop takes a command within milliseconds, storing included.
const LOOP_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Asks the loop, and waits until what is asked for is stored. The error is the
/// answer for when the loop does not answer; it is boxed because a response is
/// large and this one is nearly never made.
pub(super) async fn ask_loop(
    state: &ApiState,
    by: Actor,
    command: Command,
) -> Result<Result<(), CommandRefusal>, Box<Response>> {
    let (reply, answered) = oneshot::channel();
    let order = Order { by, command, reply };
    let silence = match state.commands.try_send(order) {
        Ok(()) => match tokio::time::timeout(LOOP_ANSWERS_WITHIN, answered).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(_)) => "the scheduler is stopping",
            Err(_) => {
                "the event loop did not answer; the command may still be carried out"
            }
        },
        Err(TrySendError::Full(_)) => "too many commands wait",
        Err(TrySendError::Closed(_)) => "the scheduler is stopping",
    };
    Err(Box::new(answer::problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        silence,
    )))
}
