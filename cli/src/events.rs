//! `events`: what happened, and what happens.

use std::time::{Duration, Instant};

use etcd_api::events::{Event, EventList, Missed};
use reqwest::Response;

use crate::arguments::EventsArguments;
use crate::client::{Client, chain};
use crate::event_stream::{EventStream, Sent};
use crate::failure::Failure;
use crate::json_layout;
use crate::output::{Output, Paint, Tone, one_line};
use crate::request::Request;
use crate::utc;

/// The scheduler gives a sign of life every 15 s; after three that did not come
/// the connection is dead, though nobody said so.
const SILENT_FOR: Duration = Duration::from_secs(45);

/// A scheduler that is away for longer does not just restart.
const AWAY_FOR: Duration = Duration::from_secs(300);

/// Pauses between attempts to connect again: quick for a restart, slow enough for
/// a scheduler with many followers.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The name under which the scheduler says that events are gone.
const MISSED: &str = "missed";

/// Shows what happened.
///
/// # Errors
///
/// When it cannot be asked or shown.
pub(crate) async fn list(
    client: &Client,
    arguments: &EventsArguments,
    output: &Output,
    json: bool,
) -> Result<(), Failure> {
    let answer = client.ask(&request(arguments)).await?;
    if json {
        let text = json_layout::indented(&answer.body);
        return output.print(&text.unwrap_or(answer.body));
    }
    let list: EventList = answer.parse()?;
    let gone = list.missed.then(|| {
        gap(&Missed {
            after: arguments.since.unwrap_or_default(),
            next: list.oldest,
        })
    });
    let lines = list.events.iter().map(|event| line(event, output.paint));
    let text: String = gone
        .into_iter()
        .chain(lines)
        .map(|line| line + "\n")
        .collect();
    output.write(&text)
}

fn request(arguments: &EventsArguments) -> Request {
    let since = arguments.since.map(|since| since.to_string());
    Request::get(&["v1", "events"])
        .with("pod", arguments.pod.as_deref())
        .with("since", since.as_deref())
}

/// Shows what happens, until the scheduler is away for too long or refuses.
///
/// # Errors
///
/// Always, in the end.
pub(crate) async fn follow(
    client: &Client,
    arguments: &EventsArguments,
    output: &Output,
    json: bool,
) -> Result<(), Failure> {
    let request = request(arguments).with("follow", Some("true"));
    let mut reader = Reader {
        last_event_id: None,
        output,
        json,
    };
    let mut heard: Option<Instant> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let last = reader.last_event_id.clone();
        let broken = match client.open(&request, last.as_deref()).await {
            Ok(response) => {
                pause = FIRST_PAUSE;
                let why = reader.read_to_the_end(response).await?;
                heard = Some(Instant::now());
                why
            }
            // One that never answered is not waited for.
            Err(failure) if !failure.may_pass() || heard.is_none() => {
                return Err(failure);
            }
            Err(failure) if heard.is_some_and(|at| at.elapsed() > AWAY_FOR) => {
                return Err(failure);
            }
            Err(failure) => failure.to_string(),
        };
        // Once for each time that it goes away, not for each attempt.
        if pause == FIRST_PAUSE {
            eprintln!("dcos-etcd: {broken}; trying to go on behind the last event");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Reader<'a> {
    last_event_id: Option<String>,
    output: &'a Output,
    json: bool,
}

impl Reader<'_> {
    /// Shows everything that one connection brings. Says why it ended.
    async fn read_to_the_end(
        &mut self,
        mut response: Response,
    ) -> Result<String, Failure> {
        let url = response.url().to_string();
        let mut stream = EventStream::default();
        loop {
            let piece = match tokio::time::timeout(SILENT_FOR, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok("the scheduler ended the events".to_owned()),
                Ok(Err(error)) => {
                    let why = chain(&error.without_url());
                    return Ok(format!("the events broke off: {why}"));
                }
                Err(_) => {
                    let seconds = SILENT_FOR.as_secs();
                    return Ok(format!("no sign of life for {seconds} s"));
                }
            };
            let events = stream.take(&piece).map_err(|error| {
                let (url, why) = (url.clone(), error.to_string());
                Failure::NotUnderstood { url, why }
            })?;
            for event in events {
                self.output
                    .print(&shown(&event, self.json, self.output.paint))?;
                // Remembered once it was shown.
                self.last_event_id = event.id.or(self.last_event_id.take());
            }
        }
    }
}

/// One line for what the stream brings.
fn shown(sent: &Sent, json: bool, paint: Paint) -> String {
    let is_missed = sent.name.as_deref() == Some(MISSED);
    if json {
        // One line each, so that programs can read them as they come.
        let data = sent.data.replace('\n', " ");
        return if is_missed {
            format!("{{\"missed\":{data}}}")
        } else {
            data
        };
    }
    let raw = || one_line(&sent.data);
    if is_missed {
        serde_json::from_str(&sent.data).map_or_else(|_| raw(), |missed| gap(&missed))
    } else {
        serde_json::from_str(&sent.data)
            .map_or_else(|_| raw(), |event| line(&event, paint))
    }
}

fn gap(missed: &Missed) -> String {
    match missed.next {
        Some(next) => {
            format!(
                "-- missed: events between {} and {next} are gone --",
                missed.after
            )
        }
        None => format!("-- missed: events after {} are gone --", missed.after),
    }
}

/// `etcd-10` and shorter names stand in one column.
const POD_WIDTH: usize = 7;

fn line(event: &Event, paint: Paint) -> String {
    let at = paint.tone(Tone::Faint, &utc::text(event.at_ms));
    let pod = event.pod.as_deref().unwrap_or("-");
    let mut line = format!("{at}  {pod:<POD_WIDTH$}  {}", one_line(&event.text));
    if let Some(why) = &event.why {
        line.push_str(&format!(" ({})", one_line(why)));
    }
    if let Some(by) = &event.asked_by {
        line.push_str(&format!(" [asked by {}]", one_line(by)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(name: Option<&str>, data: &str) -> Sent {
        Sent {
            id: None,
            name: name.map(str::to_owned),
            data: data.to_owned(),
        }
    }

    #[test]
    fn lines() {
        #[track_caller]
        fn check(name: Option<&str>, data: &str, expected: &str) {
            assert_eq!(shown(&sent(name, data), false, Paint::Plain), expected);
        }
        check(
            None,
            r#"{"sequence": 7, "at_ms": 0, "pod": "etcd-1",
                "what": {"kind": "stop_asked", "task_id": "t"},
                "text": "etcd-1 is to stop", "why": "a restart was\nasked for",
                "asked_by": "alice"}"#,
            "1970-01-01T00:00:00.000Z  etcd-1   etcd-1 is to stop (a restart was asked for) [asked by alice]",
        );
        check(
            None,
            r#"{"sequence": 8, "at_ms": 1, "pod": null, "what": {"kind": "of_later"},
                "text": "something new", "why": null, "asked_by": null}"#,
            "1970-01-01T00:00:00.001Z  -        something new",
        );
        check(
            Some("missed"),
            r#"{"after": 3, "next": 9}"#,
            "-- missed: events between 3 and 9 are gone --",
        );
        check(
            Some("missed"),
            r#"{"after": 3, "next": null}"#,
            "-- missed: events after 3 are gone --",
        );
        check(None, "no\njson", "no json");
    }

    #[test]
    fn lines_of_json() {
        let shown = |name, data| shown(&sent(name, data), true, Paint::Plain);
        assert_eq!(shown(None, "{\n}"), "{ }");
        assert_eq!(
            shown(Some("missed"), r#"{"after":3,"next":9}"#),
            r#"{"missed":{"after":3,"next":9}}"#
        );
    }
}
